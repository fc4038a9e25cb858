"""Embeddings through Envoy (E4): untouched, with the upstream's credential, and counted."""

from __future__ import annotations

from extproc.demo.provider import json_answer
from tests.support.gateway import CLIENT_KEY, KEYS, Gateway

ANSWER = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.0023, -0.0093]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}


def test_e4_embeddings_pass_and_are_counted(envoy: Gateway) -> None:
    envoy.openai_upstream.will(json_answer(ANSWER))
    body = b'{"input": "The food was delicious",  "model": "gpt-embedding"}'
    reply = envoy.send("/v1/embeddings", body, {"authorization": f"Bearer {CLIENT_KEY}"})
    assert (reply.status, reply.json) == (200, ANSWER)
    seen = envoy.openai_upstream.last
    assert (seen.path, seen.body) == ("/v1/embeddings", body)
    assert seen.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"


def test_an_upstream_without_embeddings_is_refused_in_openais_shape(envoy: Gateway) -> None:
    reply = envoy.send("/v1/embeddings", {"input": "x", "model": "claude-haiku-4-5"})
    assert reply.status == 400
    assert reply.json["error"]["message"].startswith("openai_embeddings requests cannot be translated to")
    assert not envoy.anthropic_upstream.received
