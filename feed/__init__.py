"""The wire: what a frame and a packet are, how they are published, received and repaired."""
