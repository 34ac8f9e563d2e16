"""Who is primary, in which epoch, and who is alive: agreed on through ZooKeeper."""
