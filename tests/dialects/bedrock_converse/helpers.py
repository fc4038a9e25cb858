"""What the tests of this dialect share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from extproc import capabilities
from extproc.dialects.base import Answering, ClientCall, Env, Headers, Meta, ResponseHead, Upstream, UpstreamCall
from extproc.dialects.base import encode as to_json
from extproc.dialects.bedrock_converse import BedrockConverse
from extproc.framing.eventstream import EventStreamDecoder, EventStreamMessage, encode, encode_headers
from extproc.llm import events as e
from extproc.llm.grammar import Grammar, State
from extproc.llm.losses import LossReport
from extproc.llm.request import (
    Message,
    Request,
    Tool,
    ToolCall,
    ToolResult,
)
from extproc.llm.request import Message as Turn
from extproc.settings import Limits

Json = dict[str, Any]
DIALECT = BedrockConverse()
GOLDEN = Path(__file__).parents[2] / "golden" / DIALECT.name
STREAM = "application/vnd.amazon.eventstream"


def request(*, stream: bool = True) -> Request:
    return Request(dialect=DIALECT.name, model="asked", messages=[], stream=stream)


HI = [Turn("user", "hi", "messages[0]")]
CLAUDE = "eu.anthropic.claude-opus-4-8-v1:0"
NOVA = "amazon.nova-pro-v1:0"


def read(body: Json, *, model: str = "m", verb: str = "converse") -> tuple[Request, list[str]]:
    """A client's body as a Request, and the losses. *body* gets a message when it has none."""
    body = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]} | body
    losses = LossReport()
    call = ClientCall("POST", f"/model/{model}/{verb}", [], msgspec.json.encode(body))
    return DIALECT.parse_request(call, losses), [str(loss) for loss in losses]


class Written:
    """A Request as an upstream gets it."""

    def __init__(self, call: UpstreamCall, losses: LossReport) -> None:
        self.call = call
        self.body: Json = msgspec.json.decode(to_json(call.members))
        self.losses = [str(loss) for loss in losses]

    @property
    def messages(self) -> Any:
        return self.body["messages"]

    @property
    def more(self) -> Any:
        return self.body.get("additionalModelRequestFields")


def written(model: str = CLAUDE, *, quirks: Json | None = None, **members: Any) -> Written:
    """A Request with *members* as an upstream that serves *model* gets it."""
    members = {"dialect": "openai_chat", "model": model, "messages": HI} | members
    row = capabilities.packaged().find("bedrock", model, quirks)
    losses = LossReport()
    return Written(
        DIALECT.emit_request(Request(**members), Upstream("bedrock", "/model/{model}", row, model), losses), losses
    )


def frame(event: str, payload: Json | bytes, *, message_type: str = "event") -> bytes:
    """One message, as Bedrock would write it."""
    name = ":event-type" if message_type == "event" else f":{message_type}-type"
    headers = {name: event, ":content-type": "application/json", ":message-type": message_type}
    return encode(encode_headers(headers), payload if isinstance(payload, bytes) else msgspec.json.encode(payload))


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
    call = UpstreamCall("POST", "/model/m/converse-stream", [], {}, request())
    report = LossReport() if losses is None else losses
    parser = DIALECT.response_parser(call, head, Limits(), report)
    step = step or len(data) or 1
    events = [event for i in range(0, len(data), step) for event in parser.feed(data[i : i + step])] + parser.end()
    grammar = Grammar()
    for event in events:
        grammar.check(event)
    assert grammar.state is State.ENDED
    return events


def emitted(
    events: list[e.ResponseEvent], *, stream: bool = True, meta: Meta | None = None, losses: LossReport | None = None
) -> tuple[ResponseHead, bytes]:
    """What a client gets for *events*: the head, and the body."""
    upstream = ResponseHead(200, [("content-type", "text/event-stream" if stream else "application/json")])
    report = LossReport() if losses is None else losses
    answering = Answering(request(stream=stream), upstream, meta or Meta(), Env(now=1000.5), report)
    emitter = DIALECT.response_emitter(answering)
    return emitter.head, b"".join([emitter.emit(event) for event in events])


def messages_of(stream: bytes) -> list[tuple[str, Json]]:
    """The messages in a stream: the event's or exception's type, and the payload."""
    found = []
    for message in EventStreamDecoder().feed(stream):
        assert isinstance(message, EventStreamMessage), message
        assert message.headers[":content-type"] == "application/json"
        kind = str(message.headers[":message-type"])
        found.append((str(message.headers[f":{kind}-type"]), msgspec.json.decode(message.payload)))
    return found


F = Tool("f", description="", schema={"properties": {}}, at="tools[0]")


def user(*blocks: Any) -> Any:
    return written(messages=[Message("user", list(blocks), "messages[0]")])


CALLED = [
    *HI,
    Message("assistant", [ToolCall("c:1", "f", "{}", at="messages[1].tool_calls[0]")], "messages[1]"),
    Message("tool", [ToolResult("c:1", "", at="messages[2]")], "messages[2]"),
]


M = "messages[0].content"


def blocks(*values: Any, role: str = "user") -> list[Any]:
    request, losses = read({"messages": [{"role": role, "content": list(values)}]})
    assert losses == []
    content = request.messages[0].content
    assert isinstance(content, list)
    return content
