"""Cohere's own clients, which pass, and its errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Call, Refused, Translation, dialects
from extproc.dialects.base import Env, Meta, ResponseHead
from extproc.dialects.cohere_embeddings import wire
from extproc.llm.events import ResponseFailed
from extproc.llm.failures import ErrorKind

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


def test_its_error_shape() -> None:
    dialect = dialects.get("cohere_embeddings")
    failed = ResponseFailed(ErrorKind.INVALID_REQUEST, "is missing", 400, param="texts", ours=True)
    head, body = dialect.emit_error(failed, Meta("id", "3"))
    assert (head.status, json.loads(body)) == (400, {"message": "texts: is missing"})
    assert {"x-debug-trace-id": "id", "retry-after": "3"}.items() <= dict(head.headers).items()
    assert dialect.read_meta(ResponseHead(429, [("retry-after", "3")]), Env()) == Meta(retry_after="3")
    with pytest.raises(Refused) as refused:
        Translation(route={"provider": "openai", "auth": "none"}).request(b'{"texts": ["a"]}', path="/v2/embed")
    assert set(json.loads(refused.value.body)) == {"message"}


@pytest.mark.parametrize(
    ("meta", "count"),
    [
        ({"billed_units": {"input_tokens": 3}}, 3), ({"billed_units": {"input_tokens": 3.0}}, 3),
        ({"billed_units": {"input_tokens": -1}}, None), ({"billed_units": None}, None), ([], None), (None, None),
    ],
)  # fmt: skip
def test_counts(meta: Any, count: int | None) -> None:
    body = json.dumps({"embeddings": {"float": [[0.5]]}, "meta": meta}).encode()
    assert wire.read(ResponseHead(200), body).input_tokens == count
