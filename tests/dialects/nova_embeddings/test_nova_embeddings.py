from __future__ import annotations

import json

from extproc import Call, Translation

ROUTE = {
    "provider": "bedrock",
    "provider_conf": {"region": "us-east-1"},
    "auth": "none",
    "client": "nova_embeddings",
    "upstream": "nova_embeddings",
}


def test_its_own_client_passes() -> None:
    t = Translation(route=ROUTE)
    body = b'{"taskType":  "SINGLE_EMBEDDING"}'
    call = t.request(body, path="/model/amazon.nova-2-multimodal-embeddings-v1%3A0/invoke")
    assert isinstance(call, Call) and t.passthrough and call.body == body
    t.response_head(200, [("content-type", "application/json")])
    answer = b'{"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5]}], "inputTextTokenCount": 2}'
    assert t.response_body(answer, end_of_stream=True) == answer and t.usage.input_tokens == 2


def test_an_openai_client_gets_its_vectors() -> None:
    t = Translation(route={key: value for key, value in ROUTE.items() if key != "client"})
    asked = {"model": "amazon.nova-2-multimodal-embeddings-v1:0", "input": "a", "dimensions": 256}
    call = t.request(json.dumps(asked).encode(), path="/v1/embeddings")
    assert isinstance(call, Call) and call.path == "/model/amazon.nova-2-multimodal-embeddings-v1%3A0/invoke"
    assert json.loads(call.body)["singleEmbeddingParams"]["embeddingDimension"] == 256
    t.response_head(200, [("content-type", "application/json")])
    out = t.response_body(b'{"embeddings": [{"embedding": [0.5]}]}', end_of_stream=True)
    assert json.loads(out)["data"] == [{"object": "embedding", "index": 0, "embedding": [0.5]}]
