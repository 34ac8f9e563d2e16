"""Everything that faces clients: sessions, log-ins, limits and numbered event streams."""
