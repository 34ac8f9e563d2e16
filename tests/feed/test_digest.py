"""The digest of a list: the same for the same frames, however they came, and for no others."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.digest import BLOCK_FRAMES, ListDigest
from feed.run import run_of_frames
from tests.feed.lists import frames_up_to, list_digest

FRAMES = frames_up_to(2 * BLOCK_FRAMES + 20)
SEQUENCES = st.integers(0, len(FRAMES))


def sha_256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def test_each_block_is_the_sha_256_of_the_digest_before_it_and_its_frames() -> None:
    first = sha_256(bytes(32), *FRAMES[:BLOCK_FRAMES])
    second = sha_256(first, *FRAMES[BLOCK_FRAMES : 2 * BLOCK_FRAMES])
    assert list_digest([]) == bytes(32).hex()
    assert list_digest(FRAMES[:3]) == sha_256(bytes(32), *FRAMES[:3]).hex()
    assert list_digest(FRAMES[:BLOCK_FRAMES]) == first.hex()
    assert list_digest(FRAMES) == sha_256(second, *FRAMES[2 * BLOCK_FRAMES :]).hex()


@given(st.lists(SEQUENCES, max_size=8))
def test_however_the_frames_come_the_digest_is_the_same(ends: list[int]) -> None:
    digest = ListDigest()
    begin = 0
    for end in sorted(ends):
        digest.update(run_of_frames(begin + 1, FRAMES[begin:end]))
        begin = end
        assert digest.next_sequence == end + 1
    assert digest.hex() == list_digest(FRAMES[:begin])


@given(SEQUENCES, SEQUENCES)
def test_it_goes_on_from_the_end_of_any_block(last: int, sequence: int) -> None:
    digest = ListDigest()
    digest.update(run_of_frames(1, FRAMES))
    block = digest.block_before(sequence)
    assert block is not None
    assert block[0] == sequence // BLOCK_FRAMES * BLOCK_FRAMES
    later = ListDigest(*block)
    later.update(run_of_frames(block[0] + 1, FRAMES[block[0] : max(block[0], last)]))
    assert later.hex() == list_digest(FRAMES[: max(block[0], last)])


def test_a_copy_goes_its_own_way() -> None:
    digest = ListDigest()
    digest.update(run_of_frames(1, FRAMES[:5]))
    copied = digest.copy()
    copied.update(run_of_frames(6, FRAMES[5:7]))
    assert (digest.hex(), copied.hex()) == (list_digest(FRAMES[:5]), list_digest(FRAMES[:7]))


def test_frames_that_do_not_follow_are_refused() -> None:
    with pytest.raises(ValueError, match="frame 2 does not follow 0"):
        ListDigest().update(run_of_frames(2, FRAMES[1:2]))


def test_another_order_or_a_missing_frame_shows() -> None:
    few = FRAMES[:20]
    digests = {
        list_digest(frames) for frames in (few, few[::-1], few[1:], few[:-1], [*few, few[-1]])
    }
    assert len(digests) == 5
