"""A drill's report: the story of a round, the sum, and JSON that says the same."""

import json
from dataclasses import replace

from tools.drill.audit import Findings
from tools.drill.report import DrillPlan, DrillReport, OtherShard, RoundReport

MS = 1_000_000
FAULT_NS = 5_000 * MS
PLAN = DrillPlan("kill-primary", 2, 1000, 1, "embedded", 30, 3, 2, 4)


def make_round(number: int, takeover_ms: int | None, outage_ms: int) -> RoundReport:
    report = RoundReport(number, FAULT_NS, epoch_before=number, epoch_after=number)
    if takeover_ms is not None:
        report.epoch_after += 1
        report.takeover_ns = takeover_ms * MS
        report.tell("e2 leads in epoch 2", FAULT_NS + takeover_ms * MS)
    report.tell("e1, the primary, killed", FAULT_NS)
    report.outage_ns, report.outage_client = outage_ms * MS, "C03"
    report.answered = 1234
    return report


def make_report(
    *rounds: RoundReport, findings: Findings | None = None, differences: tuple[str, ...] = ()
) -> DrillReport:
    return DrillReport(PLAN, rounds, findings or Findings(answered=2468), differences, 99, 1.25)


def test_story_is_told_in_the_order_of_its_times() -> None:
    report = make_round(1, 41, 50)
    assert list(report.lines(2)) == [
        "Round 1 of 2",
        "       +0.0 ms  e1, the primary, killed",
        "      +41.0 ms  e2 leads in epoch 2",
        "                takeover 41.0 ms; C03 waited longest, 50.0 ms; 1,234 commands answered",
    ]
    assert report.summary()["story"] == [
        {"ms": 0.0, "what": "e1, the primary, killed"},
        {"ms": 41.0, "what": "e2 leads in epoch 2"},
    ]


def test_round_without_a_takeover_says_so() -> None:
    report = make_round(1, None, 5)
    *_, last = report.lines(1)
    assert "no takeover, still epoch 1" in last
    assert report.summary()["takeover_ms"] is None


def test_epoch_that_grew_though_no_takeover_was_due_is_told() -> None:
    report = make_round(1, None, 5)
    report.epoch_after = 3
    *_, last = report.lines(1)
    assert "epoch 3 by now" in last


def test_sum_has_the_figures_of_all_rounds() -> None:
    summary = make_report(make_round(1, 40, 50), make_round(2, 60, 90)).summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["drill"] == "kill-primary"
    assert summary["rounds"] == 2
    assert summary["takeover_ms"] == {"median": 50.0, "p99": 60.0, "max": 60.0}
    assert summary["outage_ms"] == {"median": 70.0, "p99": 90.0, "max": 90.0}
    assert (summary["answered"], summary["lost"], summary["doubled"]) == (2468, 0, 0)
    assert summary["digests_equal"] is True
    assert [each["round"] for each in summary["per_round"]] == [1, 2]
    assert {"zookeeper", "rate", "suspicion_time_ms"} <= summary.keys()


def test_round_that_stopped_the_shard_says_why_and_has_no_outage() -> None:
    stopped = make_round(7, None, 0)
    stopped.stopped = "too few holders that remember"
    stopped.tell("the shard stops: too few holders that remember", FAULT_NS + 9_000 * MS)
    *_, last = stopped.lines(2)
    assert last == "   +9,000.0 ms  the shard stops: too few holders that remember"
    assert "not compared" in "".join(make_report(stopped).lines())
    again = make_round(1, 40, 50)  # of another exchange, whose epochs begin anew
    report = make_report(stopped, again)
    assert report.is_sound
    assert report.needless_takeovers == 0
    summary = report.summary()
    assert summary["stopped"] == 1
    assert summary["outage_ms"] == {"median": 50.0, "p99": 50.0, "max": 50.0}
    assert [each["stopped"] for each in summary["per_round"]] == [stopped.stopped, None]
    assert "  stopped         after 1 rounds, saying that too few remember" in report.lines()


def test_journals_are_told_of_where_there_are_any() -> None:
    plan = replace(PLAN, sync="group", power_cut=True)
    lines = list(replace(make_report(make_round(1, 40, 50)), plan=plan).lines())
    assert '  journals        synced by "group", with the power cut' in lines
    assert "journals" not in "".join(make_report(make_round(1, 40, 50)).lines())


def test_rounds_without_takeovers_have_no_takeover_times() -> None:
    summary = make_report(make_round(1, None, 5)).summary()
    assert summary["takeover_ms"] == {"median": None, "p99": None, "max": None}
    assert summary["takeovers"] == 0


def test_drill_is_sound_only_if_everything_holds() -> None:
    fine = make_round(1, 40, 50)
    assert make_report(fine).is_sound
    assert not make_report(fine, findings=Findings(lost=1)).is_sound
    assert not make_report(fine, findings=Findings(doubled=1)).is_sound
    assert not make_report(fine, findings=Findings(changed=1)).is_sound
    assert not make_report(fine, differences=("g1 has another list",)).is_sound


def test_what_does_not_hold_is_named_in_the_sum() -> None:
    findings = Findings(lost=1, problems=["C01's command 7 was not answered"])
    report = make_report(
        make_round(1, 40, 50), findings=findings, differences=("g1 has another list",)
    )
    text = "\n".join(report.lines())
    assert "! C01's command 7 was not answered" in text
    assert "! g1 has another list" in text
    assert "NOT EQUAL" in text
    assert report.summary()["problems"] == [
        "C01's command 7 was not answered",
        "g1 has another list",
    ]


def test_new_epochs_that_no_fault_made_necessary_are_counted() -> None:
    rounds = [make_round(1, 40, 50), make_round(3, 60, 90), make_round(4, None, 5)]
    report = make_report(*rounds)
    assert report.summary()["needless_takeovers"] == 1
    assert "and 1 that no fault made necessary" in "\n".join(report.lines())
    assert make_report(make_round(1, 40, 50)).needless_takeovers == 0


def test_other_shards_are_told_after_the_one_that_was_struck() -> None:
    report = make_round(1, 41, 50)
    report.others = [
        OtherShard(2, 1, 1, None, 7 * MS, 9 * MS),
        OtherShard(3, 1, 1, None, 8 * MS, None),
        OtherShard(4, 1, 2, 60 * MS, 70 * MS, 80 * MS),
    ]
    assert [line.strip() for line in report.lines(1)][-3:] == [
        "shard 2: its list never stood still for more than 7.0 ms; "
        "whoever is at home there waited 9.0 ms",
        "shard 3: its list never stood still for more than 8.0 ms",
        "shard 4: takeover 60.0 ms; whoever is at home there waited 80.0 ms",
    ]
    assert report.summary()["others"][0] == {
        "shard": 2,
        "epoch_before": 1,
        "epoch_after": 1,
        "takeover_ms": None,
        "silence_ms": 7.0,
        "outage_ms": 9.0,
    }


def test_takeovers_that_were_not_needed_are_counted_in_every_shard() -> None:
    first, second = make_round(1, 41, 50), make_round(1, 43, 50)
    first.others = [OtherShard(2, 5, 6, None, 0, None)]  # needless, in a round about shard 1
    second.shard, second.epoch_before, second.epoch_after = 2, 7, 8  # needless before it, too
    second.others = [OtherShard(1, 2, 3, 44 * MS, 0, None)]  # its own takeover was due
    report = make_report(first, second)
    assert report.needless_takeovers == 2
    assert report.summary()["takeovers"] == 3
    assert report.summary()["takeover_ms"]["max"] == 44.0
