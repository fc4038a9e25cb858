"""Exchanges as the admin port tells of them, made by the code that the sidecar runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from extproc import Translation, dialects
from extproc.credentials.masking import mask_of
from extproc.providers import native_to
from extproc.route import compile_route
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.payloads import Payloads
from extproc.telemetry.ring import Ring
from tests.properties.pipeline import goldens

PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini": "/v1beta/models/m:generateContent",
    "bedrock_converse": "/model/m/converse",
}
APIS = tuple(PATHS)
STREAM_PATHS = {
    "gemini": "/v1beta/models/m:streamGenerateContent?alt=sse",
    "bedrock_converse": "/model/m/converse-stream",
}
"""Of the APIs that ask for a stream by the path."""
RECORDED = ("openai_chat", "anthropic_messages", "bedrock_converse")
"""The upstreams of whose streams one is gone through."""
NOW = 1_800_000_000.0
ASKED: dict[str, Any] = {
    "model": "gpt-5.4-mini",
    "max_tokens": 1024,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "top_k": 40,
    "tool_choice": {"type": "any"},
    "tools": [{"name": "f", "description": "what it does", "input_schema": {"type": "object", "properties": {}}}],
    "stream": True,
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "21"}]},
    ],
}
"""A Messages request with something of everything."""
PLAIN: dict[str, dict[str, Any]] = {
    "openai_chat": {"model": "m", "messages": [{"role": "user", "content": "the question"}]},
    "openai_responses": {"model": "m", "input": [{"role": "user", "content": "the question"}]},
    "anthropic_messages": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "the question"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "the question"}]}]},
    "bedrock_converse": {"messages": [{"role": "user", "content": [{"text": "the question"}]}]},
}
"""The least that each API asks."""


def golden(upstream: str) -> bytes:
    """A stream as *upstream* sent it once."""
    return goldens(upstream)[0].read_bytes()


def kept_of(
    client: str,
    upstream: str,
    asked: dict[str, Any],
    answer: Sequence[bytes] = (),
    content_type: str = "application/json",
    *,
    path: str = "",
    status: int = 200,
    ending: Ending = Ending.COMPLETE,
    route: dict[str, Any] | None = None,
) -> tuple[Payloads, tuple[str, ...]]:
    """The bodies and the losses of one that *client* asked of *upstream*, which gave *answer* piece by piece, 10 ms
    each."""
    said = {"provider": native_to(upstream), "auth": "none", "logging": {"payloads": True}, **(route or {})}
    compiled = compile_route([said], environ={})
    path = path or PATHS[client]
    t = Translation(client, upstream, route=compiled, now=NOW, request_id="id-1", clock=lambda: NOW)
    kept = Payloads(64 * 1024, mask_of)
    headers = [("content-type", "application/json")]
    kept.begun(NOW, "POST", path, headers, compiled.said)
    body = json.dumps(asked).encode()
    kept.asked(body)
    kept.sent(t.request(body, "POST", path, headers).body)
    if answer:
        kept.answered(status, [("content-type", content_type)])
        t.response_head(status, [("content-type", content_type)])
        for number, piece in enumerate(answer, 1):
            kept.came(piece, number / 100)
            kept.got(t.response_body(piece), number / 100)
        if ending is Ending.COMPLETE:
            kept.got(t.response_body(b"", end_of_stream=True), (len(answer) + 1) / 100)
    return kept, tuple(map(str, t.losses))


def exchange(
    client: str,
    upstream: str,
    asked: dict[str, Any],
    answer: Sequence[bytes] = (),
    *,
    path: str = "",
    ending: Ending = Ending.COMPLETE,
    **more: Any,
) -> dict[str, Any]:
    """What the admin port tells of such a one."""
    kept, losses = kept_of(client, upstream, asked, answer, path=path, ending=ending, **more)
    ring = Ring(1, 10**9, lambda: NOW, process=1)
    began = Began("translator", NOW, "id-1", "POST", path or PATHS[client], client)
    ring.ended(began, Outcome("translator", ending, client=client, upstream=upstream, losses=losses, payloads=kept))
    one = ring.one(1)
    assert one is not None
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(one()))
    return made


def streamed(client: str, upstream: str, asked: dict[str, Any], answer: Sequence[bytes], **more: Any) -> dict[str, Any]:
    """The same of one that asked for a stream, and got it."""
    if client not in STREAM_PATHS:
        asked = {**asked, "stream": True}
    kind, path = dialects.get(upstream).stream_type, STREAM_PATHS.get(client, "")
    return exchange(client, upstream, asked, answer, content_type=kind, path=path, **more)
