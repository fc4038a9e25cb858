from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from extproc.llm import events as e
from extproc.llm.grammar import DELTA_OF, STARTS, TRANSITIONS


def test_what_is_counted_as_nothing_is_not_known() -> None:
    assert e.Usage() == e.NO_USAGE and e.total(e.NO_USAGE) is None
    assert [e.total(each) for each in (e.Usage(5), e.Usage(5, 2, 4), e.Usage(output_tokens=0))] == [5, 7, 0]
    assert all(value is None for value in msgspec.structs.astuple(e.NO_USAGE))


def test_the_unions_hold_what_the_grammar_knows() -> None:
    assert set(get_args(e.BlockStarted)) == set(STARTS)
    assert set(get_args(e.BlockDelta)) == set(DELTA_OF)
    events = {event for steps in TRANSITIONS.values() for event in steps}
    assert events == set(get_args(e.ResponseEvent))


@pytest.mark.parametrize("event", get_args(e.ResponseEvent), ids=lambda event: str(event.__name__))
def test_events_are_values(event: type) -> None:
    assert event.__struct_config__.frozen, "policies, emitter and records share it"  # type: ignore[attr-defined]
