"""What the tests of this dialect share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from extproc import capabilities
from extproc.dialects.base import (
    Answering,
    ClientCall,
    Env,
    Headers,
    Meta,
    ResponseHead,
    Upstream,
    UpstreamCall,
    encode,
)
from extproc.dialects.openai_responses import OpenAIResponses
from extproc.llm import events as e
from extproc.llm.grammar import Grammar, State
from extproc.llm.losses import LossReport
from extproc.llm.request import Message, Request
from extproc.settings import Limits

Json = dict[str, Any]
DIALECT = OpenAIResponses()
GOLDEN = Path(__file__).parents[2] / "golden" / DIALECT.name
STREAM = "text/event-stream; charset=utf-8"


USER: Json = {"role": "user", "content": "hi"}


def parse(body: Any, headers: Headers | None = None) -> tuple[Request, list[str]]:
    """A client's body as a Request, and the losses. *body* gets a model and an input when it has none."""
    if isinstance(body, dict):
        body = {"model": "m", "input": [USER]} | body
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    losses = LossReport()
    request = DIALECT.parse_request(ClientCall("POST", "/v1/responses", headers or [], data), losses)
    return request, [str(loss) for loss in losses]


class Emitted:
    def __init__(self, call: UpstreamCall, losses: LossReport) -> None:
        self.call = call
        self.body: Json = msgspec.json.decode(encode(call.members))
        self.losses = [str(loss) for loss in losses]

    @property
    def input(self) -> Any:
        return self.body["input"]


HI = [Message("user", "hi", "messages[0]")]


def emit(
    model: str = "gpt-5.1", *, provider: str = "openai", quirks: dict[str, Any] | None = None, **members: Any
) -> Emitted:
    """A Request with *members* as an upstream that serves *model* gets it."""
    members = {"dialect": "anthropic_messages", "model": model, "messages": HI} | members
    row = capabilities.packaged().find(provider, model, quirks)
    losses = LossReport()
    call = DIALECT.emit_request(Request(**members), Upstream(provider, "/v1/responses", row, model), losses)
    return Emitted(call, losses)


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
    request: Request | None = None,
) -> tuple[ResponseHead, bytes]:
    """What a client gets for *events*: the head, and the body. *state*: what its request settled."""
    upstream = ResponseHead(200, [("content-type", "text/event-stream" if stream else "application/json")])
    report = LossReport() if losses is None else losses
    asked = request or Request(dialect=DIALECT.name, model="asked", messages=[], stream=stream, client_state=state)
    emitter = DIALECT.response_emitter(Answering(asked, upstream, meta or Meta(), Env(now=1000.5), report))
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
