from __future__ import annotations

import re

from extproc.llm.losses import MAX_ALIKE, MAX_LOSSES, Action, LossReport


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
        report.dropped(f"member_{n}")
    assert len(report) == MAX_ALIKE + MAX_LOSSES - 1
    assert report.told(10_000).startswith("member_0:dropped,") and report.told(10_000).endswith(
        ",messages[]:dropped:1000,...:937"
    )


def test_what_was_told_since_can_be_taken_back() -> None:
    def told(count: int) -> LossReport:
        report = LossReport()
        for n in range(count):
            report.dropped(f"messages[{n}]")
            report.rewritten(f"member_{n}")
        return report

    for count in (0, 1, MAX_ALIKE + 2, MAX_LOSSES + 2):
        report, wanted = told(count), told(count)
        before = report.copy()
        report.dropped("more")
        report.dropped(f"messages[{count}]")
        report.become(before)
        before.dropped("and more")
        for each in (report, wanted):
            assert "more" not in str(list(map(str, each)))
            each.dropped(f"messages[{count}]", "later")
        assert list(report) == list(wanted) and report.told(10_000) == wanted.told(10_000)
        assert report.unacceptable() == wanted.unacceptable()


def test_losses_of_a_kind_are_told_as_one_and_those_of_the_whole_first() -> None:
    report = LossReport()
    for n in range(60):
        report.dropped(f"messages[{n}].content[0].signature")
        report.dropped(f"messages[{n}].content[0].signature")
    report.rewritten("messages[7]")
    report.dropped("top_k")
    assert report.told(200) == "top_k:dropped,messages[].content[].signature:dropped:60,messages[7]:rewritten"
    assert len(list(report)) == MAX_ALIKE + 2


def test_a_cut_says_so() -> None:
    report = LossReport()
    for name in ("a" * 10, "b" * 10, "c" * 10, "d d"):
        report.dropped(name)
    assert report.told(1000, re.compile("[^a-z]")).endswith("d_d:dropped")
    for limit in range(5, 60):
        text = report.told(limit)
        assert len(text) <= max(limit, 5)
        named = text.count(":dropped")
        assert named == 4 or text.endswith(f"...:{4 - named}"), text


def test_what_is_not_kept_is_refused_all_the_same() -> None:
    report = LossReport()
    for n in range(MAX_LOSSES):
        report.rewritten(f"member_{n}")
    report.dropped("the_last")
    loss = report.unacceptable()
    assert loss is not None and loss.path == "the_last"


def test_what_a_rejecting_route_refuses() -> None:
    for action in Action:
        report = LossReport()
        report.add("x", action)
        assert (report.unacceptable() is None) == (action in (Action.MOVED, Action.REWRITTEN))
        costly = LossReport()
        costly.add("x", action, cost_only=True)
        assert costly.unacceptable() is None
