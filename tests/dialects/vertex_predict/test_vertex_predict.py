from __future__ import annotations

import json

import pytest

from extproc import Call, Translation

ROUTE = {"provider": "vertex-ai", "provider_conf": {"project_id": "p", "region": "r"}, "auth": "none"}
ANSWER = b'{"predictions": [{"embeddings": {"values": [0.5], "statistics": {"token_count": 4}}}]}'
PATH = "/v1/projects/theirs/locations/theirs/publishers/google/models/text-embedding-005:predict"


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
