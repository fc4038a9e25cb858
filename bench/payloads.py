"""What is asked and what is answered, as prebuilt bytes, in the two APIs that meet here.

The mock provider is told what to answer by the model's name: it survives every gateway and every translation.
``gpt-whole``: a whole answer; ``gpt-burst-200``: 200 events at once; ``gpt-paced-500x50``: 500 events, 50 a second;
``gpt-broken``: status 500. ``claude-...`` likewise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
TOKEN = b" token"
"""Every text delta of every stream begins so, in either API: the first one is the time to first token."""
DIFFERENT = 16
"""Distinct text deltas, used in turn."""
KEYS = {"OPENAI_API_KEY": "key-of-openai", "ANTHROPIC_API_KEY": "key-of-anthropic"}


@dataclass(frozen=True)
class Direction:
    """A client's API and the upstream's."""

    name: str
    client: str
    upstream: str
    prefix: str
    """Of the models that the upstream serves."""

    @property
    def host(self) -> str:
        """The upstream's name in deploy/envoy.yaml."""
        return "api.openai.com" if self.upstream == CHAT else "api.anthropic.com"


TO_OPENAI = Direction("Anthropic client, OpenAI upstream", MESSAGES, CHAT, "gpt")
TO_ANTHROPIC = Direction("OpenAI client, Anthropic upstream", CHAT, MESSAGES, "claude")


def dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# ---- requests

_TEXT = (
    "You are a careful assistant for people who run gateways. Answer in short sentences, name what you do not know, "
    "and never invent a flag or a file. When a question has two readings, answer the likelier one and say so. "
)


def chat(api: str, model: str, stream: bool = False) -> bytes:
    """A chat of 1 KB."""
    turns = [
        {"role": "user", "content": "How do I see which cluster Envoy chose for a request?"},
        {"role": "assistant", "content": "Log %UPSTREAM_CLUSTER_RAW% in the access log of the listener."},
        {"role": "user", "content": "And which endpoint of it? Please also tell how I see that it was a retry. " * 6},
    ]
    if api == MESSAGES:
        body = {"model": model, "max_tokens": 1024, "temperature": 0.5, "system": _TEXT, "messages": turns}
    else:
        system = {"role": "system", "content": _TEXT}
        body = {"model": model, "max_completion_tokens": 1024, "temperature": 0.5, "messages": [system, *turns]}
    return dumps({**body, "stream": True} if stream else body)


def agent(model: str) -> bytes:
    """An agent's request to Messages: 60 messages, 20 tools, about 78 KB."""
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string", "description": "x" * 60} for n in range(8)}}
    tools = [{"name": f"tool_{n}", "description": "y" * 300, "input_schema": schema} for n in range(20)]
    messages: list[dict[str, Any]] = []
    for n in range(20):
        use = {"type": "tool_use", "id": f"toolu_{n}", "name": f"tool_{n}", "input": {"p0": "z" * 200}}
        result = {"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": "w" * 1720}
        messages += [
            {"role": "user", "content": "q" * 200},
            {"role": "assistant", "content": [{"type": "text", "text": "t" * 200}, use]},
            {"role": "user", "content": [result]},
        ]
    return dumps({"model": model, "max_tokens": 1000, "system": "s" * 3000, "tools": tools, "messages": messages})


LARGE = 20_000_000
"""Base64 characters of the largest image that is sent."""


def image(model: str, size: int = 2_000_000) -> bytes:
    """A request to Messages with an image of *size* base64 characters."""
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo" + "A" * (size // 4 * 4 - 11)}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    return dumps({"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": content}]})


# ---- answers

_SAID = "Log %UPSTREAM_HOST% beside it, and %UPSTREAM_REQUEST_ATTEMPT_COUNT%: above 1 it was a retry. " * 3


def whole(api: str) -> bytes:
    """A whole answer, of 0.5 to 1 KB."""
    if api == MESSAGES:
        usage = {"input_tokens": 250, "cache_read_input_tokens": 0, "output_tokens": 60, "service_tier": "standard"}
        return dumps(
            {
                "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
                "type": "message",
                "role": "assistant",
                "model": "claude-sonnet-4-5",
                "content": [{"type": "text", "text": _SAID}],
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "usage": usage,
            }
        )
    message: dict[str, Any] = {"role": "assistant", "content": _SAID, "refusal": None, "annotations": []}
    return dumps(
        {
            **_CHAT_HEAD,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": _CHAT_USAGE,
            "service_tier": "default",
        }
    )


_CHAT_HEAD = {
    "id": "chatcmpl-BxK2pQv7mN4sT9wYzA1cD3eF5gH6j",
    "object": "chat.completion.chunk",
    "created": 1790000000,
    "model": "gpt-5.2-2026-01-15",
    "service_tier": "default",
    "system_fingerprint": "fp_44709d6fcb",
}
_CHAT_USAGE = {
    "prompt_tokens": 250,
    "completion_tokens": 60,
    "total_tokens": 310,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}


def stream(api: str, events: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """A stream of *events* text deltas: the events before them, they, the events after them."""
    words = [f"{TOKEN.decode()}{n % DIFFERENT}" for n in range(events)]
    if api == MESSAGES:
        return _messages_stream(words)
    return _chat_stream(words)


def _chat_stream(words: list[str]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return b"data: " + dumps({**_CHAT_HEAD, "choices": [choice], "usage": None}) + b"\n\n"

    usage = b"data: " + dumps({**_CHAT_HEAD, "choices": [], "usage": _CHAT_USAGE}) + b"\n\n"
    before = [chunk({"role": "assistant", "content": "", "refusal": None})]
    return before, [chunk({"content": word}) for word in words], [chunk({}, "stop"), usage, b"data: [DONE]\n\n"]


def _messages_stream(words: list[str]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    def event(kind: str, **members: Any) -> bytes:
        return f"event: {kind}\ndata: ".encode() + dumps({"type": kind, **members}) + b"\n\n"

    message = {**json.loads(whole(MESSAGES)), "content": [], "stop_reason": None}
    before = [
        event("message_start", message=message),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    ]
    deltas = [event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in words]
    after = [
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 60}),
        event("message_stop"),
    ]
    return before, deltas, after


def complete(api: str, stream: bool) -> bytes:
    """What an answer that is whole contains, in the client's *api*."""
    if api == MESSAGES:
        return b"event: message_stop" if stream else b'"end_turn"'
    return b"data: [DONE]" if stream else b'"finish_reason":"stop"'
