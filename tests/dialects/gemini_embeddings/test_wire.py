"""Gemini's two requests for vectors by its own clients, which pass with the verb that they chose."""

from __future__ import annotations

import pytest

from extproc import Translation

GEMINI = {"provider": "gemini", "auth": "none"}


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
