"""`lockstep replay`: recorded order flow through a whole exchange."""
