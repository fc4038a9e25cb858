from __future__ import annotations

from extproc.llm.losses import MAX_LOSSES, Action, LossReport


def test_each_loss_once_in_order() -> None:
    report = LossReport()
    report.dropped("seed")
    report.add("temperature", Action.CLAMPED, "1.7 to 1")
    report.dropped("seed", "again")
    report.extra("tools[0]", {"input_examples": [], "x": 1})
    assert [str(x) for x in report] == [
        "seed:dropped", "temperature:clamped", "tools[0].input_examples:dropped", "tools[0].x:dropped",
    ]  # fmt: skip


def test_the_report_is_bounded() -> None:
    report = LossReport()
    for n in range(1000):
        report.dropped(f"messages[{n}]")
    assert len(report) == MAX_LOSSES


def test_what_a_rejecting_route_refuses() -> None:
    for action in Action:
        report = LossReport()
        report.add("x", action)
        assert (report.unacceptable() is None) == (action in (Action.MOVED, Action.REWRITTEN))
        costly = LossReport()
        costly.add("x", action, cost_only=True)
        assert costly.unacceptable() is None
