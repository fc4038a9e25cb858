from __future__ import annotations

import json

import pytest

from extproc import Refused, Translation, dialects
from extproc.dialects.base import Env, Meta, ResponseHead
from extproc.llm.events import ResponseFailed
from extproc.llm.failures import ErrorKind


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
