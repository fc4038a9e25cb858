"""README's second promise, over what real servers do to their own APIs: a stream is never lied about.

An answer is drawn as texts, thinking and calls, and written as a stream of an upstream's with some of the habits that
were found in the field (``tests/cases/field``). Whatever the habits and the client: what is told is what was said,
calls never overlap on the wire, the stream ends once; cut short anywhere, or with an error in it, it never looks
complete.
"""

from __future__ import annotations

import itertools
import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.framing import eventstream
from extproc.llm.fold import Folded

from .pipeline import gist
from .test_odd_answers import CLIENTS, NAMES, UPSTREAMS, told

Json = Any


class Said(NamedTuple):
    """One block of an answer: "text", "thinking" or "call"; of a call also its id and its name."""

    kind: str
    text: str
    id: str = ""
    name: str = ""


class Piece(NamedTuple):
    """A fragment of the block at *place*; the first one of it, the last one of it."""

    place: int
    text: str
    first: bool
    last: bool


class Drawn(NamedTuple):
    said: list[Said]
    pieces: list[Piece]
    habits: frozenset[str]


HABITS = {
    "openai_chat": (
        "interleaved", "early finish", "finish on each", "usage on each", "other ids", "names again", "name in pieces",
        "indexes as text", "indexes as fractions", "message for delta", "no done", "null members", "told again",
        "cumulative", "halves", "loud words",
    ),
    "anthropic_messages": (
        "indexes as text", "indexes as fractions", "no stops", "no last event", "deltas without types", "pings",
        "told again",
    ),
    "openai_responses": (
        "interleaved", "no indexes", "indexes as text", "whole items", "no deltas", "output at the end", "told again",
    ),
    "gemini": ("no ids", "pieces of one event", "usage on each"),
    "bedrock_converse": ("indexes as text", "no stops", "no metadata", "told again"),
}  # fmt: skip
CONTRARY = (
    {"told again", "cumulative"},
    {"indexes as text", "indexes as fractions"},
    {"no indexes", "indexes as text"},
)
WORDS = ["Hi", " there", "😀", " é", "\n", "a"]


@st.composite
def answers(draw: st.DrawFn, upstream: str) -> Drawn:
    habits = set(draw(st.lists(st.sampled_from(HABITS[upstream]), max_size=3)))
    for pair in CONTRARY:
        if pair <= habits:
            habits.discard(sorted(pair)[0])
    said: list[Said] = []
    for kind in draw(st.lists(st.sampled_from(["text", "thinking", "call"]), min_size=1, max_size=4)):
        if kind == "call":
            input_ = draw(st.dictionaries(st.sampled_from("ab"), st.text('a{}":\\', max_size=4), max_size=2))
            said.append(Said("call", json.dumps(input_), f"t{len(said)}", draw(st.sampled_from(NAMES))))
        elif not said or said[-1].kind != kind:
            words = draw(st.lists(st.sampled_from(WORDS), max_size=3))
            said.append(Said(kind, "".join(["x", *words])))
    if any(block.kind == "call" for block in said):
        habits.discard("message for delta")  # there each call is whole
    queues = [list(_cut(draw, place, block, habits)) for place, block in enumerate(said)]
    order: list[Piece] = []
    while any(queues):
        waiting = [place for place, queue in enumerate(queues) if queue]
        # Each kind in its own order; calls begin in theirs.
        free = [
            p for p in waiting if said[p].kind == "call" or all(said[q].kind != said[p].kind for q in waiting if q < p)
        ]
        if upstream != "openai_chat":
            # Calls may go on side by side; texts are told one after the other.
            free = list(itertools.takewhile(lambda p: said[p].kind == "call", waiting)) or waiting[:1]
        place = draw(st.sampled_from(free)) if "interleaved" in habits else waiting[0]
        if queues[place][0].first:
            place = next(p for p in waiting if queues[p][0].first and said[p].kind == said[place].kind)
        order.append(queues[place].pop(0))
    if _may_be_told_again([piece.text for piece in order if said[piece.place].kind == "text"]):
        habits.discard("message for delta")
    return Drawn(said, order, frozenset(habits))


