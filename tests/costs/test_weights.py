"""One number of many counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.costs.weights import Weights
from extproc.llm.events import NO_USAGE, Usage

USAGE = Usage(input_tokens=100, output_tokens=20, cache_read_tokens=60, cache_write_tokens=10, reasoning_tokens=5)


@pytest.mark.parametrize(
    ("weights", "usage", "weight"),
    [
        (Weights(input=1), USAGE, 100),
        (Weights(input=1, cached=0.1), USAGE, 40 + 6),
        (Weights(input=1, cached=0.1, cache_write=1.25), USAGE, 30 + 6 + 12.5),
        (Weights(output=4), USAGE, 80),
        (Weights(output=4, reasoning=1), USAGE, 60 + 5),
        (Weights(cached=1), USAGE, 60),
        (Weights(total=1), USAGE, 120),
        (Weights(total=1, reasoning=2), USAGE, 130),
        (Weights(input=1, output=1), Usage(output_tokens=3), 3),
        (Weights(input=1), NO_USAGE, None),
        # More from a cache than there was: no weight is below nothing.
        (Weights(input=1, cached=0), Usage(input_tokens=5, cache_read_tokens=9), 0),
    ],
)
def test_each_kind_weighs_what_it_is_given(weights: Weights, usage: Usage, weight: float | None) -> None:
    assert weights.of(usage) == pytest.approx(weight)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 100))
def test_one_weight_for_all_is_that_of_the_total(came: int, went: int, weight: float) -> None:
    usage = Usage(came, went, cache_read_tokens=came // 2, reasoning_tokens=went // 3)
    assert Weights(weight, weight).of(usage) == pytest.approx(Weights(total=weight).of(usage))
