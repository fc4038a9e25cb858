from __future__ import annotations

from extproc import Call, Translation

ROUTE = {"provider": "cohere", "auth": {"header": {"Authorization": "Bearer k"}}}


BODY = b'{"model": "embed-v4.0", "texts":  ["a"], "input_type": "image", "embedding_types": ["int8"]}'


ANSWER = b'{"id": "x", "embeddings": {"int8": [[1]]}, "meta": {"billed_units": {"input_tokens": 2}}}'


def test_its_own_client_passes() -> None:
    t = Translation(route=ROUTE)
    call = t.request(BODY, path="/v2/embed")
    assert isinstance(call, Call) and (t.client, t.passthrough) == ("cohere_embeddings", True)
    assert (call.path, call.body) == ("/v2/embed", BODY)
    t.response_head(200, [("content-type", "application/json")])
    assert t.response_body(ANSWER, end_of_stream=True) == ANSWER
    assert t.failed is None, "numbers of another kind are the client's affair"
