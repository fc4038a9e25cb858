from __future__ import annotations

import msgspec
import pytest

from extproc.dialects.base import Env, Meta, ResponseHead
from extproc.llm.events import ResponseFailed
from extproc.llm.failures import ErrorKind
from extproc.llm.losses import LossReport

from ..bedrock_converse.helpers import DIALECT, Json, parsed

K = ErrorKind


@pytest.mark.parametrize(
    ("status", "name", "body", "expected"),
    [
        (400, "ValidationException:http://internal.amazon.com/coral/", {"message": "no"},
         ResponseFailed(K.INVALID_REQUEST, "no", 400)),
        (400, "ValidationException", {"message": "Input is too long for requested model."},
         ResponseFailed(K.INVALID_REQUEST, "Input is too long for requested model.", 400, "context_length_exceeded")),
        (400, "ServiceQuotaExceededException", {"message": "no"}, ResponseFailed(K.RATE_LIMIT, "no", 429)),
        (403, "AccessDeniedException", {"Message": "no"}, ResponseFailed(K.PERMISSION, "no", 403)),
        (404, "ResourceNotFoundException", {"message": "no"}, ResponseFailed(K.NOT_FOUND, "no", 404)),
        (408, "ModelTimeoutException", {"message": "no"}, ResponseFailed(K.TIMEOUT, "no", 408)),
        (424, "ModelErrorException", {"message": "no"}, ResponseFailed(K.API, "no", 502)),
        (429, "ThrottlingException", {"message": "no"}, ResponseFailed(K.RATE_LIMIT, "no", 429)),
        (429, "ModelNotReadyException", {"message": "no"}, ResponseFailed(K.RATE_LIMIT, "no", 429)),
        (500, "InternalServerException", {"message": "no"}, ResponseFailed(K.API, "no", 500)),
        (503, "ServiceUnavailableException", {"message": "no"}, ResponseFailed(K.OVERLOADED, "no", 503)),
        (418, "NewException", {"message": "no"}, ResponseFailed(K.INVALID_REQUEST, "no", 418)),
        (429, "", {"__type": "com.amazon.coral#ThrottlingException", "message": "no"},
         ResponseFailed(K.RATE_LIMIT, "no", 429)),
        (403, "", {}, ResponseFailed(K.PERMISSION, "upstream returned HTTP 403", 403)),
    ],
)  # fmt: skip
def test_read(status: int, name: str, body: Json, expected: ResponseFailed) -> None:
    headers = [("x-amzn-errortype", name)] if name else []
    assert parsed(body, status=status, headers=headers) == [expected]


@pytest.mark.parametrize(
    ("failed", "status", "name", "message"),
    [
        (ResponseFailed(K.INVALID_REQUEST, "no", 400, "x", "messages[0]", ours=True), 400, "ValidationException",
         "messages[0]: no"),
        (ResponseFailed(K.INVALID_REQUEST, "messages[0]: no", 400, "x", "messages[0]", ours=True), 400,
         "ValidationException", "messages[0]: no"),
        (ResponseFailed(K.INVALID_REQUEST, "no", 400, "x", "messages[0]"), 400, "ValidationException", "no"),
        (ResponseFailed(K.AUTHENTICATION, "no", 401), 401, "AccessDeniedException", "no"),
        (ResponseFailed(K.NOT_FOUND, "no", 404), 404, "ResourceNotFoundException", "no"),
        (ResponseFailed(K.RATE_LIMIT, "no"), 429, "ThrottlingException", "no"),
        (ResponseFailed(K.TIMEOUT, "no"), 504, "ModelTimeoutException", "no"),
        (ResponseFailed(K.OVERLOADED, "no", 529), 503, "ServiceUnavailableException", "no"),
        (ResponseFailed(K.API, "no"), 502, "InternalServerException", "no"),
    ],
)  # fmt: skip
def test_emit(failed: ResponseFailed, status: int, name: str, message: str) -> None:
    head, body = DIALECT.emit_error(failed, Meta(request_id="q", retry_after="3"))
    assert head.status == status
    assert head.headers == [
        ("content-type", "application/json"), ("x-amzn-errortype", name), ("x-amzn-requestid", "q"),
        ("retry-after", "3"),
    ]  # fmt: skip
    assert msgspec.json.decode(body) == {"message": message}


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_has_a_name(kind: ErrorKind) -> None:
    head, _ = DIALECT.emit_error(ResponseFailed(kind, "no"), Meta())
    assert head.header("x-amzn-errortype").endswith("Exception")


def test_meta() -> None:
    head = ResponseHead(200, [("x-amzn-requestid", "q"), ("retry-after", "3")])
    assert DIALECT.read_meta(head, Env()) == Meta(request_id="q", retry_after="3")


def test_a_body_alone_does_not_tell() -> None:
    assert DIALECT.claims({"messages": [], "inferenceConfig": {}}) is False
    assert DIALECT.mend(b"{}", LossReport()) == b"{}"
