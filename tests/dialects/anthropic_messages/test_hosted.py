"""Claude on Bedrock and on Vertex: the same API in another envelope, as upstream and as client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Refused

from .clouds import BODY, CHAT, asked, translation


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
    said = {"type": "text", "text": "?"}
    image = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    with pytest.raises(Refused, match="base64"):
        asked(
            translation("anthropic_messages", upstream),
            body | {"messages": [{"role": "user", "content": [image, said]}]},
            "/v1/messages",
        )
    # An address stays in the history: refusing it would end the conversation.
    image = {"type": "image", "source": {"type": "url", "url": "https://h/x.png"}}
    t = translation("anthropic_messages", upstream)
    made = asked(t, body | {"messages": [{"role": "user", "content": [image, said]}]}, "/v1/messages")
    left_out = {"type": "text", "text": "[image omitted: the model cannot open https://h/x.png]"}
    assert json.loads(made.body)["messages"][0]["content"] == [left_out, said]
    assert "messages[0].content[0]:dropped" in map(str, t.losses)
