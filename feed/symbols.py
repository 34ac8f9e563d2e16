"""Which symbols there may be: each names one instrument, and never looks like several.

An order over several symbols at once would make shards wait for one another, so it is not offered.
Whoever tries writes them into one field: that is told apart from a symbol that is merely unknown,
because no symbol has any of the characters that stand between several.
"""

SEPARATORS = b" /,+&;|:"


def names_several(field: bytes) -> bool:
    """Whether a symbol's field, padded or not, names more than one."""
    return not set(SEPARATORS).isdisjoint(field.strip(b" "))
