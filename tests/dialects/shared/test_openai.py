from __future__ import annotations

import pytest

from extproc.dialects.shared.openai import duration, seconds


@pytest.mark.parametrize(
    ("text", "after", "written"),
    [("6m0s", 360.0, "6m0s"), ("1s", 1.0, "1s"), ("1h2m3s", 3723.0, "1h2m3s"), ("1h0m0s", 3600.0, "1h0m0s"),
     ("120ms", 0.12, "0s"), ("1.5s", 1.5, "2s"), ("1d2h", 93600.0, "26h0m0s"), ("2m59.5s", 179.5, "3m0s")],
)  # fmt: skip
def test_durations(text: str, after: float, written: str) -> None:
    assert seconds(text) == pytest.approx(after)
    assert duration(after) == written


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1s2h"])
def test_what_is_no_duration(text: str) -> None:
    assert seconds(text) is None


def test_a_reset_in_the_past_is_now() -> None:
    assert duration(-5) == "0s"


def test_servers_that_leave_the_unit_out_mean_seconds() -> None:
    assert seconds("12") == 12.0
