"""Gemini's two requests for vectors by its own clients, which pass with the verb that they chose."""

from __future__ import annotations

from typing import Any

import pytest

from extproc import Call, Translation

VERTEX = {"provider": "vertex-ai", "provider_conf": {"project_id": "p", "region": "r"}, "auth": "none"}
GEMINI = {"provider": "gemini", "auth": "none"}
ON_VERTEX = "/v1beta1/projects/p/locations/r/publishers/google/models/gemini-embedding-2"


@pytest.mark.parametrize(
    ("route", "path", "sent"),
    [
        (GEMINI, "/v1beta/models/gemini-embedding-001:embedContent", None),
        (GEMINI, "/v1beta/models/gemini-embedding-001:batchEmbedContents", None),
        (VERTEX, f"{ON_VERTEX}:embedContent", f"{ON_VERTEX.replace('beta1', '')}:embedContent"),
        (VERTEX, f"{ON_VERTEX}:batchEmbedContents", f"{ON_VERTEX.replace('beta1', '')}:batchEmbedContents"),
    ],
)
def test_its_own_client_passes(route: dict[str, Any], path: str, sent: str | None) -> None:
    t = Translation(route=route)
    body = b'{"content": {"parts":  [{"text": "a"}]}}'
    call = t.request(body, path=path)
    assert isinstance(call, Call) and (t.client, t.passthrough) == ("gemini_embeddings", True)
    assert (call.path, call.body) == (sent or path, body)


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (b'{"embedding": {"values": [1]}, "usageMetadata": {"promptTokenCount": 3}}', 3),
        (b'{"embeddings": [{"values": [1]}]}', None),
        (b'{"embeddings": [{"values": [1]}], "usageMetadata": 4}', None),
        (b"{}", None),
    ],
)
def test_its_answer_passes_and_is_counted(answer: bytes, count: int | None) -> None:
    t = Translation(route=GEMINI)
    t.request(b"{}", path="/v1beta/models/gemini-embedding-001:batchEmbedContents")
    t.response_head(200, [("content-type", "application/json")])
    assert t.response_body(answer[:9]) + t.response_body(answer[9:], end_of_stream=True) == answer
    assert (t.usage.input_tokens, t.streamed, t.failed) == (count, False, None)
