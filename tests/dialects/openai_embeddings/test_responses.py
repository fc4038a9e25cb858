from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.dialects.base import Answering, Env, Meta, ResponseHead
from extproc.llm.events import ResponseEnded, ResponseFailed, ResponseStarted, StopReason
from extproc.llm.failures import ErrorKind
from extproc.llm.losses import LossReport
from extproc.llm.request import Request

from .helpers import ANSWER, DIALECT, JSON, parsed


@pytest.mark.parametrize(
    ("usage", "count"),
    [({"prompt_tokens": 3, "total_tokens": 3}, 3), ({"total_tokens": 4}, 4), ({}, None), (None, None),
     ({"prompt_tokens": -1}, None), ({"prompt_tokens": "3"}, None), ([], None)],
)  # fmt: skip
@pytest.mark.rows("B40")
def test_usage_as_servers_write_it(usage: Any, count: int | None) -> None:
    started, ended = parsed(json.dumps({**ANSWER, "usage": usage}).encode())
    assert isinstance(started, ResponseStarted) and isinstance(ended, ResponseEnded)
    assert (ended.usage.input_tokens, ended.stop) == (count, StopReason.END)


@pytest.mark.parametrize("body", [b"{}", b'{"model": 4}'])
def test_odd_answers_still_end(body: bytes) -> None:
    assert isinstance(parsed(body)[-1], ResponseEnded)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b'{"data": [', b"\xff", b"data: ", b'data: {"model": "m"}\n\n', b"data: [1]\n\n"],
)
def test_what_is_no_answer_fails(body: bytes) -> None:
    (failed,) = parsed(body)
    assert isinstance(failed, ResponseFailed) and failed.kind is ErrorKind.API


def test_an_answer_of_another_api_is_an_error_and_no_vector() -> None:
    request = Request(dialect=DIALECT.name, model="m", messages=[])
    emitter = DIALECT.response_emitter(Answering(request, ResponseHead(200, JSON), Meta(), Env(), LossReport()))
    said = emitter.emit(ResponseStarted("", "m")) + emitter.emit(ResponseEnded(StopReason.END))
    assert emitter.head.status == 502 and b"vectors" in said and emitter.failed is not None
