"""Whole exchanges through the library, in a line each: what was sent upstream, what the client was told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from extproc import Translation

from .upstream import chat_chunk

ASKED: dict[str, Any] = {"model": "gpt-4o", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
TOOLS = {
    "anthropic_messages": [{"name": "f", "input_schema": {"type": "object"}}],
    "openai_chat": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
}
SSE = [("content-type", "text/event-stream")]
JSON = [("content-type", "application/json")]
CHAT, MESSAGES = "openai_chat", "anthropic_messages"
USAGE = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}


def asked(client: str, upstream: str, **members: Any) -> tuple[Translation, Any]:
    provider = {CHAT: "openai", MESSAGES: "anthropic"}[upstream]
    t = Translation(client, route={"provider": provider, "auth": "none"}, now=0)
    call = t.request(json.dumps({**ASKED, "tools": TOOLS[client], **members}).encode())
    return t, json.loads(call.body)


def sent(client: str, upstream: str, **members: Any) -> Any:
    return asked(client, upstream, **members)[1]


def streamed(client: str, upstream: str, wire: bytes) -> list[Any]:
    t, _ = asked(client, upstream, stream=True)
    t.response_head(200, SSE)
    out = t.response_body(wire) + t.response_body(b"", end_of_stream=True)
    return [json.loads(line[6:]) if line != b"data: [DONE]" else "[DONE]" for line in data_of(out)]


def data_of(out: bytes) -> Iterator[bytes]:
    return (line for line in out.split(b"\n") if line.startswith(b"data: "))


def whole(client: str, upstream: str, answer: Any, status: int = 200, **members: Any) -> tuple[Translation, Any]:
    t, _ = asked(client, upstream, **members)
    t.response_head(status, JSON)
    return t, json.loads(t.response_body(json.dumps(answer).encode(), end_of_stream=True))


def shape(told: list[Any]) -> list[Any]:
    """A Messages stream in short: the kinds of its events, of a block's with the block's index and kind."""
    short: list[Any] = []
    for event in told:
        kind = event["type"]
        if kind == "content_block_start":
            short.append((event["index"], event["content_block"]["type"]))
        elif kind == "content_block_delta":
            value = next(value for name, value in event["delta"].items() if name != "type")
            short.append((event["index"], value))
        elif kind == "content_block_stop":
            short.append((event["index"], "stop"))
        elif kind != "ping":
            short.append(kind)
    return short


def calls(*parts: tuple[int | None, str | None, str | None, str | None]) -> dict[str, Any]:
    made = []
    for index, id_, name, arguments in parts:
        function = {"name": name, "arguments": arguments}
        part = {"index": index, "id": id_, "function": {k: v for k, v in function.items() if v is not None}}
        made.append({name: value for name, value in part.items() if value is not None})
    return chat_chunk(tool_calls=made)


def usage_chunk(**usage: Any) -> dict[str, Any]:
    return {**chat_chunk(), "choices": [], "usage": {**USAGE, **usage}}


def stop_of(told: list[Any]) -> Any:
    return next(event["delta"]["stop_reason"] for event in told if event["type"] == "message_delta")


def usage_of(told: list[Any]) -> Any:
    return next(event["usage"] for event in told if event["type"] == "message_delta")


def chat_answer(finish: str = "stop", **message_: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message_}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1.5, "model": "m", "choices": [choice]}


def function(arguments: Any, id_: str | None = "call_1") -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "arguments": arguments}, **({"id": id_} if id_ else {})}
