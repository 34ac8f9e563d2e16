"""`lockstep audit` on the journals of several shards, in one call."""

from pathlib import Path

import pytest

from engine.markets import ReferenceMarket
from feed.codec import decode_frame
from feed.messages import SetTradingState
from feed.schema import FrameType
from tests.tools.kept_journals import keep, keep_more, segments, without_syncs
from tests.tools.shard_lists import ACME, HALTED, Exchange, moved
from tests.tools.test_audit_command import lockstep, summary, told
from tools.audit.auditing import audit_journals
from tools.journal.folders import open_journals


@pytest.fixture(autouse=True)
def _nobody_cuts_the_power(monkeypatch: pytest.MonkeyPatch) -> None:
    without_syncs(monkeypatch)


def keep_both(folder: Path, exchange: Exchange) -> tuple[Path, Path]:
    """The journals of a holder of each shard."""
    return (
        keep(folder / "shard-1" / "e1", exchange.one.frames),
        keep(folder / "shard-2" / "e2", exchange.two.frames, shard=2),
    )


def test_the_lists_of_all_shards_are_audited_and_compared(tmp_path: Path) -> None:
    keep_both(tmp_path, moved())
    found = summary(tmp_path)
    assert (found["verdict"], found["told"], found["notes"]) == ("clean", [], [])
    one, two = found["lists"]
    assert [(each["shard"], each["notes"]) for each in (one, two)] == [(1, []), (2, [])]
    assert one["symbols"]["ACME"]["left"] == two["symbols"]["ACME"]["arrived"] == 44
    assert two["checked"]["arrivals compared"] == 4
    text = lockstep(tmp_path).stdout
    assert "VERDICT: CLEAN" in text
    assert "4  orders that arrived as they had left another shard, once" in text
    assert text.count("  arrived  ") == 4  # in the tables of both shards, by symbol and by client


def test_one_shard_alone_is_audited_and_it_says_what_it_could_not_compare(tmp_path: Path) -> None:
    first, second = keep_both(tmp_path, moved())
    (one,), (two,) = (summary(folder)["lists"] for folder in (first, second))
    assert one["told"] == two["told"] == []
    assert [note.split(":")[0] for note in one["notes"]] == [
        "shard 2's journals are not there",
        "1 log-ins are of clients whose home's journals are not there",
        "ACME with 4 orders left in frame 15",
    ]
    assert [note.split(":")[0] for note in two["notes"]] == [
        "shard 1's journals are not there",
        "1 log-ins are of clients whose home's journals are not there",
        "ACME arrived with 4 orders, 0 refused; the list that it came from is not there",
    ]


def test_what_does_not_fit_is_told_with_its_place(tmp_path: Path) -> None:
    exchange = Exchange()
    orders = exchange.leave()
    exchange.arrive(orders[1:], is_ended=False)
    exchange.two.must(SetTradingState(ACME, HALTED))
    _, second = keep_both(tmp_path, exchange)
    (found,) = told(tmp_path)
    assert (found["kind"], found["sequence"]) == ("move that does not fit", exchange.two.number)
    assert found["place"] == str(segments(second)[0].resolve())


def test_a_list_that_grew_while_it_was_read_is_not_blamed(tmp_path: Path) -> None:
    exchange = moved()
    frames = exchange.one.frames
    cut = next(n for n, data in enumerate(frames) if decode_frame(data).type is FrameType.MOVE_OUT)
    keep(tmp_path / "shard-1" / "e1", frames[:cut])
    keep(tmp_path / "shard-2" / "e2", exchange.two.frames, shard=2)
    kinds = {each["kind"] for each in told(tmp_path)}
    assert kinds == {"mark that does not fit", "move that does not fit", "command done twice"}
    with open_journals([tmp_path]) as journals:
        keep_more(tmp_path / "shard-1" / "e1", frames[cut:])
        report = audit_journals(journals, ReferenceMarket)
    assert [each.last_sequence for each in report.lists] == [cut, exchange.two.number]
    assert report.is_clean
    assert told(tmp_path) == []