def _may_be_told_again(texts: list[str]) -> bool:
    """Whether a text begins as all of them before it together: a message with that text repeats them, as servers do
    that tell all again in each message."""
    before = ""
    for text in texts:
        if before and text.startswith(before):
            return True
        before += text
    return False


def _cut(draw: st.DrawFn, place: int, block: Said, habits: set[str]) -> list[Piece]:
    cuts = sorted(draw(st.lists(st.integers(1, max(1, len(block.text) - 1)), max_size=2, unique=True)))
    cuts = [cut for cut in cuts if cut < len(block.text)]
    texts = [block.text[a:b] for a, b in itertools.pairwise([0, *cuts, len(block.text)])]
    if block.kind == "call":
        if "cumulative" in habits:
            texts = [block.text[:b] for b in [*cuts, len(block.text)]]
        if "told again" in habits:
            texts = [*texts, block.text]
        texts = ["", *texts]
    last = len(texts) - 1
    return [Piece(place, text, n == 0, n == last) for n, text in enumerate(texts)]


# ---- one writer for each API


def _index(habits: frozenset[str], number: int) -> Any:
    if "indexes as text" in habits:
        return str(number)
    return float(number) if "indexes as fractions" in habits else number


def chat(drawn: Drawn) -> list[Json]:
    said, habits = drawn.said, drawn.habits
    numbers = {place: n for n, place in enumerate(p for p, block in enumerate(said) if block.kind == "call")}
    word = "tool_calls" if numbers else "stop"
    word = word.upper() if "loud words" in habits else word
    events: list[Json] = []

    def add(delta: Json, finish: str | None = None) -> None:
        if "null members" in habits:
            delta = {"content": None, "refusal": None, "tool_calls": None, "role": "assistant", **delta}
        choice = {"index": 0, "message" if "message for delta" in habits else "delta": delta, "finish_reason": finish}
        usage = {"usage": {"prompt_tokens": 3, "completion_tokens": len(events)}} if "usage on each" in habits else {}
        events.append({"id": "c", "choices": [choice], **usage})

    for count, piece in enumerate(drawn.pieces):
        block = said[piece.place]
        early = ("early finish" in habits and count == 0) or ("finish on each" in habits and block.kind == "call")
        finish = word if early else None
        if block.kind != "call":
            name = "content" if block.kind == "text" else "reasoning_content"
            for text in _halves(piece.text) if "halves" in habits else [piece.text]:
                add({name: text}, finish)
            continue
        call: Json = {"index": _index(habits, numbers[piece.place])}
        if piece.first:
            call |= {"id": block.id, "type": "function"}
            if "name in pieces" in habits and "_" in block.name:
                head, _, tail = block.name.partition("_")
                add({"tool_calls": [{**call, "function": {"name": f"{head}_", "arguments": ""}}]}, finish)
                add({"tool_calls": [{"index": call["index"], "function": {"name": tail}}]}, finish)
                continue
            call["function"] = {"name": block.name, "arguments": None if "null members" in habits else ""}
        else:
            call["function"] = {"arguments": piece.text}
            if "names again" in habits:
                call["function"]["name"] = block.name
                call["id"] = block.id
            elif "other ids" in habits:
                call["id"] = f"other-{count}"
        add({"tool_calls": [call]}, finish)
    add({}, word)
    if "no done" not in habits:
        events.append("[DONE]")
    return events


def _halves(text: str) -> list[str]:
    """*text* as a server cuts it that counts UTF-16's units."""
    found = []
    for char in text:
        if ord(char) > 0xFFFF:
            code = ord(char) - 0x10000
            found += [chr(0xD800 + (code >> 10)), chr(0xDC00 + (code & 0x3FF))]
        else:
            found.append(char)
    return found


