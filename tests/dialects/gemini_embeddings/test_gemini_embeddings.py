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
