from __future__ import annotations

import pytest

from extproc.llm import events as e
from extproc.llm.failures import ErrorKind, ProtocolError
from extproc.llm.grammar import DELTA_OF, STARTS, TRANSITIONS, Grammar, State

STARTED = e.ResponseStarted("r", "m")
ENDED = e.ResponseEnded(e.StopReason.END)
FAILED = e.ResponseFailed(ErrorKind.API, "no")
CITATION = e.Citation("url", "test")

LEGAL = [
    [STARTED, ENDED],
    [FAILED],
    [STARTED, FAILED],
    [e.KeepAlive(), STARTED, e.KeepAlive(), ENDED],
    [STARTED, e.TextStarted(0), e.TextDelta(0, "a"), e.CitationAdded(0, CITATION), e.BlockEnded(0), ENDED],
    [STARTED, e.ThinkingStarted(0), e.ThinkingDelta(0, "a"), e.ThinkingSealed(0, "s"), e.BlockEnded(0), ENDED],
    [STARTED, e.OpaqueStarted(0, "d", {}), e.OpaqueDelta(0, {}), e.BlockEnded(0), ENDED],
    [STARTED, e.TextStarted(0), FAILED],
    [  # parallel tool calls, interleaved
        STARTED, e.ToolCallStarted(0, "a", "f"), e.ToolCallStarted(1, "b", "g"), e.ToolInputDelta(1, "{"),
        e.ToolInputDelta(0, "{}"), e.BlockEnded(0), e.ToolInputDelta(1, "}"), e.BlockEnded(1), ENDED,
    ],
]  # fmt: skip
ILLEGAL = [
    ([], ENDED, "not_started"),
    ([], e.TextStarted(0), "not_started"),
    ([STARTED], STARTED, "started"),
    ([STARTED, ENDED], e.KeepAlive(), "ended"),
    ([STARTED, ENDED], ENDED, "ended"),
    ([FAILED], FAILED, "ended"),
    ([STARTED], e.TextStarted(1), "expected 0"),
    ([STARTED, e.TextStarted(0)], e.TextStarted(0), "expected 1"),
    ([STARTED], e.TextDelta(0, "a"), "not open"),
    ([STARTED, e.ThinkingStarted(0)], e.TextDelta(0, "a"), "not open for it"),
    ([STARTED, e.TextStarted(0)], e.ToolInputDelta(0, "a"), "not open for it"),
    ([STARTED, e.TextStarted(0), e.BlockEnded(0)], e.TextDelta(0, "a"), "not open for it"),
    ([STARTED, e.TextStarted(0), e.BlockEnded(0)], e.BlockEnded(0), "not open"),
    ([STARTED, e.TextStarted(0)], ENDED, "[0] are still open"),
]


@pytest.mark.parametrize("series", LEGAL)
def test_legal(series: list[e.ResponseEvent]) -> None:
    grammar = Grammar()
    assert [grammar.check(event) for event in series] == series
    assert grammar.state is State.ENDED


@pytest.mark.parametrize(("before", "event", "problem"), ILLEGAL)
def test_illegal_changes_nothing(before: list[e.ResponseEvent], event: e.ResponseEvent, problem: str) -> None:
    grammar = Grammar()
    for legal in before:
        grammar.check(legal)
    state = (grammar.state, dict(grammar.open), grammar.next_block)
    with pytest.raises(ProtocolError) as error:
        grammar.check(event)
    assert problem in str(error.value)
    assert (grammar.state, grammar.open, grammar.next_block) == state


def test_open_blocks_are_bounded() -> None:
    grammar = Grammar(max_open=2)
    for event in (STARTED, e.TextStarted(0), e.TextStarted(1)):
        grammar.check(event)
    with pytest.raises(ProtocolError, match="more than 2 blocks"):
        grammar.check(e.TextStarted(2))
    grammar.check(e.BlockEnded(0))
    grammar.check(e.TextStarted(2))


def test_every_event_has_its_row() -> None:
    members = set(e.ResponseEvent.__args__)
    in_table = {kind for row in TRANSITIONS.values() for kind in row}
    assert in_table == members
    assert set(STARTS) | set(DELTA_OF) <= in_table