def messages(drawn: Drawn) -> list[Json]:
    said, habits = drawn.said, drawn.habits
    events: list[Json] = [{"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}}]
    for piece in drawn.pieces:
        block, place = said[piece.place], {"index": _index(habits, piece.place)}
        kind = {"text": "text", "thinking": "thinking", "call": "partial_json"}[block.kind]
        if piece.first:
            start: Json = {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}
            if block.kind != "call":
                start = {"type": kind, kind: ""}
            events.append({"type": "content_block_start", **place, "content_block": start})
        typed = {"partial_json": "input_json_delta"}.get(kind, f"{kind}_delta")
        delta = {kind: piece.text} if "deltas without types" in habits else {"type": typed, kind: piece.text}
        if piece.text:
            events.append({"type": "content_block_delta", **place, "delta": delta})
        if piece.last and "no stops" not in habits:
            events.append({"type": "content_block_stop", **place})
        if "pings" in habits:
            events.append({"type": "ping"})
    stop = "tool_use" if any(block.kind == "call" for block in said) else "end_turn"
    events.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 3}})
    return events if "no last event" in habits else [*events, {"type": "message_stop"}]


def _item(place: int, block: Said, *, whole: bool) -> Json:
    text = block.text if whole else ""
    if block.kind == "call":
        return {"type": "function_call", "id": f"i{place}", "call_id": block.id, "name": block.name, "arguments": text}
    if block.kind == "text":
        content = [{"type": "output_text", "text": text, "annotations": []}] if whole else []
        return {"type": "message", "id": f"i{place}", "role": "assistant", "content": content}
    summary = [{"type": "summary_text", "text": text}] if whole else []
    return {"type": "reasoning", "id": f"i{place}", "summary": summary}


def responses(drawn: Drawn) -> list[Json]:
    said, habits = drawn.said, drawn.habits
    events: list[Json] = [{"type": "response.created", "response": {"id": "r", "model": "m"}}]
    deltas = {
        "call": ("response.function_call_arguments.delta", {}),
        "text": ("response.output_text.delta", {"content_index": 0}),
        "thinking": ("response.reasoning_summary_text.delta", {"summary_index": 0}),
    }
    for piece in drawn.pieces:
        block = said[piece.place]
        id_ = {"item_id": f"i{piece.place}"}
        place: Json = {} if "no indexes" in habits else {"output_index": _index(habits, piece.place)}
        if piece.first and "whole items" not in habits:
            events.append(
                {"type": "response.output_item.added", **place, "item": _item(piece.place, block, whole=False)}
            )
        kind, more = deltas[block.kind]
        if piece.text and not habits & {"whole items", "no deltas"}:
            events.append({"type": kind, **id_, **place, **more, "delta": piece.text})
        if piece.last:
            events.append({"type": "response.output_item.done", **place, "item": _item(piece.place, block, whole=True)})
    output = [_item(place, block, whole=True) for place, block in enumerate(said)]
    ended = {"id": "r", "status": "completed", "output": output if "output at the end" in habits else []}
    return [*events, {"type": "response.completed", "response": ended}]


def gemini(drawn: Drawn) -> list[Json]:
    said, habits = drawn.said, drawn.habits
    events: list[Json] = []
    for piece in drawn.pieces:
        block = said[piece.place]
        part: Json = {"text": piece.text, **({"thought": True} if block.kind == "thinking" else {})}
        if block.kind == "call":
            if not piece.last:
                continue
            part = {"functionCall": {"id": block.id, "name": block.name, "args": json.loads(block.text)}}
            if "no ids" in habits:
                del part["functionCall"]["id"]
        usage = (
            {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1}} if "usage on each" in habits else {}
        )
        events.append({"candidates": [{"content": {"role": "model", "parts": [part]}}], **usage})
    if "pieces of one event" in habits:
        parts = [event["candidates"][0]["content"]["parts"][0] for event in events]
        events = [{"candidates": [{"content": {"role": "model", "parts": parts}}]}]
    return [*events, {"candidates": [{"content": {"role": "model", "parts": []}, "finishReason": "STOP"}]}]


