from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.llm import events as e
from extproc.llm.failures import ErrorKind
from extproc.llm.fold import Folded, ToolCallBlock, folded
from extproc.llm.grammar import Grammar
from extproc.llm.serial import Serializer
from tests.properties.growth import grows_with_its_length

Event = e.ResponseEvent


def call(block: int, kind: str = "function") -> e.ToolCallStarted:
    return e.ToolCallStarted(block, f"c{block}", f"f{block}", kind)


def said(block: int, fragment: str) -> e.ToolInputDelta:
    return e.ToolInputDelta(block, fragment)


END = e.BlockEnded
STARTED, ENDED = e.ResponseStarted("r", "m"), e.ResponseEnded(e.StopReason.END)

CONVERSATIONS: dict[str, list[tuple[Event, list[Event]]]] = {
    "one after the other passes as it is": [
        (STARTED, [STARTED]),
        (e.ThinkingStarted(0), [e.ThinkingStarted(0)]),
        (e.ThinkingDelta(0, "a"), [e.ThinkingDelta(0, "a")]),
        (e.ThinkingSealed(0, "s"), [e.ThinkingSealed(0, "s")]),
        (END(0), [END(0)]),
        (e.KeepAlive(), [e.KeepAlive()]),
        (e.TextStarted(1), [e.TextStarted(1)]),
        (e.TextDelta(1, "a"), [e.TextDelta(1, "a")]),
        (END(1), [END(1)]),
        (call(2), [call(2)]),
        (said(2, "{}"), [said(2, "{}")]),
        (END(2), [END(2)]),
        (ENDED, [ENDED]),
    ],
    "a call waits until the one before it is complete": [
        (call(0), [call(0)]),
        (said(0, '{"a":'), [said(0, '{"a":')]),
        (call(1), []),
        (said(1, '{"b'), []),
        (said(0, '"}"}'), [said(0, '"}"}'), END(0), call(1), said(1, '{"b')]),
        (said(1, '":1}'), [said(1, '":1}')]),
        (END(0), []),
        (END(1), [END(1)]),
    ],
    "a call that is complete gives way at once": [
        (call(0), [call(0)]),
        (said(0, "{}"), [said(0, "{}")]),
        (call(1), [END(0), call(1)]),
        (END(0), []),
        (END(1), [END(1)]),
    ],
    "several wait, and those that are over come at once": [
        (call(0), [call(0)]),
        (call(1), []),
        (call(2), []),
        (said(2, "{}"), []),
        (said(1, "{}"), []),
        (END(1), []),
        (END(0), [END(0), call(1), said(1, "{}"), END(1), call(2), said(2, "{}")]),
        (END(2), [END(2)]),
    ],
    "text waits until the calls before it are complete": [
        (call(0), [call(0)]),
        (call(1), []),
        (said(1, "{"), []),
        (e.TextStarted(2), []),
        (e.TextDelta(2, "a"), []),
        (said(0, "{}"), [said(0, "{}"), END(0), call(1), said(1, "{")]),
        (e.TextDelta(2, "b"), []),
        (END(0), []),
        (said(1, "}"), [said(1, "}"), END(1), e.TextStarted(2), e.TextDelta(2, "a"), e.TextDelta(2, "b")]),
        (e.TextDelta(2, "c"), [e.TextDelta(2, "c")]),
        (END(1), []),
        (END(2), [END(2)]),
    ],
    "text does not wait for a call that is complete": [
        (call(0), [call(0)]),
        (said(0, "{}"), [said(0, "{}")]),
        (e.TextStarted(1), [END(0), e.TextStarted(1)]),
        (said(0, " "), []),
        (END(0), []),
        (END(1), [END(1)]),
    ],
    "thinking waits until free text has ended": [
        (call(0, "custom"), [call(0, "custom")]),
        (e.ThinkingStarted(1), []),
        (END(1), []),
        (said(0, "{}"), [said(0, "{}")]),
        (END(0), [END(0), e.ThinkingStarted(1), END(1)]),
    ],
    "a call waits for the text before it, which goes on": [
        (e.TextStarted(0), [e.TextStarted(0)]),
        (call(1), []),
        (e.TextDelta(0, "a"), [e.TextDelta(0, "a")]),
        (END(0), [END(0), call(1)]),
        (END(1), [END(1)]),
    ],
    "free text is not complete because it looks so": [
        (call(0, "custom"), [call(0, "custom")]),
        (said(0, "{}"), [said(0, "{}")]),
        (call(1), []),
        (said(0, " and more"), [said(0, " and more")]),
        (END(0), [END(0), call(1)]),
        (END(1), [END(1)]),
    ],
}


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_conversation(conversation: list[tuple[Event, list[Event]]]) -> None:
    serial = Serializer()
    for event, expected in conversation:
        assert serial.feed(event) == expected


@pytest.mark.parametrize("late", [said(0, "x"), e.ToolInputDelta(0, '{"b":2}')])
def test_a_call_that_goes_on_after_it_was_left_fails_the_response(late: Event) -> None:
    serial = Serializer()
    before: list[Event] = [STARTED, call(0), said(0, '{"a":1}'), e.TextStarted(1)]
    after: list[Event] = [e.TextDelta(1, "a"), END(0), END(1), ENDED]
    for event in before:
        serial.feed(event)
    [failed] = serial.feed(late)
    assert isinstance(failed, e.ResponseFailed)
    for event in after:
        assert serial.feed(event) == []


