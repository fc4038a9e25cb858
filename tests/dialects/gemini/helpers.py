"""What the tests of this dialect share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from extproc import Call, Translation
from extproc.dialects.base import Answering, ClientCall, Env, Headers, Meta, ResponseHead, UpstreamCall
from extproc.dialects.gemini import Gemini
from extproc.dialects.gemini.parse_request import GeminiState
from extproc.llm import events as e
from extproc.llm.grammar import Grammar, State
from extproc.llm.losses import LossReport
from extproc.llm.request import (
    Request,
)
from extproc.settings import Limits

Json = dict[str, Any]
DIALECT = Gemini()
NAME = DIALECT.name
GOLDEN = Path(__file__).parents[2] / "golden" / NAME
SSE, JSON = "text/event-stream", "application/json"
PATH = "/v1beta/models/{}:generateContent"
STREAM = "/v1beta/models/{}:streamGenerateContent?alt=sse"


def request(*, stream: bool = True, state: GeminiState | None = None, dialect: str = NAME) -> Request:
    return Request(dialect=dialect, model="asked", messages=[], stream=stream, client_state=state)


def parsed(
    data: bytes | Json | list[Any],
    *,
    content_type: str = "",
    status: int = 200,
    headers: Headers | None = None,
    step: int | None = None,
    stream: bool = True,
    losses: LossReport | None = None,
) -> list[e.ResponseEvent]:
    """The events of a response: JSON is a whole body, bytes are a stream unless *content_type* says otherwise."""
    if not isinstance(data, bytes):
        data, content_type = msgspec.json.encode(data), content_type or JSON
    head = ResponseHead(status, [("content-type", content_type or SSE), *(headers or [])])
    call = UpstreamCall("POST", "/", [], {}, request(stream=stream))
    parser = DIALECT.response_parser(call, head, Limits(), LossReport() if losses is None else losses)
    step = step or len(data) or 1
    events = [event for i in range(0, len(data), step) for event in parser.feed(data[i : i + step])] + parser.end()
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    assert grammar.state is State.ENDED
    return events


def emitted(
    events: list[e.ResponseEvent],
    *,
    stream: bool = True,
    state: GeminiState | None = None,
    meta: Meta | None = None,
    losses: LossReport | None = None,
) -> tuple[ResponseHead, bytes]:
    """What a client gets for *events*: the head, and the body."""
    upstream = ResponseHead(200, [("content-type", SSE if stream else JSON)])
    report = LossReport() if losses is None else losses
    asked = request(stream=stream, state=state)
    answering = Answering(asked, upstream, meta or Meta(), Env(now=1000.5, request_id="r"), report)
    emitter = DIALECT.response_emitter(answering)
    return emitter.head, b"".join([emitter.emit(event) for event in events])


def messages_of(stream: bytes) -> list[Json]:
    """The messages in a stream of events."""
    return [json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: ")]


def parts_of(message: Json) -> list[Json]:
    found: list[Json] = message["candidates"][0]["content"]["parts"]
    return found


def translation(client: str, upstream: str = NAME, provider: str = "gemini", **route: Any) -> Translation:
    return Translation(client, upstream, route={"provider": provider, "auth": "none", **route}, now=0)


def to_gemini(client: str, body: Json, provider: str = "gemini", **route: Any) -> tuple[Translation, Json]:
    """*body*, a request of dialect *client*, as Gemini gets it."""
    t = translation(client, provider=provider, **route)
    call = t.request(json.dumps(body).encode())
    assert isinstance(call, Call)
    return t, json.loads(call.body)


def from_gemini(
    upstream: str, body: Json, provider: str, *, model: str = "m", path: str = PATH, **route: Any
) -> tuple[Translation, Json]:
    """*body*, a Gemini client's request, as an *upstream* of another dialect gets it."""
    t = translation(NAME, upstream, provider, **route)
    call = t.request(json.dumps(body).encode(), path=path.format(model))
    assert isinstance(call, Call)
    return t, json.loads(call.body)


def reported(t: Translation) -> set[str]:
    return {str(loss) for loss in t.losses}


CHAT, MESSAGES = "openai_chat", "anthropic_messages"
HI: Json = {"role": "user", "content": "hi"}
CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]
NEW, OLD = "gemini-3-pro-preview", "gemini-2.5-flash"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
DECLARED = {"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}


def chat(model: str = NEW, **members: Any) -> tuple[Json, set[str]]:
    t, sent = to_gemini(CHAT, {"model": model, "messages": [HI], **members})
    return sent, reported(t)


CALL = {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}
ASKED: Json = {"role": "user", "parts": [{"text": "hi"}]}


def parse(path: str = PATH.format("m"), **members: Any) -> Request:
    body = {"contents": [ASKED], **members}
    return DIALECT.parse_request(ClientCall("POST", path, [], json.dumps(body).encode()), LossReport())


def blocks(*parts: Json, role: str = "user", before: list[Json] | None = None) -> Any:
    contents = [*(before or []), {"role": role, "parts": list(parts)}]
    return parse(contents=contents).messages[-1].content


PARAMETERS = {"type": "object", "properties": {"a": {"type": "string"}}}


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.sse").read_bytes()
