"""Claude on Bedrock and on Vertex, for the tests: how they frame, and who asks them."""

from __future__ import annotations

import base64
import json
from typing import Any

from extproc import Translation
from extproc.framing.eventstream import encode, encode_headers

BEDROCK_STREAM = [("content-type", "application/vnd.amazon.eventstream")]
BODY = {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "m1", "model": "claude", "usage": {"input_tokens": 3}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "h\u00e9"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}},
]


CHAT = {"model": "claude-opus-4-8", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


def framed(kind: str, payload: Any, name: str) -> bytes:
    headers = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    return encode(encode_headers(headers), json.dumps(payload).encode())


def stream_of(*events: Any) -> bytes:
    chunks = [{"bytes": base64.b64encode(json.dumps(event).encode()).decode(), "p": "abcd"} for event in events]
    return b"".join(framed("event", chunk, "chunk") for chunk in chunks)


def translation(client: str, upstream: str, **route: Any) -> Translation:
    provider = {"anthropic_bedrock": "bedrock-anthropic", "anthropic_vertex": "vertex-anthropic"}.get(
        upstream, "openai"
    )
    conf = {"provider_conf": {"project_id": "p", "region": "eu"}} if provider == "vertex-anthropic" else {}
    return Translation(client, upstream, route={"provider": provider, "auth": "none", **conf, **route}, now=0)


def asked(t: Translation, body: Any, path: str = "", **headers: str) -> Any:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return t.request(json.dumps(body).encode(), path=path, headers=pairs)
