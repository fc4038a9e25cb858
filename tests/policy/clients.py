"""Clients and upstreams of every API that holds conversations: what is asked and answered."""

from __future__ import annotations

from typing import Any

import msgspec

from extproc import Answer, Call, Translation, dialects
from extproc.capabilities import Capabilities
from extproc.dialects.base import Answering, ClientCall, Env, Meta, ResponseHead, Upstream, UpstreamCall
from extproc.llm.events import (
    BlockEnded,
    ResponseEnded,
    ResponseEvent,
    ResponseStarted,
    StopReason,
    TextDelta,
    TextStarted,
    ToolCallStarted,
    ToolInputDelta,
    Usage,
)
from extproc.llm.losses import LossReport
from extproc.llm.request import Message, Request, Tool
from extproc.settings import Limits

PROVIDER: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": ("openai", {}),
    "anthropic_messages": ("anthropic", {}),
    "openai_responses": ("openai", {}),
    "bedrock_converse": ("bedrock", {"provider_conf": {"region": "eu-west-1"}}),
    "gemini": ("gemini", {}),
}
CLIENTS = list(PROVIDER)
PAIRS = [(client, upstream) for client in CLIENTS for upstream in CLIENTS]
USAGE = Usage(3, 2)
ENV = Env(1_800_000_000.0, "id")


def exchange(client: str, upstream: str, *policies: dict[str, Any], **route: Any) -> Translation:
    name, conf = PROVIDER[upstream]
    made = {"provider": name, "auth": "none", "policies": list(policies), **conf, **route}
    return Translation(client, upstream, route=made, now=1.0, request_id="id")


def written(client: str, *messages: Message, stream: bool = False, **members: Any) -> ClientCall:
    """What a client of that API sends to say *messages*; leading system messages stand where it has them."""
    dialect = dialects.get(client)
    system = [message for message in messages if message.role == "system"]
    said = [message for message in messages if message.role != "system"]
    request = Request(dialect=client, model="m", messages=said, system=system, stream=stream, **members)
    upstream = Upstream("", "", Capabilities(), "m")
    call = dialect.emit_request(request, upstream, LossReport())
    path = {"gemini": "/v1beta/models/m", "bedrock_converse": "/model/m"}.get(client, dialect.paths[0])
    if client == "gemini":
        path += ":streamGenerateContent?alt=sse" if stream else ":generateContent"
    elif client == "bedrock_converse":
        path += "/converse-stream" if stream else "/converse"
    return ClientCall("POST", path, [], msgspec.json.encode(call.members))


def asked(t: Translation, call: ClientCall) -> Call | Answer:
    return t.request(call.body, call.method, call.path)


def reached(t: Translation, call: ClientCall) -> Request:
    """What the upstream reads of *call*, when it has gone through *t*."""
    sent = asked(t, call)
    assert isinstance(sent, Call), sent
    return read(t.upstream or "", sent.path, sent.body)


def read(dialect: str, path: str, body: bytes) -> Request:
    return dialects.get(dialect).parse_request(ClientCall("POST", path, [], body), LossReport())


def said(request: Request) -> list[tuple[str, str]]:
    """Who says what, in order; what stands together in one turn apart."""
    found: list[tuple[str, str]] = []
    for message in [*request.system, *request.messages]:
        blocks = message.content if isinstance(message.content, list) else [message.content]
        for block in blocks:
            text = block if isinstance(block, str) else getattr(block, "text", type(block).__name__)
            found.append((message.role, text))
    return found


def texts(*pieces: str) -> list[ResponseEvent]:
    """An answer that says *pieces*, one event each."""
    return [
        ResponseStarted("r1", "real", USAGE),
        TextStarted(0),
        *(TextDelta(0, piece) for piece in pieces),
        BlockEnded(0),
        ResponseEnded(StopReason.END, USAGE),
    ]


def tool_call(*fragments: str) -> list[ResponseEvent]:
    """An answer that calls the tool ``run``."""
    return [
        ResponseStarted("r1", "real", USAGE),
        ToolCallStarted(0, "call_1", "run"),
        *(ToolInputDelta(0, fragment) for fragment in fragments),
        BlockEnded(0),
        ResponseEnded(StopReason.TOOL_CALL, USAGE),
    ]


RUN = Tool("run", schema={"type": "object", "properties": {}})


def heard(t: Translation, events: list[ResponseEvent], *, stream: bool) -> list[ResponseEvent]:
    """What the client of *t* reads when its upstream answers *events*."""
    upstream = dialects.get(t.upstream or "")
    media_type = upstream.stream_type if stream else "application/json"
    head = ResponseHead(200, [("content-type", media_type)])
    asked_for = Request(dialect=upstream.name, model="m", messages=[], tools=[RUN], stream=stream)
    emitter = upstream.response_emitter(Answering(asked_for, head, Meta(), ENV, LossReport()))
    wire = [emitter.emit(event) for event in events]
    t.response_head(200, head.headers)
    out = b"".join([*(t.response_body(piece) for piece in wire if piece), t.response_body(b"", True)])
    client = dialects.get(t.client or "")
    got = ResponseHead(200, [("content-type", client.stream_type if stream else "application/json")])
    return parsed(client.name, got, out, stream=stream)


def parsed(client: str, head: ResponseHead, body: bytes, *, stream: bool) -> list[ResponseEvent]:
    request = Request(dialect=client, model="m", messages=[], tools=[RUN], stream=stream)
    call = UpstreamCall("POST", "/", [], {}, request)
    parser = dialects.get(client).response_parser(call, head, Limits(), LossReport())
    return parser.feed(body) + parser.end()


def text_of(events: list[ResponseEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def input_of(events: list[ResponseEvent]) -> str:
    return "".join(event.fragment for event in events if isinstance(event, ToolInputDelta))