def test_a_failure_of_the_upstream_passes_whatever_waits() -> None:
    serial = Serializer()
    failed = e.ResponseFailed(ErrorKind.API, "no")
    for event in (STARTED, call(0), call(1), said(1, "{")):
        serial.feed(event)
    assert serial.feed(failed) == [failed]


# ---- properties

FRAGMENTS = st.sampled_from(["{", "}", '"', "{}", '{"a":1}', "a", " ", "\\", "[", "]", ""])


@st.composite
def series(draw: st.DrawFn) -> list[Event]:
    """Any legal series, blocks overlapping at will."""
    events: list[Event] = [STARTED]
    kinds: dict[int, type] = {}
    blocks = 0
    for _ in range(draw(st.integers(0, 30))):
        action = draw(st.integers(0, 9))
        if action <= 2 or not kinds:
            start: Any = draw(st.sampled_from([e.TextStarted, e.ThinkingStarted, call, call, e.OpaqueStarted]))
            started = start(blocks, "d", {}) if start is e.OpaqueStarted else start(blocks)
            kinds[blocks] = type(started)
            blocks += 1
            events.append(started)
            continue
        block = draw(st.sampled_from(sorted(kinds)))
        if action == 3:
            del kinds[block]
            events.append(END(block))
        elif action == 4:
            events.append(e.KeepAlive())
        elif kinds[block] is e.TextStarted:
            events.append(e.TextDelta(block, draw(st.text(min_size=1, max_size=3))))
        elif kinds[block] is e.ThinkingStarted:
            seal = draw(st.booleans())
            events.append(e.ThinkingSealed(block, f"s{len(events)}") if seal else e.ThinkingDelta(block, "t"))
        elif kinds[block] is e.ToolCallStarted:
            events.append(said(block, draw(FRAGMENTS)))
        else:
            events.append(e.OpaqueDelta(block, {}))
    return events + [END(block) for block in draw(st.permutations(sorted(kinds)))] + [ENDED]


def fed(events: list[Event]) -> list[list[Event]]:
    serial = Serializer()
    return [serial.feed(event) for event in events]


def stripped(events: list[Event]) -> Folded:
    """Each block's pieces joined; without the white space around a call's input, which means nothing."""
    result = folded(events)
    for block in result.blocks:
        if isinstance(block, ToolCallBlock):
            block.parts = [block.input.strip()]
    return result


@settings(max_examples=300)
@given(series())
def test_blocks_never_overlap_and_nothing_is_lost_in_silence(events: list[Event]) -> None:
    out = [event for batch in fed(events) for event in batch]
    grammar = Grammar(max_open=1)
    for event in out:
        grammar.check(event)
    assert grammar.state.name == "ENDED"
    after, before = stripped(out), stripped(events)
    if after.failed is None:
        assert after.blocks == before.blocks
        assert after.ended == before.ended
    else:
        assert after.blocks != before.blocks, "a response that lost nothing was failed"


@given(series())
def test_text_and_thinking_wait_for_nothing_but_calls(events: list[Event]) -> None:
    calls: set[int] = set()
    late: set[int] = set()  # what came while a call was open, and is not over: others come behind it in their turn
    for event, batch in zip(events, fed(events), strict=True):
        if any(type(each) is e.ResponseFailed for each in batch):
            return
        if isinstance(event, e.ToolCallStarted):
            calls.add(event.block)
        elif isinstance(event, e.BlockEnded):
            calls.discard(event.block)
            late.discard(event.block)
        elif calls:
            late.add(getattr(event, "block", -1))
        elif not late and type(event) in (e.TextStarted, e.TextDelta, e.ThinkingStarted, e.ThinkingDelta):
            assert batch[-1] == event


@st.composite
def interleaved_calls(draw: st.DrawFn) -> list[Event]:
    """Parallel calls as a Chat stream has them: whole JSON inputs in any order of their pieces."""
    objects = st.dictionaries(st.text('a}{"\\', max_size=3), st.text('b}{"', max_size=3))
    inputs = [json.dumps(draw(objects)) for _ in range(4)]
    queues: list[list[Event]] = []
    for block, text in enumerate(inputs):
        cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
        edges = [0, *cuts, len(text)]
        parts = [text[a:b] for a, b in pairwise(edges)]
        queues.append([*(said(block, part) for part in parts), END(block)])
    events: list[Event] = [STARTED]
    begun = 0
    while begun < len(queues) or any(queues):
        choices = [block for block in range(begun) if queues[block]] + ([begun] if begun < len(queues) else [])
        block = draw(st.sampled_from(choices))
        if block == begun:
            events.append(call(block))
            begun += 1
        else:
            events.append(queues[block].pop(0))
    return [*events, ENDED]


@given(interleaved_calls())
def test_parallel_calls_always_arrive_whole(events: list[Event]) -> None:
    out = [event for batch in fed(events) for event in batch]
    assert stripped(out).failed is None
    assert stripped(out).blocks == stripped(events).blocks


def test_however_many_blocks_wait_they_come_in_linear_time() -> None:
    def waited(n: int) -> Callable[[], object]:
        events: list[Event] = [call(0), said(0, '{"a":')]
        for block in range(1, n):
            events += [call(block), said(block, "{}"), END(block)]

        def run() -> None:
            serializer = Serializer()
            written = [each for event in [*events, END(0)] for each in serializer.feed(event)]
            assert len(written) == 3 * n and written[-1] == END(n - 1)

        return run

    grows_with_its_length(waited, 4000)
