from __future__ import annotations

from typing import Any

import pytest

from extproc import Call, Translation

GEMINI = {"provider": "gemini", "auth": "none"}
VERTEX = {"provider": "vertex-ai", "provider_conf": {"project_id": "p", "region": "r"}, "auth": "none"}


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


OTHER = {**GEMINI, "options": {"model": "gemini-embedding-2"}}


@pytest.mark.parametrize(
    ("verb", "body", "sent"),
    [
        # Where it stands, and nothing else: numbers and spaces stay as they came.
        (
            "batchEmbedContents",
            b'{"requests":[{"model":"models/mine","content":{"parts":  [{"text":"a"}]}},{"content":{"n":1.50}}]}',
            b'{"requests":[{"model":"models/gemini-embedding-2","content":{"parts":  [{"text":"a"}]}},'
            b'{"content":{"n":1.50}}]}',
        ),
        (
            "embedContent",
            b'{"model":"models/mine","content":{"n":1.50}}',
            b'{"model":"models/gemini-embedding-2","content":{"n":1.50}}',
        ),
        ("embedContent", b'{"content": {"n":1.50}}', b'{"content": {"n":1.50}}'),
        ("batchEmbedContents", b'{"requests": [{"content": {}}]}', b'{"requests": [{"content": {}}]}'),
        ("batchEmbedContents", b'{"requests": [7], "model": 7}', b'{"requests": [7], "model": 7}'),
        ("batchEmbedContents", b'{"requests": 7}', b'{"requests": 7}'),
    ],
)
def test_another_model_is_named_wherever_the_request_names_one(verb: str, body: bytes, sent: bytes) -> None:
    call = Translation(route=OTHER).request(body, path=f"/v1beta/models/mine:{verb}")
    assert isinstance(call, Call)
    assert (call.path, call.body) == (f"/v1beta/models/gemini-embedding-2:{verb}", sent)
