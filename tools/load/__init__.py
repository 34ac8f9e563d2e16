"""`lockstep load`: synthetic order flow over client connections."""
