"""What a route has counted of an exchange."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.costs.counted import COUNTS, MOST, Cost, Spent
from extproc.costs.expression import ExpressionError
from extproc.llm.events import NO_USAGE, Usage

SPENT = Spent(Usage(100, 20, 60, 10, 5), 0.0012, "gpt-5.4-mini", "gpt-5.4-mini-2026-03-17", "openai")


@pytest.mark.parametrize(
    ("written", "cost"),
    [
        *zip(COUNTS, (100, 20, 120, 60, 10, 5), strict=True),
        ({"input": 1, "output": 4}, 180),
        ({"input": 1, "cached": 0.1, "cache_write": 1.25, "output": 5}, 30 + 6 + 13 + 100),
        ({"total": 0.001}, 1),
        ("cost_usd * 1e6", 1200),
        ("input_tokens - cached_input_tokens + cache_creation_input_tokens", 50),
        ('model == "gpt-5.4-mini" && provider == "openai" ? total_tokens : 0', 120),
        ('model_answered.endsWith("17") ? 1 : 2', 1),
        ("output_tokens - input_tokens", 0),
        ("1e300", MOST),
        ("output_tokens / 0", None),
        ("0.1 + 0.2 + 0.7", 1),
    ],
    ids=str,
)
def test_a_cost_is_a_whole_number(written: Any, cost: int | None) -> None:
    assert Cost(written).of(SPENT) == cost


def test_what_is_not_known_is_not_said() -> None:
    nothing = Spent(NO_USAGE)
    assert all(Cost(each).of(nothing) is None for each in (*COUNTS, {"input": 1}, "1 + input_tokens"))
    partly = Spent(Usage(output_tokens=5))
    assert (Cost("input_tokens").of(partly), Cost("total_tokens").of(partly)) == (None, 5)
    assert (Cost("input_tokens + output_tokens").of(partly), Cost({"output": 2}).of(partly)) == (5, 10)
    assert Cost("cost_usd").of(partly) is None, "no price is known"
    assert Cost("cost_usd").needs_usd and not Cost("total_tokens").needs_usd


@pytest.mark.parametrize(
    "written", [{}, {"inputs": 1}, {"input": "x"}, {"input": -1}, {"input": float("inf")}, {"input": True}, "dollars"]
)
def test_what_is_wrong_is_refused(written: Any) -> None:
    with pytest.raises(ExpressionError):
        Cost(written)
