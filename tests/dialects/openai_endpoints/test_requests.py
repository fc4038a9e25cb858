"""The model of a request, wherever it is named, and replaced without another byte."""

from __future__ import annotations

import pytest

from extproc.dialects.base import ClientCall
from extproc.dialects.openai_endpoints.requests import may_name_model, model_of, renamed
from extproc.llm.failures import ProtocolError

from .test_forms import FILE, form, named

JSON, FORM = "application/json", "multipart/form-data; boundary=BOUND"
SOUND = form(FILE, (named(b"model"), b"whisper-1"))


def call(path: str, content_type: str = "", body: bytes = b"", method: str = "POST") -> ClientCall:
    return ClientCall(method, path, [("content-type", content_type)] if content_type else [], body)


@pytest.mark.parametrize(
    ("asked", "may"),
    [
        (call("/v1/images/edits", FORM), True), (call("/v1/images/generations", f"{JSON}; charset=utf-8"), True),
        (call("/v1/images/generations"), True), (call("/v1/audio/transcriptions", "audio/wav"), False),
        (call("/v1/files", FORM), False), (call("/v1/images/generations", JSON, method="GET"), False),
    ],
)  # fmt: skip
def test_whose_body_may_name_one(asked: ClientCall, may: bool) -> None:
    assert may_name_model(asked) is may


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        (call("/v1/images/generations", JSON, b'{"model": "m"}'), "m"),
        (call("/v1/images/generations", JSON, b'{"model": 4}'), ""),
        (call("/v1/images/generations", JSON), ""),
        (call("/v1/audio/transcriptions", FORM, SOUND), "whisper-1"),
        (call("/v1/realtime?a=b&model=x%2Fy"), "x/y"),
        (call("/v1/files", FORM, SOUND), ""),
    ],
)
def test_which_it_is(asked: ClientCall, model: str) -> None:
    assert model_of(asked) == model


def test_it_is_replaced_and_nothing_else() -> None:
    assert renamed(call("/v1/audio/transcriptions", FORM, SOUND), "m").body == SOUND.replace(b"whisper-1", b"m")
    assert renamed(call("/v1/images/generations", JSON, b'{"model":"a","n":1.0}'), "m").body == b'{"model":"m","n":1.0}'
    assert renamed(call("/v1/realtime?model=a&b=c"), "m n").path == "/v1/realtime?model=m%20n&b=c"
    kept = call("/v1/files", FORM, SOUND)
    assert renamed(kept, "m") is kept


@pytest.mark.parametrize(
    "asked",
    [call("/v1/images/generations", JSON, b"["), call("/v1/audio/transcriptions", FORM, b"--BOUND\r\n")],
)
def test_a_body_that_cannot_be_read(asked: ClientCall) -> None:
    for reads in (model_of, lambda broken: renamed(broken, "m")):
        with pytest.raises(ProtocolError):
            reads(asked)


def test_a_name_that_would_break_a_form() -> None:
    with pytest.raises(ProtocolError, match="line break"):
        renamed(call("/v1/audio/transcriptions", FORM, SOUND), "a\r\nb")
