"""What holds for the parser of every dialect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc import dialects
from extproc.dialects.base import ResponseHead, Undo, UpstreamCall
from extproc.llm import events as e
from extproc.llm.failures import ErrorKind
from extproc.llm.losses import LossReport
from extproc.llm.request import Request
from extproc.settings import Limits

GOLDEN = Path(__file__).parents[2] / "golden"
CONVERSING = [name for name, dialect in dialects.REGISTRY.items() if dialect.converses]
STREAMS = {
    "openai_chat": "openai_chat/text.sse",
    "anthropic_messages": "anthropic_messages/text.sse",
    "openai_responses": "openai_responses/text.sse",
    "gemini": "gemini/text.sse",
}
SSE, JSON = "text/event-stream", "application/json"


def parsed(
    name: str, *pieces: bytes, kind: str = SSE, status: int = 200, undo: Undo | None = None, **limits: int
) -> list[Any]:
    request = Request(dialect=name, model="m", messages=[], stream=True)
    call = UpstreamCall("POST", "/", [], {}, request, undo or Undo())
    head = ResponseHead(status, [("content-type", kind)])
    parser = dialects.get(name).response_parser(call, head, Limits(**limits), LossReport())
    found = [event for piece in pieces for event in parser.feed(piece)]
    return found + parser.end() + parser.end()


def one_failure(events: list[Any]) -> e.ResponseFailed:
    ends = [event for event in events if isinstance(event, e.ResponseEnded | e.ResponseFailed)]
    (failed,) = ends
    assert isinstance(failed, e.ResponseFailed) and events[-1] is failed
    return failed


@pytest.mark.parametrize("name", CONVERSING)
@pytest.mark.parametrize("kind", ["text/html", JSON, "application/octet-stream", "text/plain"])
def test_an_answer_that_is_no_json_is_a_failure_of_the_upstreams(name: str, kind: str) -> None:
    failed = one_failure(parsed(name, b"<html>no", b" gateway</html>", kind=kind))
    assert (failed.kind, failed.code) in ((ErrorKind.API, "upstream_error"), (ErrorKind.API, "stream_truncated"))
    assert ("no gateway" in failed.message) == (kind == "text/plain")


@pytest.mark.parametrize("name", CONVERSING)
def test_nothing_at_all_is_an_end_that_came_too_soon(name: str) -> None:
    stream = dialects.get(name).stream_type
    assert one_failure(parsed(name, kind=stream)).code in ("stream_truncated", "upstream_error")
    assert one_failure(parsed(name, b"", b"", kind=JSON)).kind is ErrorKind.API


@pytest.mark.parametrize("name", CONVERSING)
@pytest.mark.parametrize("step", [1, 5, 1000])
def test_an_error_by_its_status_however_it_is_cut(name: str, step: int) -> None:
    body = b'\xef\xbb\xbf{"error": {"message": "slow down", "type": "x"}}'
    pieces = [body[i : i + step] for i in range(0, len(body), step)]
    failed = one_failure(parsed(name, *pieces, kind=JSON, status=429))
    assert (failed.kind, failed.message, failed.status) == (ErrorKind.RATE_LIMIT, "slow down", 429)


@pytest.mark.parametrize("name", CONVERSING)
def test_a_body_beyond_the_bound_fails_once(name: str) -> None:
    pieces = [b'{"x": "' + b"x" * 600, b"x" * 600, b'"}']
    one_failure(parsed(name, *pieces, kind=JSON, max_response_bytes=1000))


@pytest.mark.parametrize("name", STREAMS)
def test_an_event_beyond_the_bound_fails_after_what_came_before_it(name: str) -> None:
    whole = (GOLDEN / STREAMS[name]).read_bytes()
    failed = one_failure(parsed(name, whole[:300] + b"\n\ndata: " + b"x" * 9000, max_event_bytes=4096))
    assert failed.code == "upstream_error"


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_under_the_name_of_json_is_read_as_what_it_is(name: str) -> None:
    whole = (GOLDEN / STREAMS[name]).read_bytes()
    assert parsed(name, whole, kind=JSON)[-1] == parsed(name, whole)[-1]
    assert isinstance(parsed(name, whole)[-1], e.ResponseEnded)


@pytest.mark.parametrize("name", STREAMS)
def test_what_only_keeps_alive_changes_nothing(name: str) -> None:
    whole = (GOLDEN / STREAMS[name]).read_bytes()
    events, alive = parsed(name, whole), parsed(name, b": hi\n\ndata: ping\n\n" + whole)
    assert [event for event in alive if not isinstance(event, e.KeepAlive)] == [
        event for event in events if not isinstance(event, e.KeepAlive)
    ]


def test_what_was_done_to_tools_is_undone() -> None:
    undo = Undo({"a_b": "a.b"}, frozenset({"a.b"}))
    wire = (
        b'data: {"id":"r","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function",'
        b'"function":{"name":"a_b","arguments":"{\\"input\\": \\"ls \\\\n\\"}"}}]}}]}\n\n'
        b'data: {"id":"r","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n'
    )
    for step in (1, len(wire)):
        events = parsed("openai_chat", *(wire[i : i + step] for i in range(0, len(wire), step)), undo=undo)
        (started,) = [event for event in events if isinstance(event, e.ToolCallStarted)]
        assert (started.name, started.kind) == ("a.b", "custom")
        assert "".join(event.fragment for event in events if isinstance(event, e.ToolInputDelta)) == "ls \n"


def test_a_fence_goes_only_where_an_instruction_asked_for_json() -> None:
    wire = (
        b'data: {"id":"r","choices":[{"index":0,"delta":{"content":"```json\\n{}\\n```"},"finish_reason":"stop"}]}\n\n'
        b"data: [DONE]\n\n"
    )

    def text(undo: Undo) -> str:
        events = parsed("openai_chat", wire, undo=undo)
        return "".join(event.text for event in events if isinstance(event, e.TextDelta))

    assert text(Undo(fences=True)) == "{}" and text(Undo()) == "```json\n{}\n```"