def converse(drawn: Drawn) -> list[Json]:
    said, habits = drawn.said, drawn.habits
    events: list[Json] = [("messageStart", {"role": "assistant"})]
    for piece in drawn.pieces:
        block, place = said[piece.place], {"contentBlockIndex": _index(habits, piece.place)}
        delta: Json = {"text": piece.text}
        if block.kind == "thinking":
            delta = {"reasoningContent": delta}
        elif block.kind == "call":
            if piece.first:
                start = {"toolUse": {"toolUseId": block.id, "name": block.name}}
                events.append(("contentBlockStart", {**place, "start": start}))
            delta = {"toolUse": {"input": piece.text}}
        if piece.text:
            events.append(("contentBlockDelta", {**place, "delta": delta}))
        if piece.last and "no stops" not in habits:
            events.append(("contentBlockStop", place))
    stop = "tool_use" if any(block.kind == "call" for block in said) else "end_turn"
    events.append(("messageStop", {"stopReason": stop}))
    return events if "no metadata" in habits else [*events, ("metadata", {"usage": {}})]


WRITERS: dict[str, Any] = {
    "openai_chat": chat,
    "anthropic_messages": messages,
    "openai_responses": responses,
    "gemini": gemini,
    "bedrock_converse": converse,
}


# ---- what the client's bytes say


def wire(client: str, out: bytes) -> list[tuple[str, Json]]:
    """The events of the client's stream, each with its kind, as they stand there."""
    if client == "bedrock_converse":
        decoder = eventstream.EventStreamDecoder()
        frames = [frame for frame in decoder.feed(out) if isinstance(frame, eventstream.EventStreamMessage)]
        assert not decoder.end()
        return [
            (str(f.headers.get(":event-type") or f.headers.get(":exception-type")), json.loads(f.payload or b"{}"))
            for f in frames
        ]
    datas = [line.removeprefix(b"data: ") for line in out.split(b"\n") if line.startswith(b"data: ")]
    return [("", data.decode()) if data == b"[DONE]" else (_kind(json.loads(data)), json.loads(data)) for data in datas]


def _kind(event: Json) -> str:
    return str(event.get("type") or ("error" if "error" in event else "chunk"))


def ends_and_overlaps(client: str, out: bytes) -> None:
    """The client's stream ends once, and no call begins while another is open."""
    events = wire(client, out)
    ends: list[str] = []
    open_: Any = None
    for kind, event in events:
        assert (
            not ends
            or (client == "bedrock_converse" and kind == "metadata")
            or (client == "openai_chat" and ends[-1] in ("stop", "error"))
            or (client == "openai_responses" and (ends, kind) == (["error"], "response.failed"))
        ), f"{kind} behind the end"
        if client == "openai_chat":
            if event == "[DONE]":
                ends.append("done")
                continue
            if kind == "error":
                ends.append("error")
                continue
            for choice in event["choices"]:
                for call in choice["delta"].get("tool_calls") or ():
                    # Chat's calls have numbers, and may go on side by side.
                    begun = -1 if open_ is None else open_
                    assert call["index"] == begun + 1 if "id" in call else call["index"] <= begun
                    open_ = max(begun, call["index"])
                if choice.get("finish_reason"):
                    assert not ends
                    ends.append("stop")
            continue
        if client == "gemini":
            if kind == "error" or event["candidates"][0].get("finishReason"):
                ends.append(kind)
            continue
        place = event.get("index", event.get("contentBlockIndex", event.get("output_index")))
        if kind in ("content_block_start", "response.output_item.added"):
            assert open_ is None, "blocks overlap"
            open_ = place
        elif kind in ("content_block_stop", "response.output_item.done", "contentBlockStop"):
            assert open_ == place
            open_ = None
        elif kind in ("contentBlockStart", "contentBlockDelta"):
            assert open_ in (None, place) and (kind == "contentBlockDelta" or open_ is None), "blocks overlap"
            open_ = place
        elif kind in ("content_block_delta", "response.function_call_arguments.delta"):
            assert open_ == place, "input of a call that is not open"
        elif kind in ("message_stop", "error", "messageStop") or kind.endswith("Exception") or kind in (
            "response.completed", "response.incomplete", "response.failed",
        ):  # fmt: skip
            ends.append(kind)
    if client == "openai_chat":
        assert ends in (["stop", "done"], ["error", "done"], ["error"]), ends
    else:
        assert len(ends) == 1 or ends == ["error", "response.failed"], ends


