"""What the tests of this dialect share: requests there and back, and streams as a client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from extproc import capabilities
from extproc.dialects.base import Answering, ClientCall, Env, Meta, ResponseHead, Undo, Upstream, encode
from extproc.dialects.openai_chat import OpenAIChat
from extproc.dialects.openai_chat.emit_request import ChatCall
from extproc.llm import events as e
from extproc.llm.fold import TextBlock, ThinkingBlock, ToolCallBlock, folded
from extproc.llm.losses import LossReport
from extproc.llm.request import Message, Request, Sampling
from extproc.settings import Limits

DIALECT = OpenAIChat()
GOLDEN = Path(__file__).parents[2] / "golden" / "openai_chat"
HI = [Message("user", "hi", "messages[0]")]
SSE = [("content-type", "text/event-stream")]
JSON = [("content-type", "application/json")]


def parse(body: Any, headers: list[tuple[str, str]] | None = None) -> tuple[Request, list[str]]:
    """A client's body as a Request, and the losses. *body* gets a model and a message when it has none."""
    if isinstance(body, dict):
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | body
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    losses = LossReport()
    request = DIALECT.parse_request(ClientCall("POST", "/v1/chat/completions", headers or [], data), losses)
    return request, [str(loss) for loss in losses]


class Emitted:
    def __init__(self, call: ChatCall, losses: LossReport) -> None:
        self.call = call
        self.body: dict[str, Any] = json.loads(encode(call.members))
        self.losses = [str(loss) for loss in losses]

    @property
    def messages(self) -> Any:
        return self.body["messages"]


def emit(
    model: str = "gpt-4o", *, provider: str = "openai", quirks: dict[str, Any] | None = None, **members: Any
) -> Emitted:
    """A Request with *members* as an upstream that serves *model* gets it."""
    members = {"dialect": "anthropic_messages", "model": model, "messages": HI} | members
    row = capabilities.packaged().find(provider, model, quirks)
    losses = LossReport()
    upstream = Upstream(provider, "/v1/chat/completions", row, model)
    call = DIALECT.emit_request(Request(**members), upstream, losses)
    assert isinstance(call, ChatCall)
    return Emitted(call, losses)


class Upstreams:
    """An upstream's answer, read."""

    def __init__(
        self,
        data: bytes | Iterable[bytes],
        *,
        headers: list[tuple[str, str]] = SSE,
        status: int = 200,
        undo: Undo | None = None,
        sampling: Sampling | None = None,
        think_tags: bool = False,
        by_text: bool = True,
    ) -> None:
        """*by_text*: of a piece that is as one before it the text alone is read."""
        request = Request(dialect="x", model="asked", messages=[], sampling=sampling or Sampling())
        members = {"max_tokens": request.sampling.max_tokens}
        call = ChatCall("POST", "/", [], members, request, undo or Undo(), think_tags)
        self.report = LossReport()
        parser = DIALECT.response_parser(call, ResponseHead(status, headers), Limits(), self.report)
        if not by_text:
            parser._alike._tries = 0
        chunks = [data] if isinstance(data, bytes) else data
        self.live = [event for chunk in chunks for event in parser.feed(chunk)]
        self.events = self.live + parser.end()
        self.folded = folded(self.events)

    @property
    def gist(self) -> list[Any]:
        """Each block as a short tuple."""
        out: list[Any] = []
        for block in self.folded.blocks:
            match block:
                case ToolCallBlock():
                    out.append(("call", block.id, block.name, block.input))
                case ThinkingBlock():
                    seal = [block.signature or block.encrypted] if block.signer else []
                    out.append(("thinking", block.text, *seal))
                case TextBlock():
                    out.append(("refusal" if block.refusal else "text", block.text))
        return out

    @property
    def ended(self) -> e.ResponseEnded:
        assert self.folded.failed is None, self.folded.failed
        assert self.folded.ended is not None
        return self.folded.ended

    @property
    def failed(self) -> e.ResponseFailed:
        assert self.folded.failed is not None
        return self.folded.failed


def read(data: bytes | Iterable[bytes], **options: Any) -> Upstreams:
    return Upstreams(data, **options)


def golden(name: str, **options: Any) -> Upstreams:
    return Upstreams((GOLDEN / f"{name}.sse").read_bytes(), **options)


def whole(
    message: dict[str, Any], finish: str | None = "stop", *, choice: Any = None, options: Any = None, **top: Any
) -> Upstreams:
    body = {
        "id": "c1", "object": "chat.completion", "created": 7, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, **(choice or {})}], **top,
    }  # fmt: skip
    return Upstreams(json.dumps(body).encode(), headers=JSON, **(options or {}))


def chunk(delta: Any = None, finish: Any = None, **top: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta if delta is not None else {}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [choice], **top}


def call_delta(index: int | None = 0, id_: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    item: dict[str, Any] = {} if index is None else {"index": index}
    if id_ is not None:
        item |= {"id": id_, "type": "function"}
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    return {"tool_calls": [item | {"function": function}]}


def stream_of(*items: Any, done: bool = True) -> bytes:
    texts = [item if isinstance(item, str) else "data: " + json.dumps(item) for item in items]
    return b"".join(text.encode() + b"\n\n" for text in [*texts, *(["data: [DONE]"] if done else [])])


class Client:
    """A Chat client: takes events, keeps what it was sent."""

    def __init__(
        self, *, stream: bool = True, env: Env | None = None, meta: Meta | None = None, **members: Any
    ) -> None:
        plain: dict[str, Any] = {"dialect": "openai_chat", "model": "m", "messages": [], "include_usage": False}
        request = Request(stream=stream, **(plain | members))
        self.losses = LossReport()
        env = env or Env(now=100.5, request_id="r-1")
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
    def message(self) -> Any:
        return self.json["choices"][0]["message"]

    @property
    def items(self) -> list[Any]:
        """The stream's data; comments and the end mark are strings."""
        out: list[Any] = []
        for block in self.out.decode().split("\n\n")[:-1]:
            text = block.removeprefix("data: ")
            out.append(json.loads(text) if text.startswith("{") else text)
        return out

    @property
    def deltas(self) -> list[Any]:
        return [item["choices"][0]["delta"] for item in self.items if isinstance(item, dict) and item.get("choices")]

    @property
    def reported(self) -> list[str]:
        return [str(loss) for loss in self.losses]
