from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.dialects.anthropic_messages.meta import write_meta
from extproc.dialects.base import Env, Meta, ResponseHead
from extproc.llm.events import ResponseFailed
from extproc.llm.failures import ErrorKind

from .helpers import DIALECT

NOON = 1_800_014_400.0


def error(failed: ResponseFailed, meta: Meta | None = None) -> tuple[int, dict[str, str], Any]:
    head, body = DIALECT.emit_error(failed, meta or Meta())
    return head.status, dict(head.headers), json.loads(body)


@pytest.mark.parametrize(
    ("failed", "status", "type_", "message"),
    [
        (ResponseFailed(ErrorKind.RATE_LIMIT, "slow", 429), 429, "rate_limit_error", "slow"),
        (ResponseFailed(ErrorKind.OVERLOADED, "full", 503), 529, "overloaded_error", "full"),
        (ResponseFailed(ErrorKind.OVERLOADED, "full", 529), 529, "overloaded_error", "full"),
        (ResponseFailed(ErrorKind.OVERLOADED, "full"), 529, "overloaded_error", "full"),
        (ResponseFailed(ErrorKind.AUTHENTICATION, "no", 401), 401, "authentication_error", "no"),
        (ResponseFailed(ErrorKind.BILLING, "no", 402), 402, "billing_error", "no"),
        (ResponseFailed(ErrorKind.PERMISSION, "no", 403), 403, "permission_error", "no"),
        (ResponseFailed(ErrorKind.NOT_FOUND, "no", 404), 404, "not_found_error", "no"),
        (ResponseFailed(ErrorKind.CONFLICT, "no", 409), 409, "conflict_error", "no"),
        (ResponseFailed(ErrorKind.TOO_LARGE, "no", 413), 413, "request_too_large", "no"),
        (ResponseFailed(ErrorKind.TIMEOUT, "no", 504), 504, "timeout_error", "no"),
        (ResponseFailed(ErrorKind.INVALID_REQUEST, "no", 422), 422, "invalid_request_error", "no"),
        (ResponseFailed(ErrorKind.API, "no", 500), 500, "api_error", "no"),
        (ResponseFailed(ErrorKind.API, "no"), 502, "api_error", "no"),
        (ResponseFailed(ErrorKind.INVALID_REQUEST, "too much", 400, "context_length_exceeded"), 400,
         "invalid_request_error", "prompt is too long: too much"),
        (ResponseFailed(ErrorKind.INVALID_REQUEST, "This model's maximum context length is 8 tokens", 400), 400,
         "invalid_request_error", "prompt is too long: This model's maximum context length is 8 tokens"),
        (ResponseFailed(ErrorKind.INVALID_REQUEST, "prompt is too long: 9 > 8", 400, "context_length_exceeded"), 400,
         "invalid_request_error", "prompt is too long: 9 > 8"),
    ],
)  # fmt: skip
def test_errors(failed: ResponseFailed, status: int, type_: str, message: str) -> None:
    expected = {"type": "error", "error": {"type": type_, "message": message}}
    assert error(failed) == (status, {"content-type": "application/json"}, expected)


@pytest.mark.parametrize(
    ("param", "message", "sent"),
    [
        (
            "messages[0].content[1]",
            "messages[0].content[1]: expected a string",
            "messages.0.content.1: expected a string",
        ),
        (
            "messages[0].content[1]",
            "audio input is not supported",
            "messages.0.content.1: audio input is not supported",
        ),
        ("tools[0]", "tools[0] cannot be carried", "tools.0 cannot be carried"),
        ("mcp_servers", "mcp_servers is not supported for this model", "mcp_servers is not supported for this model"),
        ("n", "no way", "n: no way"),
    ],
)
def test_our_own_errors_begin_with_the_path(param: str, message: str, sent: str) -> None:
    failed = ResponseFailed(ErrorKind.INVALID_REQUEST, message, 400, "invalid_value", param, ours=True)
    assert error(failed)[2]["error"]["message"] == sent
    theirs = ResponseFailed(ErrorKind.INVALID_REQUEST, message, 400, None, param)
    assert error(theirs)[2]["error"]["message"] == message


def test_an_error_with_its_headers() -> None:
    _, headers, body = error(ResponseFailed(ErrorKind.RATE_LIMIT, "slow", 429), Meta("r1", None, "1500", "true"))
    assert headers == {
        "content-type": "application/json", "request-id": "r1", "retry-after": "2", "retry-after-ms": "1500",
        "x-should-retry": "true",
    }  # fmt: skip
    assert body["request_id"] == "r1"


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (Meta(), []),
        (Meta(retry_after="7"), [("retry-after", "7")]),
        (Meta(retry_after="7", retry_after_ms="100"), [("retry-after", "7"), ("retry-after-ms", "100")]),
        (Meta(retry_after_ms="1"), [("retry-after", "1"), ("retry-after-ms", "1")]),
        (Meta(retry_after_ms="2000.5"), [("retry-after", "2"), ("retry-after-ms", "2000.5")]),
        (Meta(retry_after_ms="soon"), [("retry-after-ms", "soon")]),
        (Meta(limits={"requests-limit": "5", "tokens-remaining": "9"}, resets={"requests": NOON}),
         [("anthropic-ratelimit-requests-limit", "5"), ("anthropic-ratelimit-tokens-remaining", "9"),
          ("anthropic-ratelimit-requests-reset", "2027-01-15T12:00:00Z")]),
        (Meta(resets={"requests": 1e30}), []),
    ],
)  # fmt: skip
def test_writing(meta: Meta, expected: list[tuple[str, str]]) -> None:
    assert write_meta(meta) == expected


def test_reading() -> None:
    headers = [
        ("request-id", "req_1"), ("retry-after", "7"), ("x-should-retry", "false"),
        ("anthropic-ratelimit-requests-limit", "50"), ("anthropic-ratelimit-requests-remaining", "49"),
        ("anthropic-ratelimit-requests-reset", "2027-01-15T12:00:00Z"),
        ("anthropic-ratelimit-tokens-reset", "soon"),
        ("anthropic-ratelimit-input-tokens-remaining", "1"), ("anthropic-organization-id", "o"),
    ]  # fmt: skip
    meta = DIALECT.read_meta(ResponseHead(200, headers), Env())
    assert meta == Meta(
        "req_1", "7", None, "false", {"requests-limit": "50", "requests-remaining": "49"}, {"requests": NOON}
    )
    assert DIALECT.read_meta(ResponseHead(200, write_meta(meta)), Env()) == meta


@pytest.mark.parametrize("reset", ["2027-01-15T13:00:00+01:00", "2027-01-15T12:00:00", "2027-01-15T12:00:00.000Z"])
def test_instants(reset: str) -> None:
    head = ResponseHead(200, [("anthropic-ratelimit-requests-reset", reset)])
    assert DIALECT.read_meta(head, Env()).resets == {"requests": NOON}
