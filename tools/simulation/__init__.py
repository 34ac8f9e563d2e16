"""A whole exchange in one process, in virtual time, under a seed, with every fault."""
