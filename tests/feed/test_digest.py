"""The digest of a list: the same for the same frames, however they came, and for no others."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from feed.digest import ListDigest
from tests.feed.lists import frames_up_to

FRAMES = frames_up_to(20)


def test_it_is_the_sha_256_of_the_frames_as_they_stand_on_the_wire() -> None:
    assert ListDigest().hex() == hashlib.sha256(b"").hexdigest()
    assert ListDigest(FRAMES).hex() == hashlib.sha256(b"".join(FRAMES)).hexdigest()


@given(st.integers(0, len(FRAMES)))
def test_frames_added_one_by_one_make_the_digest_of_all_at_once(count: int) -> None:
    digest = ListDigest(FRAMES[:count])
    for last, frame in enumerate(FRAMES[count:], count + 1):
        digest.update(frame)
        assert digest.hex() == ListDigest(FRAMES[:last]).hex()


def test_another_order_or_a_missing_frame_shows() -> None:
    digests = {
        ListDigest(frames).hex()
        for frames in (FRAMES, FRAMES[::-1], FRAMES[1:], FRAMES[:-1], [*FRAMES, FRAMES[-1]])
    }
    assert len(digests) == 5
