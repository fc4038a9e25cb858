"""What the tests of this dialect share: requests there and back, and streams as a client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from extproc import capabilities
from extproc.dialects.anthropic_messages import AnthropicMessages
from extproc.dialects.base import Answering, ClientCall, Env, Meta, ResponseHead, Undo, Upstream, UpstreamCall, encode
from extproc.llm import events as e
from extproc.llm.losses import LossReport
from extproc.llm.request import Message, Request
from extproc.settings import Limits

DIALECT = AnthropicMessages()
HI = [Message("user", "hi", "messages[0]")]
SSE = [("content-type", "text/event-stream")]
JSON = [("content-type", "application/json")]


def parse(body: Any, headers: list[tuple[str, str]] | None = None) -> tuple[Request, list[str]]:
    """A client's body as a Request, and the losses. *body* gets a model, a limit and a message when it has none."""
    if isinstance(body, dict):
        body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]} | body
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    losses = LossReport()
    request = DIALECT.parse_request(ClientCall("POST", "/v1/messages", headers or [], data), losses)
    return request, [str(loss) for loss in losses]


class Emitted:
    def __init__(self, call: UpstreamCall, losses: LossReport) -> None:
        self.call = call
        self.body: dict[str, Any] = json.loads(encode(call.members))
        self.losses = [str(loss) for loss in losses]
        self.report = losses

    @property
    def messages(self) -> Any:
        return self.body["messages"]

    def header(self, name: str) -> str | None:
        return dict(self.call.headers).get(name)


def emit(model: str = "claude-sonnet-4-5", *, quirks: dict[str, Any] | None = None, **members: Any) -> Emitted:
    """A Request with *members* as an upstream that serves *model* gets it."""
    members = {"dialect": "openai_chat", "model": model, "messages": HI} | members
    row = capabilities.packaged().find("anthropic", model, quirks)
    losses = LossReport()
    upstream = Upstream("anthropic", "/v1/messages", row, model)
    return Emitted(DIALECT.emit_request(Request(**members), upstream, losses), losses)


def parser_of(
    headers: list[tuple[str, str]] = SSE, status: int = 200, undo: Undo | None = None, losses: LossReport | None = None
) -> Any:
    request = Request(dialect="x", model="m", messages=[])
    call = UpstreamCall("POST", "/", [], {}, request, undo or Undo())
    report = LossReport() if losses is None else losses
    return DIALECT.response_parser(call, ResponseHead(status, headers), Limits(), report)


def read(
    data: bytes | Iterable[bytes],
    *,
    headers: list[tuple[str, str]] = SSE,
    status: int = 200,
    undo: Undo | None = None,
    losses: LossReport | None = None,
) -> list[e.ResponseEvent]:
    """An upstream's answer as events."""
    parser = parser_of(headers, status, undo, losses)
    chunks = [data] if isinstance(data, bytes) else data
    events: list[e.ResponseEvent] = [event for chunk in chunks for event in parser.feed(chunk)]
    events += parser.end()
    return events


def stream_of(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (str(x["type"]).encode(), json.dumps(x).encode()) for x in events)


class Client:
    """A Messages client: takes events, keeps what it was sent."""

    def __init__(
        self, *, stream: bool = True, env: Env | None = None, meta: Meta | None = None, **members: Any
    ) -> None:
        given: dict[str, Any] = {"dialect": "anthropic_messages", "model": "m", "messages": [], "stream": stream}
        request = Request(**given | members)
        self.losses = LossReport()
        env = env or Env(request_id="r-1")
        self.emitter = DIALECT.response_emitter(
            Answering(request, ResponseHead(200, SSE), meta or Meta(), env, self.losses)
        )
        self.out = b""

    def get(self, *events: e.ResponseEvent) -> Client:
        for event in events:
            self.out += self.emitter.emit(event)
        return self

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def events(self) -> list[Any]:
        """The stream's events; comments are strings."""
        out: list[Any] = []
        for block in self.out.decode().split("\n\n")[:-1]:
            lines = block.split("\n")
            if lines[0].startswith(":"):
                out.append(lines[0])
                continue
            name, data = lines
            body = json.loads(data.removeprefix("data: "))
            assert name == f"event: {body['type']}"
            out.append(body)
        return out

    @property
    def reported(self) -> list[str]:
        return [str(loss) for loss in self.losses]
