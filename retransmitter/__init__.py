"""The cache of every frame, and the repair of receivers' gaps."""
