from __future__ import annotations

import msgspec
import pytest

from extproc.dialects.base import Env, Headers, Meta, ResponseHead
from extproc.llm.events import ResponseFailed
from extproc.llm.failures import ErrorKind

from .helpers import DIALECT, Json, parsed

K = ErrorKind


@pytest.mark.parametrize(
    ("failed", "status", "error"),
    [
        (ResponseFailed(K.INVALID_REQUEST, "no", 400, "invalid_value", "input[0]", ours=True), 400,
         {"type": "invalid_request_error", "param": "input[0]", "code": "invalid_value"}),
        (ResponseFailed(K.INVALID_REQUEST, "prompt is too long: 3 > 2", 400), 400,
         {"type": "invalid_request_error", "param": "input", "code": "context_length_exceeded"}),
        (ResponseFailed(K.AUTHENTICATION, "no", 401), 401,
         {"type": "authentication_error", "param": None, "code": "invalid_api_key"}),
        (ResponseFailed(K.NOT_FOUND, "model: x", 404), 404,
         {"type": "invalid_request_error", "param": None, "code": "model_not_found"}),
        (ResponseFailed(K.NOT_FOUND, "no such page", 404), 404,
         {"type": "not_found_error", "param": None, "code": None}),
        (ResponseFailed(K.RATE_LIMIT, "slow", 429), 429,
         {"type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}),
        (ResponseFailed(K.OVERLOADED, "busy", 529), 503,
         {"type": "overloaded_error", "param": None, "code": "overloaded_error"}),
        (ResponseFailed(K.API, "oops", 500), 500, {"type": "api_error", "param": None, "code": None}),
        (ResponseFailed(K.API, "oops", None, "upstream_error"), 502,
         {"type": "server_error", "param": None, "code": "upstream_error"}),
    ],
)  # fmt: skip
def test_emit(failed: ResponseFailed, status: int, error: Json) -> None:
    head, body = DIALECT.emit_error(failed, Meta(request_id="q"))
    assert head.status == status
    assert head.headers == [("content-type", "application/json"), ("x-request-id", "q")]
    assert msgspec.json.decode(body) == {"error": {"message": failed.message, **error}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": {"message": "no", "type": "invalid_request_error", "param": "input", "code": "x"}},
         ResponseFailed(K.INVALID_REQUEST, "no", 400, "x", "input")),
        (429, {"error": {"message": "slow", "type": "requests"}}, ResponseFailed(K.RATE_LIMIT, "slow", 429)),
        (422, {"detail": [{"loc": ["body", "input"], "msg": "missing"}]},
         ResponseFailed(K.INVALID_REQUEST, "body.input: missing", 422)),
        (503, {"error": "busy"}, ResponseFailed(K.OVERLOADED, "busy", 503)),
        (200, {"error": {"message": "no", "type": "server_error"}}, ResponseFailed(K.API, "no", 200)),
    ],
)  # fmt: skip
def test_read(status: int, body: Json, expected: ResponseFailed) -> None:
    assert parsed(body, status=status) == [expected]


def test_read_what_is_no_json() -> None:
    assert parsed(b"<html>", status=502, content_type="text/html") == [
        ResponseFailed(K.API, "upstream returned HTTP 502 (text/html)", 502, "upstream_error")
    ]


def test_meta() -> None:
    headers: Headers = [
        ("x-request-id", "req_1"), ("retry-after-ms", "1500"), ("x-ratelimit-limit-tokens", "100"),
        ("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0s"),
        ("x-ratelimit-reset-tokens", "soon"),
    ]  # fmt: skip
    assert DIALECT.read_meta(ResponseHead(429, headers), Env(now=1000.0)) == Meta(
        request_id="req_1",
        retry_after_ms="1500",
        limits={"requests-remaining": "0", "tokens-limit": "100"},
        resets={"requests": 1360.0},
    )
