"""Whose trace an exchange belongs to."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from extproc.telemetry.traceparent import HEADER, Traced, Tracing, value_in

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def counted() -> Callable[[int], int]:
    numbers = iter(range(1, 1000))
    return lambda bits: next(numbers)


def tracing(ratio: float = 1.0) -> Tracing:
    return Tracing(ratio, counted())


def test_a_childs_span_is_of_its_parents_trace() -> None:
    made = tracing().begin([("a", "b"), (HEADER, PARENT)])
    assert made == Traced(TRACE, "0" * 15 + "1", SPAN, 1) and made is not None
    assert made.header == f"00-{TRACE}-{'0' * 15}1-01" and made.sampled
    assert made.told([("a", "b"), (HEADER, PARENT)]) == [("a", "b"), (HEADER, made.header)]


@pytest.mark.parametrize("value", [f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-02"])
def test_a_parent_that_is_not_sampled_is_obeyed(value: str) -> None:
    assert tracing().begin([(HEADER, value)]) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "junk",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
    ],
)
def test_what_is_no_context_begins_a_trace(value: str) -> None:
    made = tracing().begin([(HEADER, value)])
    assert made is not None and (made.trace_id, made.parent_id, made.sampled) == ("0" * 31 + "1", "", True)


def test_two_contexts_are_none() -> None:
    assert value_in([(HEADER, PARENT), (HEADER, PARENT)]) == ""
    made = tracing().begin([(HEADER, PARENT), (HEADER, PARENT)])
    assert made is not None and made.parent_id == ""
    assert [name for name, _ in made.told([(HEADER, PARENT), (HEADER, PARENT)])] == [HEADER]


def test_a_later_version_is_read_as_far_as_this_one_knows() -> None:
    made = tracing().begin([(HEADER, f"42-{TRACE}-{SPAN}-ff-what-comes")])
    assert made is not None and made.header.startswith("00-") and made.header.endswith("-03")


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_as_many_as_the_ratio_says(ratio: float) -> None:
    made = [Tracing(ratio, random.Random(seed).getrandbits).begin([]) for seed in range(400)]
    share = sum(each is not None and each.sampled for each in made) / len(made)
    assert abs(share - ratio) < 0.15 and (share == ratio or ratio == 0.25)
    for each in made:
        # Whoever comes after is told, so that a trace is whole or not there.
        assert each is not None and each.header[-2:] in ("02", "03")


def test_the_next_attempt_is_in_the_same_trace() -> None:
    made = tracing()
    first = made.begin([])
    assert first is not None
    second = made.again(first.header)
    assert second is not None and second.trace_id == first.trace_id and second.span_id != first.span_id
    assert second.parent_id == "" and made.again("junk") is None


def test_an_id_is_never_nothing() -> None:
    numbers = iter([0, 5, 0, 0, 7])
    made = Tracing(1.0, lambda bits: next(numbers)).begin([])
    assert made is not None and (int(made.trace_id, 16), int(made.span_id, 16)) == (5, 7)
