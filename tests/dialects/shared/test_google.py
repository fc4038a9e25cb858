from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.dialects.base import Meta
from extproc.dialects.shared.google import emit_error, error_body
from extproc.llm.events import ResponseFailed
from extproc.llm.failures import ErrorKind
from extproc.llm.fold import folded
from tests.dialects.gemini.helpers import DIALECT, JSON, Json, parsed

K = ErrorKind
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
FIELD = {"fieldViolations": [{"field": "contents[0].parts", "description": "x"}]}
TABLE: list[tuple[str, int, ErrorKind]] = [
    ("INVALID_ARGUMENT", 400, K.INVALID_REQUEST), ("UNAUTHENTICATED", 401, K.AUTHENTICATION),
    ("PERMISSION_DENIED", 403, K.PERMISSION), ("NOT_FOUND", 404, K.NOT_FOUND), ("ABORTED", 409, K.CONFLICT),
    ("RESOURCE_EXHAUSTED", 429, K.RATE_LIMIT), ("INTERNAL", 500, K.API), ("UNAVAILABLE", 503, K.OVERLOADED),
    ("DEADLINE_EXCEEDED", 504, K.TIMEOUT),
]  # fmt: skip


def error(status: str, code: int = 400, message: str = "m", *details: Json) -> Json:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def failed(body: Any, status: int) -> ResponseFailed:
    found = folded(parsed(json.dumps(body).encode(), status=status, content_type=JSON)).failed
    assert found is not None
    return found


@pytest.mark.parametrize(("name", "status", "kind"), TABLE)
def test_both_ways_and_in_a_stream(name: str, status: int, kind: ErrorKind) -> None:
    body = error(name, status)
    for shape in (body, [body]):
        read = failed(shape, status)
        assert (read.kind, read.status, read.message, read.code) == (kind, status, "m", name)
    stream = b"data: " + json.dumps(body).encode() + b"\n\n"
    read = next(e for e in parsed(stream) if isinstance(e, ResponseFailed))
    assert (read.kind, read.status) == (kind, None)
    head, written = emit_error(ResponseFailed(kind, "m"), Meta())
    assert (head.status, json.loads(written)["error"]["status"]) == (502 if kind is K.API else status, name)
    assert error_body(ResponseFailed(kind, "m"))["error"]["status"] == name


@pytest.mark.parametrize(
    ("body", "status", "kind", "code"),
    [
        (error("INVALID_ARGUMENT", 400, "API key not valid.", BAD_KEY), 400, K.AUTHENTICATION, "INVALID_ARGUMENT"),
        (error("INVALID_ARGUMENT", 400, "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
         400, K.INVALID_REQUEST, "context_length_exceeded"),
        (error("INTERNAL", 500, "Unable to submit request because the input token count is 9 but model only supports up"
               " to 8."), 500, K.INVALID_REQUEST, "context_length_exceeded"),
        (error("FAILED_PRECONDITION"), 400, K.INVALID_REQUEST, "FAILED_PRECONDITION"),
        ({"error": "text"}, 500, K.API, None),
    ],
)  # fmt: skip
def test_what_is_said_beside_the_status(body: Json, status: int, kind: ErrorKind, code: str | None) -> None:
    read = failed(body, status)
    assert (read.kind, read.code) == (kind, code)


def test_details_are_read_and_written() -> None:
    read = failed(error("RESOURCE_EXHAUSTED", 429, "m", RETRY, FIELD), 429)
    assert (read.retry_after, read.param) == ("35", "contents[0].parts")
    wrong = ResponseFailed(K.INVALID_REQUEST, "is missing", 400, param="contents", ours=True)
    head, body = emit_error(wrong, Meta(retry_after="7", request_id="r"))
    assert ("retry-after", "7") in head.headers and ("x-goog-request-id", "r") in head.headers
    said = json.loads(body)["error"]
    assert said["message"] == "contents: is missing"
    assert [detail["@type"].rpartition(".")[2] for detail in said["details"]] == ["BadRequest", "RetryInfo"]
    assert said["details"][0]["fieldViolations"] == [{"field": "contents", "description": "is missing"}]


@pytest.mark.parametrize("details", [None, [], [3], [{"retryDelay": 3}], [{"retryDelay": "soon"}], {"a": 1}])
def test_details_that_say_nothing(details: Any) -> None:
    read = failed({"error": {"message": "m", "details": details}}, 429)
    assert (read.kind, read.retry_after, read.param) == (K.RATE_LIMIT, None, None)


def test_what_the_head_says() -> None:
    from extproc.dialects.base import Env, ResponseHead

    head = ResponseHead(429, [("retry-after", "3"), ("x-goog-request-id", "q")])
    assert DIALECT.read_meta(head, Env()) == Meta(request_id="q", retry_after="3")
