"""What the primaries of several epochs may have written, as hypothesis draws it."""

from typing import NamedTuple

from hypothesis import strategies as st

from tests.feed.holding import group_ends, reign


class History(NamedTuple):
    """What the primaries of epochs 1, 2 and so on wrote: each epoch's list, where the epoch
    begins in it, and how much of it was committed."""

    lists: list[list[bytes]]
    opened: list[int]
    committed: list[int]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """As Raft allows: each list begins with all that was committed before, of whichever list."""
    history = History([], [], [])
    sure: list[bytes] = []
    for epoch in range(1, draw(st.integers(2, 3)) + 1):
        sources = [frames for frames in history.lists if frames[: len(sure)] == sure]
        source = draw(st.sampled_from(sources)) if sources else []
        ends = [end for end in (0, *group_ends(source)) if end >= len(sure)]
        base = source[: draw(st.sampled_from(ends))]
        sizes = draw(st.lists(st.sampled_from([1, 1, 2, 4]), max_size=6))
        # Written by the same client, frames of two lists may be equal where the lists are not.
        client = draw(st.sampled_from([7, epoch]))
        frames = base + reign(epoch, f"e{epoch}", len(base) + 1, sizes, client)
        own = [end for end in group_ends(frames) if end > len(base)]
        committed = draw(st.sampled_from([len(sure), *own]))
        history.lists.append(frames)
        history.opened.append(len(base) + 1)
        history.committed.append(committed)
        sure = frames[:committed]
    return history
