from __future__ import annotations

import pytest

from extproc.telemetry.metrics import Metrics
from extproc.telemetry.summed import summed
from tests.telemetry.test_metrics import BEGAN, DONE

ONE = """\
# HELP a_total Things, by kind.
# TYPE a_total counter
a_total{kind="x"} 1
a_total{kind="a b} 7"} 2
# HELP open Open now.
# TYPE open gauge
open 3
"""
TWO = """\
# HELP a_total Things, by kind.
# TYPE a_total counter
a_total{kind="y"} 10
a_total{kind="x"} 0.5
# HELP open Open now.
# TYPE open gauge
open 4
"""


def test_sample_by_sample() -> None:
    assert summed([ONE, TWO]).splitlines() == [
        "# HELP a_total Things, by kind.",
        "# TYPE a_total counter",
        'a_total{kind="x"} 1.5',
        'a_total{kind="a b} 7"} 2',
        'a_total{kind="y"} 10',
        "# HELP open Open now.",
        "# TYPE open gauge",
        "open 7",
    ]


def test_what_an_ended_process_leaves() -> None:
    left = summed([ONE], gauges=False)
    assert 'a_total{kind="x"} 1' in left and "open" not in left
    assert summed([left, TWO]).endswith("open 4\n")
    assert 'a_total{kind="x"} 1.5' in summed([left, TWO])


@pytest.mark.parametrize("pages", [[], [""], ["", ""]])
def test_nothing(pages: list[str]) -> None:
    assert summed(pages) == ""


def test_pages_as_they_are_made() -> None:
    metrics = Metrics()
    once = metrics.text(2, {"connections": 1, "met": {"max_pings": 3}})
    assert summed([once]) == once
    assert "extproc_open_streams 4\n" in summed([once, once])
    assert 'extproc_h2_met_total{bound="max_pings"} 6\n' in summed([once, once])


def test_histograms() -> None:
    metrics = Metrics()
    metrics.ended(BEGAN, DONE)
    once = metrics.text(0)
    metrics.ended(BEGAN, DONE)
    assert summed([once, once]) == metrics.text(0)
