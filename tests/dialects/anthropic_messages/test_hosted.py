"""Claude on Bedrock and on Vertex: the same API in another envelope, as upstream and as client."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from extproc import Refused, Translation
from extproc.framing.eventstream import EventStreamDecoder, EventStreamMessage, encode, encode_headers

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


@pytest.mark.parametrize("stream", [False, True])
def test_bedrock_gets_the_model_by_its_path(stream: bool) -> None:
    t = translation("anthropic_messages", "anthropic_bedrock")
    body = {"model": "eu.anthropic.claude-opus-4-8-v1:0", "stream": stream, **BODY}
    call = asked(t, body, "/v1/messages", anthropic_version="2023-06-01", anthropic_beta="context-1m-2025-08-07")
    verb = "invoke-with-response-stream" if stream else "invoke"
    assert (call.method, call.path) == ("POST", f"/model/eu.anthropic.claude-opus-4-8-v1%3A0/{verb}")
    assert json.loads(call.body) == {
        "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["context-1m-2025-08-07"],
        **BODY,
    }
    assert not [name for name, _ in call.headers if name.startswith("anthropic-")]


@pytest.mark.parametrize("stream", [False, True])
def test_vertex_keeps_the_stream_in_the_body(stream: bool) -> None:
    t = translation("openai_chat", "anthropic_vertex")
    call = asked(t, CHAT | {"stream": stream, "max_tokens": 9})
    verb = "streamRawPredict" if stream else "rawPredict"
    assert call.path == f"/v1/projects/p/locations/eu/publishers/anthropic/models/claude-opus-4-8:{verb}"
    assert json.loads(call.body) == {"anthropic_version": "vertex-2023-10-16", **BODY} | (
        {"stream": True} if stream else {}
    )


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_stream_of_bedrocks(step: int) -> None:
    t = translation("openai_chat", "anthropic_bedrock")
    asked(t, CHAT | {"stream_options": {"include_usage": True}})
    t.response_head(200, BEDROCK_STREAM)
    data = stream_of(*EVENTS)
    out = b"".join(t.response_body(data[i : i + step]) for i in range(0, len(data), step))
    out += t.response_body(b"", end_of_stream=True)
    assert "h\u00e9".encode() in out and out.endswith(b"data: [DONE]\n\n")
    assert (t.usage.input_tokens, t.usage.output_tokens) == (3, 2)


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_cut_stream_of_bedrocks_is_an_error(cut: int) -> None:
    t = translation("openai_chat", "anthropic_bedrock")
    asked(t, CHAT)
    t.response_head(200, BEDROCK_STREAM)
    out = t.response_body(stream_of(*EVENTS[:cut]) if cut < 5 else stream_of(*EVENTS)[:-30][:200], end_of_stream=True)
    assert b'"error"' in out and b"[DONE]" not in out


def test_an_exception_in_a_stream() -> None:
    t = translation("openai_chat", "anthropic_bedrock")
    asked(t, CHAT)
    t.response_head(200, BEDROCK_STREAM)
    data = stream_of(*EVENTS[:3]) + framed("exception", {"message": "slow down"}, "throttlingException")
    out = t.response_body(data, end_of_stream=True)
    assert b"slow down" in out and t.failed is not None and t.failed.kind.value == "rate_limit"


@pytest.mark.parametrize(
    ("upstream", "headers", "body"),
    [
        ("anthropic_bedrock", [("x-amzn-errortype", "ThrottlingException:x")], {"message": "slow down"}),
        ("anthropic_vertex", [], {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}),
    ],
)
def test_their_errors_become_the_clients_own(upstream: str, headers: Any, body: Any) -> None:
    t = translation("anthropic_messages", upstream)
    asked(t, {"model": "claude-opus-4-8", **BODY}, "/v1/messages")
    t.response_head(429, [("content-type", "application/json"), *headers])
    told = json.loads(t.response_body(json.dumps(body).encode(), end_of_stream=True))
    assert told["error"] == {"type": "rate_limit_error", "message": "slow down"} and t.head.status == 429


def test_a_client_of_bedrocks_form() -> None:
    """Claude Code's Bedrock mode on an upstream of OpenAI's."""
    t = translation("anthropic_bedrock", "openai_chat")
    path = "/model/gpt-4o/invoke-with-response-stream"
    call = asked(t, {"anthropic_version": "bedrock-2023-05-31", **BODY}, path)
    sent = json.loads(call.body)
    assert (sent["model"], sent["stream"], sent["max_completion_tokens"]) == ("gpt-4o", True, 9)
    t.response_head(200, [("content-type", "text/event-stream")])
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
    out = t.response_body(b"data: %s\n\ndata: [DONE]\n\n" % json.dumps(chunk).encode(), end_of_stream=True)
    assert dict(t.head.headers)["content-type"] == "application/vnd.amazon.eventstream"
    events = []
    for message in EventStreamDecoder().feed(out):
        assert isinstance(message, EventStreamMessage) and message.headers[":event-type"] == "chunk"
        events.append(json.loads(base64.b64decode(json.loads(message.payload)["bytes"])))
    assert [event["type"] for event in events] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip


def test_a_client_of_bedrocks_form_is_told_of_errors_in_it() -> None:
    t = translation("anthropic_bedrock", "openai_chat")
    with pytest.raises(Refused) as refused:
        asked(t, {"messages": []}, "/model/gpt-4o/invoke")
    assert dict(refused.value.headers)["x-amzn-errortype"] == "ValidationException"


@pytest.mark.parametrize("upstream", ["anthropic_bedrock", "anthropic_vertex"])
def test_what_only_anthropic_serves(upstream: str) -> None:
    body = {"model": "claude-opus-4-8", "service_tier": "auto", "speed": "fast", **BODY}
    t = translation("anthropic_messages", upstream)
    assert not {"service_tier", "speed"} & set(json.loads(asked(t, body, "/v1/messages").body))
    assert {"service_tier:dropped", "speed:dropped"} <= {str(loss) for loss in t.losses}
    with pytest.raises(Refused, match="mcp_servers"):
        asked(
            translation("anthropic_messages", upstream), body | {"mcp_servers": [{"url": "https://x"}]}, "/v1/messages"
        )
    image = {"type": "image", "source": {"type": "url", "url": "https://h/x.png"}}
    with pytest.raises(Refused, match="base64"):
        said = {"messages": [{"role": "user", "content": [image]}]}
        asked(translation("anthropic_messages", upstream), body | said, "/v1/messages")
