from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from extproc import dialects
from extproc.dialects.base import Env, ResponseHead, UpstreamCall
from extproc.llm import events as e
from extproc.llm.failures import ErrorKind
from extproc.llm.losses import LossReport
from extproc.llm.request import Request
from extproc.settings import Limits
from extproc.translation.response import Broken, Passed, Translated

CHAT, MESSAGES = dialects.get("openai_chat"), dialects.get("anthropic_messages")
JSON, SSE = ("content-type", "application/json"), ("content-type", "text/event-stream")
REPORT = [("x-llm-translation", "top_k:dropped")]
WHOLE = json.dumps(
    {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
).encode()  # fmt: skip
PIECE = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
END = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def call(*, stream: bool) -> UpstreamCall:
    asked = Request(dialect="anthropic_messages", model="m", messages=[], stream=stream)
    return UpstreamCall("POST", "/", [], {}, asked)


def translated(
    *headers: tuple[str, str], stream: bool = False, status: int = 200, noted: list[Any] | None = None
) -> Translated:
    head, note = ResponseHead(status, list(headers)), (noted if noted is not None else []).append
    return Translated(MESSAGES, CHAT, call(stream=stream), head, Env(), Limits(), LossReport(), REPORT, note)


def passed(*headers: tuple[str, str], status: int = 200, noted: list[Any] | None = None, **options: Any) -> Passed:
    head, note = ResponseHead(status, list(headers)), (noted if noted is not None else []).append
    return Passed(CHAT, call(stream=False), head, Env(), Limits(), LossReport(), REPORT, note, **options)


def fed(response: Any, data: bytes, step: int) -> bytes:
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    return b"".join(response.feed(piece, False) for piece in pieces) + bytes(response.feed(b"", True))


@pytest.mark.parametrize("step", [1, 9, 10_000])
@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_a_whole_answer_is_final_only_at_its_end(step: int, encoding: str | None) -> None:
    packed = gzip.compress(WHOLE) if encoding == "gzip" else zlib.compress(WHOLE) if encoding else WHOLE
    made = translated(JSON, *([("content-encoding", encoding)] if encoding else []))
    assert made.whole
    body = json.loads(fed(made, packed, step))
    assert (body["type"], body["content"][0]["text"]) == ("message", "hi")
    head = made.head()
    assert head.status == 200 and ("x-llm-translation", "top_k:dropped") in head.headers
    assert not head.header("content-encoding")


@pytest.mark.parametrize("step", [1, 9, 10_000])
def test_a_stream_goes_on_as_it_comes(step: int) -> None:
    made = translated(SSE, stream=True)
    assert not made.whole
    assert b'"hi"' in made.feed(PIECE, False), "the end is not waited for"
    assert fed(made, END, step).endswith(b'data: {"type":"message_stop"}\n\n')


@pytest.mark.parametrize("stream", [True, False])
def test_what_cannot_be_inflated_is_an_error_once(stream: bool) -> None:
    noted: list[Any] = []
    made = translated(SSE if stream else JSON, ("content-encoding", "gzip"), stream=stream, noted=noted)
    out = made.feed(b"no gzip at all", False) + made.feed(b"more of it", False) + made.feed(b"", True)
    assert out.count(b'"error"') >= 1 and out.count(b"upstream") <= 2
    assert [type(event) for event in noted] == [e.ResponseFailed]
    assert stream or made.head().status == 502


def test_after_an_abort_nothing_more_is_told() -> None:
    made = translated(SSE, stream=True)
    made.feed(PIECE, False)
    cut = made.abort(e.ResponseFailed(ErrorKind.API, "cut", 502), False)
    assert b"cut" in cut and made.feed(PIECE, False) == b"" and made.feed(b"", True) == b""


@pytest.mark.parametrize("step", [1, 9, 10_000])
@pytest.mark.parametrize(("headers", "data"), [(JSON, WHOLE), (SSE, PIECE + END), (("content-type", "x/y"), b"\xff\0")])
def test_what_passes_keeps_its_bytes(headers: tuple[str, str], data: bytes, step: int) -> None:
    noted: list[Any] = []
    assert fed(passed(headers, noted=noted), data, step) == data
    assert (b"usage" not in data) or any(isinstance(event, e.ResponseEnded) for event in noted)


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate, gzip"])
@pytest.mark.parametrize("kind", [JSON, SSE])
def test_what_is_compressed_passes_as_it_is(kind: tuple[str, str], encoding: str) -> None:
    made = passed(kind, ("content-encoding", encoding))
    assert fed(made, b"\x0b\x02\x80{}\x03", 2) == b"\x0b\x02\x80{}\x03"
    assert made.head().header("content-encoding") == encoding


def test_a_stream_that_is_cut_gets_its_dialects_own_error() -> None:
    made = passed(SSE)
    assert made.feed(PIECE, False) == PIECE
    end = made.feed(b"data: {", True)
    assert end.startswith(b"data: {\n\n") and b'"error"' in end, "what was cut may not swallow it"
    assert passed(SSE, watch=False).feed(PIECE, True) == PIECE


@pytest.mark.parametrize(("body", "kept"), [(b'{"error": {"message": "no"}}', True), (b"<html>", False), (b"", False)])
def test_an_error_that_is_no_json_is_replaced(body: bytes, kept: bool) -> None:
    made = passed(JSON if kept else ("content-type", "text/html"), status=503)
    assert made.whole
    out = fed(made, body, 3)
    assert (out == body) is kept and "error" in json.loads(out)
    assert made.head().status == 503


def test_a_response_that_cannot_be_read_is_the_error_alone() -> None:
    noted: list[Any] = []
    failed = e.ResponseFailed(ErrorKind.API, "br cannot be read", 502, "upstream_error")
    made = Broken(MESSAGES, failed, noted.append)
    assert made.feed(b"x", False) == b"" and b"br cannot be read" in made.feed(b"", True)
    assert (made.head().status, noted) == (502, [failed])
    assert made.abort(failed, True) == made.feed(b"", True)
