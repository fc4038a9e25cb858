"""Vertex AI's ``:predict`` by its own clients, which pass; for others see tests/translation/test_embedded.py."""

from __future__ import annotations

import json

import pytest

from extproc import Call, Translation
from extproc.dialects.vertex_predict import wire
from extproc.llm.failures import ProtocolError

ROUTE = {"provider": "vertex-ai", "provider_conf": {"project_id": "p", "region": "r"}, "auth": "none"}
PATH = "/v1/projects/theirs/locations/theirs/publishers/google/models/text-embedding-005:predict"
ANSWER = b'{"predictions": [{"embeddings": {"values": [0.5], "statistics": {"token_count": 4}}}]}'


@pytest.mark.rows("B5")
def test_its_own_client_passes_and_is_counted() -> None:
    t = Translation(route=ROUTE)
    body = b'{"instances":  [{"content": "a"}]}'
    call = t.request(body, path=PATH)
    assert isinstance(call, Call) and (t.client, t.passthrough) == ("vertex_predict", True)
    assert (call.path, call.body) == (PATH.replace("theirs", "p", 1).replace("theirs", "r"), body)
    t.response_head(200, [("content-type", "application/json")])
    assert t.response_body(ANSWER, end_of_stream=True) == ANSWER
    assert (t.usage.input_tokens, t.streamed, t.model) == (4, False, "text-embedding-005")


def test_the_route_may_name_another_model() -> None:
    t = Translation(route={**ROUTE, "options": {"model": "text-multilingual-embedding-002"}})
    call = t.request(b'{"instances": []}', path=PATH)
    assert isinstance(call, Call) and call.path.endswith("/text-multilingual-embedding-002:predict")


def test_errors_are_googles() -> None:
    t = Translation(route=ROUTE)
    t.request(b'{"instances": []}', path=PATH)
    t.response_head(500, [("content-type", "text/plain")])
    assert json.loads(t.response_body(b"oops", end_of_stream=True))["error"]["status"] == "INTERNAL"


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
