import resource

import pytest
from structlog.testing import capture_logs

from gateway.open_files import OTHER_FILES, SHARD_FILES, allow_connections

SHARDS = 3
MORE = OTHER_FILES + SHARDS * SHARD_FILES
UNLIMITED = resource.RLIM_INFINITY


class Limits:
    """The system's limits of open files, as far as this process knows."""

    def __init__(self, soft: int, hard: int) -> None:
        self.soft, self.hard = soft, hard

    def get(self, what: int) -> tuple[int, int]:
        assert what == resource.RLIMIT_NOFILE
        return self.soft, self.hard

    def set(self, what: int, limits: tuple[int, int]) -> None:
        assert what == resource.RLIMIT_NOFILE
        self.soft, hard = limits
        assert hard == self.hard


@pytest.mark.parametrize(
    ("soft", "hard", "is_enough", "soft_after"),
    [
        (1100, 4096, True, 1100),
        (1000, 4096, True, 1000 + MORE),
        (1000, UNLIMITED, True, 1000 + MORE),
        (UNLIMITED, UNLIMITED, True, UNLIMITED),
        (256, 1000, False, 1000),
    ],
)
def test_the_limit_is_raised_as_far_as_needed_and_allowed(
    soft: int, hard: int, is_enough: bool, soft_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    with capture_logs() as logs:
        assert allow_connections(1000, SHARDS) is is_enough
    assert limits.soft == soft_after
    assert [(line["needed"], line["hard_limit"]) for line in logs] == (
        [] if is_enough else [(1000 + MORE, hard)]
    )


def test_a_gateway_of_one_shard_needs_no_more_than_is_usually_allowed() -> None:
    assert 1000 + OTHER_FILES + SHARD_FILES <= 1024
