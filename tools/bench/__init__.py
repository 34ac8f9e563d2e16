"""`lockstep bench`: what the parts cost on this machine, each beside a baseline."""
