from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from extproc import dialects
from extproc.dialects.base import Answering, Env, Meta, ResponseHead
from extproc.dialects.shared.emitter import error_status, settled_stop
from extproc.llm import events as e
from extproc.llm.failures import ErrorKind
from extproc.llm.losses import LossReport
from extproc.llm.request import Request

S, K = e.StopReason, ErrorKind
CONVERSING = [name for name, dialect in dialects.REGISTRY.items() if dialect.converses]
ANSWER = [
    e.ResponseStarted("r", "m"), e.TextStarted(0), e.TextDelta(0, "hi"), e.BlockEnded(0), e.ResponseEnded(S.END),
]  # fmt: skip


def emitter(name: str, *, stream: bool, upstream_streams: bool = True) -> Any:
    dialect = dialects.get(name)
    kind = "text/event-stream" if upstream_streams else "application/json"
    request = Request(dialect=name, model="m", messages=[], stream=stream)
    upstream = ResponseHead(200, [("content-type", kind)])
    return dialect.response_emitter(Answering(request, upstream, Meta(), Env(), LossReport()))


@pytest.mark.parametrize("name", CONVERSING)
def test_a_client_that_wants_no_stream_gets_one_body_at_the_end(name: str) -> None:
    made = emitter(name, stream=False)
    *before, last = [made.emit(event) for event in ANSWER]
    assert not any(before) and b"hi" in last
    json.loads(last)
    assert made.head.header("content-type") == "application/json" and not made.head.header("cache-control")


@pytest.mark.parametrize("name", CONVERSING)
def test_a_client_that_wants_a_stream_gets_text_as_it_comes(name: str) -> None:
    made = emitter(name, stream=True)
    said = [made.emit(event) for event in ANSWER]
    # Bedrock's events stand in base64.
    assert b"hi" in said[2] or b"hi" in base64.b64decode(json.loads(said[2][said[2].index(b"{") :][:-4])["bytes"])
    assert made.head.header("cache-control") == "no-cache"
    assert made.head.header("content-type") == dialects.get(name).stream_type


@pytest.mark.parametrize("name", CONVERSING)
@pytest.mark.parametrize("stream", [True, False])
def test_an_error_before_the_head_went_out_has_its_status(name: str, stream: bool) -> None:
    made = emitter(name, stream=stream, upstream_streams=False)
    body = made.emit(e.ResponseFailed(K.RATE_LIMIT, "slow", retry_after="7"))
    assert made.head.status == 429 and b"slow" in body
    assert made.head.header("retry-after") == "7"


@pytest.mark.parametrize("name", CONVERSING)
def test_an_error_behind_the_head_is_said_in_the_stream(name: str) -> None:
    made = emitter(name, stream=True)
    for event in ANSWER[:3]:
        made.emit(event)
    assert b"slow" in made.emit(e.ResponseFailed(K.RATE_LIMIT, "slow")) and made.head.status == 200


@pytest.mark.parametrize(
    ("stop", "calls", "settled"),
    [
        (S.END, True, S.TOOL_CALL),
        (S.OTHER, True, S.TOOL_CALL),
        (S.TOOL_CALL, False, S.END),
        (S.TOOL_CALL, True, S.TOOL_CALL),
        (S.MAX_TOKENS, True, S.MAX_TOKENS),  # the call may be cut off
        (S.REFUSAL, True, S.REFUSAL),
        (S.END, False, S.END),
    ],
)
def test_the_stop_agrees_with_what_the_response_holds(stop: e.StopReason, calls: bool, settled: e.StopReason) -> None:
    assert settled_stop(stop, calls) is settled


@pytest.mark.parametrize(
    ("kind", "status", "answered"),
    [
        (K.OVERLOADED, None, 529),
        (K.OVERLOADED, 503, 529),
        (K.OVERLOADED, 500, 500),
        (K.RATE_LIMIT, None, 429),
        (K.RATE_LIMIT, 200, 429),
        (K.API, None, 502),
        (K.API, 504, 504),
    ],
)
def test_the_status_of_an_error(kind: ErrorKind, status: int | None, answered: int) -> None:
    assert error_status(e.ResponseFailed(kind, "m", status), 529) == answered
