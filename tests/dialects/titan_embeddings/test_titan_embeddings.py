from __future__ import annotations

import json

from extproc import Call, Translation

ROUTE = {
    "provider": "bedrock",
    "provider_conf": {"region": "us-east-1"},
    "auth": "none",
    "client": "titan_embeddings",
    "upstream": "titan_embeddings",
}


def test_its_own_client_passes() -> None:
    t = Translation(route=ROUTE)
    body = b'{"inputText":  "a"}'
    call = t.request(body, path="/model/amazon.titan-embed-text-v2%3A0/invoke")
    assert isinstance(call, Call) and t.passthrough
    assert (call.path, call.body) == ("/model/amazon.titan-embed-text-v2%3A0/invoke", body)
    t.response_head(200, [("content-type", "application/json")])
    answer = b'{"embedding": [0.5], "inputTextTokenCount": 2}'
    assert t.response_body(answer, end_of_stream=True) == answer
    assert (t.usage.input_tokens, t.model) == (2, "amazon.titan-embed-text-v2:0")


def test_errors_are_bedrocks() -> None:
    t = Translation(route=ROUTE)
    t.request(b"{}", path="/model/m/invoke")
    t.response_head(503, [("content-type", "text/html")])
    assert "message" in json.loads(t.response_body(b"<html>", end_of_stream=True))
    assert dict(t.head.headers)["x-amzn-errortype"] == "ServiceUnavailableException"
