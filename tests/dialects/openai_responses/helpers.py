"""What the tests of this dialect share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from extproc.dialects.base import Env, Headers, Meta, ResponseHead, UpstreamCall
from extproc.dialects.openai_responses import OpenAIResponses
from extproc.llm import events as e
from extproc.llm.fold import Folded
from extproc.llm.grammar import Grammar, State
from extproc.llm.losses import LossReport
from extproc.llm.request import Request
from extproc.settings import Limits

Json = dict[str, Any]
DIALECT = OpenAIResponses()
GOLDEN = Path(__file__).parents[2] / "golden" / DIALECT.name
STREAM = "text/event-stream; charset=utf-8"


def request(*, stream: bool = True, state: Any = None) -> Request:
    return Request(dialect=DIALECT.name, model="asked", messages=[], stream=stream, client_state=state)


def parsed(
    data: bytes | Json,
    *,
    content_type: str = "",
    status: int = 200,
    headers: Headers | None = None,
    step: int | None = None,
    losses: LossReport | None = None,
) -> list[e.ResponseEvent]:
    """The events of a response: a dict is a whole body, bytes are a stream unless *content_type* says otherwise."""
    if isinstance(data, dict):
        data, content_type = msgspec.json.encode(data), content_type or "application/json"
    head = ResponseHead(status, [("content-type", content_type or STREAM), *(headers or [])])
    call = UpstreamCall("POST", "/v1/responses", [], {}, request())
    report = LossReport() if losses is None else losses
    parser = DIALECT.response_parser(call, head, Limits(), report)
    step = step or len(data) or 1
    events = [event for i in range(0, len(data), step) for event in parser.feed(data[i : i + step])] + parser.end()
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    assert grammar.state is State.ENDED
    return events


def fold(events: list[e.ResponseEvent]) -> Folded:
    folded = Folded()
    for event in events:
        folded.add(event)
    return folded


def sse(*events: Json) -> bytes:
    """A stream of these events, as a server would write it."""
    lines = (f"event: {event['type']}\ndata: {msgspec.json.encode(event).decode()}\n\n" for event in events)
    return "".join(lines).encode()


def emitted(
    events: list[e.ResponseEvent],
    *,
    stream: bool = True,
    state: Any = None,
    meta: Meta | None = None,
    losses: LossReport | None = None,
) -> tuple[ResponseHead, bytes]:
    """What a client gets for *events*: the head, and the body."""
    upstream = ResponseHead(200, [("content-type", "text/event-stream" if stream else "application/json")])
    report = LossReport() if losses is None else losses
    emitter = DIALECT.response_emitter(
        request(stream=stream, state=state), upstream, meta or Meta(), Env(now=1000.5), report
    )
    return emitter.head, b"".join([emitter.emit(event) for event in events])


def events_of(stream: bytes) -> list[Json]:
    """The events in a stream; its form is checked."""
    found = []
    assert stream.endswith(b"\n\n")
    for block in stream.decode().split("\n\n")[:-1]:
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        decoded = msgspec.json.decode(data.removeprefix("data: "))
        assert name == f"event: {decoded['type']}"
        found.append(decoded)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found
