from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.dialects.base import Env, Meta, ResponseHead
from extproc.dialects.shared.openai import duration, read_meta, seconds, write_meta
from extproc.llm.events import ResponseFailed
from extproc.llm.failures import ErrorKind

from .helpers import DIALECT

K = ErrorKind


@pytest.mark.parametrize(
    ("failed", "status", "type_", "code", "param"),
    [
        (ResponseFailed(K.INVALID_REQUEST, "x", 400), 400, "invalid_request_error", None, None),
        (ResponseFailed(K.INVALID_REQUEST, "x", 422), 422, "invalid_request_error", None, None),
        (
            ResponseFailed(K.INVALID_REQUEST, "prompt is too long: 9 > 8", 400),
            400,
            "invalid_request_error",
            "context_length_exceeded",
            "messages",
        ),
        (ResponseFailed(K.AUTHENTICATION, "x", 401), 401, "authentication_error", "invalid_api_key", None),
        (ResponseFailed(K.BILLING, "x", 402), 402, "billing_error", "billing_error", None),
        (ResponseFailed(K.PERMISSION, "x", 403), 403, "permission_error", None, None),
        (ResponseFailed(K.NOT_FOUND, "x", 404), 404, "not_found_error", None, None),
        (ResponseFailed(K.NOT_FOUND, "model: x", 404), 404, "invalid_request_error", "model_not_found", None),
        (ResponseFailed(K.CONFLICT, "x", 409), 409, "conflict_error", None, None),
        (ResponseFailed(K.TOO_LARGE, "x", 413), 413, "request_too_large", None, None),
        (ResponseFailed(K.RATE_LIMIT, "x", 429), 429, "rate_limit_error", "rate_limit_exceeded", None),
        (ResponseFailed(K.API, "x", 500), 500, "api_error", None, None),
        (ResponseFailed(K.API, "x", 502, "upstream_error"), 502, "server_error", "upstream_error", None),
        (ResponseFailed(K.API, "x"), 502, "server_error", None, None),
        (ResponseFailed(K.TIMEOUT, "x", 504), 504, "timeout_error", None, None),
        (ResponseFailed(K.OVERLOADED, "x", 529), 503, "overloaded_error", "overloaded_error", None),
        (ResponseFailed(K.OVERLOADED, "x", 503), 503, "overloaded_error", "overloaded_error", None),
        (
            ResponseFailed(K.INVALID_REQUEST, "n must be 1", 400, "unsupported_value", "n", ours=True),
            400,
            "invalid_request_error",
            "unsupported_value",
            "n",
        ),
    ],
)
def test_errors(failed: ResponseFailed, status: int, type_: str, code: str | None, param: str | None) -> None:
    head, body = DIALECT.emit_error(failed, Meta("req_1", "7"))
    assert head.status == status
    assert set(head.headers) == {("content-type", "application/json"), ("x-request-id", "req_1"), ("retry-after", "7")}
    assert json.loads(body) == {"error": {"message": failed.message, "type": type_, "param": param, "code": code}}


def test_headers_there_and_back() -> None:
    headers = [
        ("x-request-id", "r"), ("retry-after", "2"), ("retry-after-ms", "1500"), ("x-should-retry", "true"),
        ("x-ratelimit-limit-requests", "60"), ("x-ratelimit-remaining-requests", "59"),
        ("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-requests", "6m0s"),
        ("x-ratelimit-reset-tokens", "1h0m5s"),
    ]  # fmt: skip
    meta = read_meta(ResponseHead(200, headers), Env(now=1000))
    assert meta.resets == {"requests": 1360, "tokens": 4605}
    assert meta.limits == {"requests-limit": "60", "requests-remaining": "59", "tokens-remaining": "0"}
    assert set(write_meta(meta, 1000)) == set(headers)
    assert not any("reset" in name for name, _ in write_meta(meta))
    assert write_meta(read_meta(ResponseHead(200, []), Env()), 0) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6m0s", 360), ("1s", 1), ("120ms", 0.12), ("1d2h3m4.5s", 93784.5), ("17", 17), ("0.5", 0.5), ("1m500ms", 60.5),
        ("", None), ("soon", None), ("1795238400000", None), ("-3", None), ("nan", None),
    ],
)  # fmt: skip
def test_durations_read(text: str, value: Any) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(("after", "text"), [(360, "6m0s"), (0.4, "0s"), (-9, "0s"), (59.6, "1m0s"), (3605, "1h0m5s")])
def test_durations_written(after: float, text: str) -> None:
    assert duration(after) == text
