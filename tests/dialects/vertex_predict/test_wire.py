"""Vertex AI's ``:predict`` by its own clients, which pass; for others see tests/translation/test_embedded.py."""

from __future__ import annotations

import pytest

from extproc.dialects.vertex_predict import wire
from extproc.llm.failures import ProtocolError

ROUTE = {"provider": "vertex-ai", "provider_conf": {"project_id": "p", "region": "r"}, "auth": "none"}
ANSWER = b'{"predictions": [{"embeddings": {"values": [0.5], "statistics": {"token_count": 4}}}]}'


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"[]", "body"), (b"{}", "predictions"), (b'{"predictions": {}}', "predictions"),
        (b'{"predictions": [1]}', "predictions[0]"), (b'{"predictions": [{}]}', "predictions[0].embeddings"),
        (b'{"predictions": [{"embeddings": {}}]}', "predictions[0].embeddings.values"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_told_by_its_place(body: bytes, path: str) -> None:
    with pytest.raises(ProtocolError) as error:
        wire.read(body)
    assert error.value.path == path


@pytest.mark.parametrize("count", ["-1", '"4"', "1.5", "null", "true"])
def test_counts_that_are_none(count: str) -> None:
    body = ANSWER.replace(b'"token_count": 4', b'"token_count": ' + count.encode())
    assert wire.read(body).input_tokens is None
