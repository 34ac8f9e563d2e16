"""Proves from what the holders kept that an exchange did what its rules say."""