def meant(said: list[Said], client: str) -> list[object]:
    text = "".join(block.text for block in said if block.kind == "text")
    thinking = "".join(block.text for block in said if block.kind == "thinking")
    calls = [(block.name, json.loads(block.text)) for block in said if block.kind == "call"]
    return [text, thinking, _in_order(calls, client)]


def read(answer: Folded, client: str) -> list[object]:
    text, thinking, calls, *_ = gist(answer)
    return [text, thinking, _in_order([(name, input_) for _, name, input_ in calls], client)]  # type: ignore[attr-defined]


def _in_order(calls: list[Json], client: str) -> list[Json]:
    # Gemini's are told when they are whole.
    return sorted(calls, key=repr) if client == "gemini" else calls


@pytest.mark.parametrize("upstream", UPSTREAMS)
@given(data=st.data())
@settings(max_examples=80, deadline=None)
@pytest.mark.rows("A8", "A25")
def test_what_is_told_is_what_was_said(upstream: str, data: st.DataObject) -> None:
    drawn = data.draw(answers(upstream))
    client = data.draw(st.sampled_from([name for name in CLIENTS if name != upstream]))
    answer, t, out = told(client, upstream, WRITERS[upstream](drawn), step=data.draw(st.sampled_from([None, 1])))
    assert t.failed is None and answer.failed is None
    assert read(answer, client) == meant(drawn.said, client)
    assert answer.ended is not None
    # Gemini has one word for both.
    assert client == "gemini" or (answer.ended.stop.value == "tool_call") is any(
        block.kind == "call" for block in drawn.said
    )
    ends_and_overlaps(client, out)


ERRORS: list[Json] = [
    {"error": {"message": "the model broke", "type": "server_error", "code": 500}},
    {"error": "the model broke"},
    {"type": "error", "error": {"type": "overloaded_error", "message": "the model broke"}},
    {"object": "error", "message": "the model broke", "code": 503},
    {"detail": "the model broke"},
    {"base_resp": {"status_code": 1002, "status_msg": "the model broke"}, "choices": None},
]


@pytest.mark.parametrize("upstream", UPSTREAMS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
@pytest.mark.rows("A25")
def test_what_is_cut_or_broken_never_looks_complete(upstream: str, data: st.DataObject) -> None:
    drawn = data.draw(answers(upstream))
    client = data.draw(st.sampled_from([name for name in CLIENTS if name != upstream]))
    events = WRITERS[upstream](drawn)
    cut = data.draw(st.integers(0, len(events) - 1))
    broken: Json = data.draw(st.sampled_from([None, *ERRORS]))
    if broken is not None:
        broken = (
            ("modelStreamErrorException", {"message": "the model broke"}) if upstream == "bedrock_converse" else broken
        )
    answer, t, out = told(client, upstream, [*events[:cut], *([] if broken is None else [broken])])
    ends_and_overlaps(client, out)
    assert (t.failed is None) == (answer.failed is None)
    if broken is not None:
        assert answer.failed is not None and b"the model broke" in out
    elif answer.failed is None and not drawn.habits & {"early finish", "finish on each"}:
        # What was cut off can only have been counts and end marks.
        assert read(answer, client) == meant(drawn.said, client)
