from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.base import Undo
from extproc.llm import events as e
from extproc.llm import marker
from extproc.llm.events import StopReason, Usage
from extproc.llm.failures import ErrorKind
from extproc.llm.losses import LossReport

from .helpers import JSON, parser_of, read, stream_of

CLAUDE = "anthropic-claude-v1"


def start(**usage: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": usage}  # fmt: skip
    return {"type": "message_start", "message": message}


def block(index: int | None, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(index: int | None, kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **members}}


def ended(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def message_delta(
    reason: str | None = "end_turn", *, delta: dict[str, Any] | None = None, **usage: Any
) -> dict[str, Any]:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None, **(delta or {})},
        "usage": usage,
    }


STOP = {"type": "message_stop"}
PING = {"type": "ping"}
TEXT = {"type": "text", "text": ""}
STARTED = e.ResponseStarted("msg_1", "claude")


def between(*events: dict[str, Any]) -> list[e.ResponseEvent]:
    """What *events* within an otherwise plain stream are."""
    first, *rest = read(stream_of(start(), *events, message_delta(), STOP))
    assert first == STARTED
    assert isinstance(rest[-1], e.ResponseEnded)
    return rest[:-1]


def test_a_plain_stream() -> None:
    got = read(
        stream_of(
            start(input_tokens=10, cache_read_input_tokens=4, output_tokens=1),
            block(0, **TEXT),
            PING,
            delta(0, "text_delta", text="Hi"),
            delta(0, "text_delta", text=""),
            delta(0, "text_delta", text="!"),
            ended(0),
            message_delta("stop_sequence", delta={"stop_sequence": "END"}, output_tokens=5,
                          output_tokens_details={"thinking_tokens": 2}),
            STOP,
        )
    )  # fmt: skip
    assert got == [
        e.ResponseStarted("msg_1", "claude", Usage(14, 1, 4)),
        e.TextStarted(0),
        e.KeepAlive(),
        e.TextDelta(0, "Hi"),
        e.TextDelta(0, "!"),
        e.BlockEnded(0),
        e.ResponseEnded(StopReason.STOP_SEQUENCE, Usage(14, 5, 4, None, 2), "END", "stop_sequence"),
    ]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            [block(0, type="thinking", thinking="", signature=""), delta(0, "thinking_delta", thinking="why"),
             delta(0, "signature_delta", signature="SIG"), ended(0)],
            [e.ThinkingStarted(0), e.ThinkingDelta(0, "why"), e.ThinkingSealed(0, "SIG", signer=CLAUDE),
             e.BlockEnded(0)],
        ),
        (
            [block(0, type="thinking", thinking="", signature=""),
             delta(0, "signature_delta", signature=marker.mark("")), ended(0)],
            [e.ThinkingStarted(0), e.ThinkingSealed(0, marker.mark(""), signer=marker.SIGNER), e.BlockEnded(0)],
        ),
        (
            [block(0, type="redacted_thinking", data="RED"), ended(0)],
            [e.ThinkingStarted(0), e.ThinkingSealed(0, encrypted="RED", signer=CLAUDE), e.BlockEnded(0)],
        ),
        (
            [block(0, type="tool_use", id="t", name="f", input={}), delta(0, "input_json_delta", partial_json=""),
             delta(0, "input_json_delta", partial_json='{"a"'), delta(0, "input_json_delta", partial_json=":1}"),
             ended(0)],
            [e.ToolCallStarted(0, "t", "f"), e.ToolInputDelta(0, '{"a"'), e.ToolInputDelta(0, ":1}"), e.BlockEnded(0)],
        ),
        (
            [block(0, type="tool_use", id="t", name="f", input={}), ended(0)],
            [e.ToolCallStarted(0, "t", "f"), e.ToolInputDelta(0, "{}"), e.BlockEnded(0)],
        ),
        (
            [block(0, type="tool_use", id="t", name="f", input={"é": 1}), ended(0)],
            [e.ToolCallStarted(0, "t", "f"), e.ToolInputDelta(0, '{"é":1}'), e.BlockEnded(0)],
        ),
        (
            [block(0, type="tool_use", id="t", name="f", input={"a": 1}),
             delta(0, "input_json_delta", partial_json='{"a":1}'), ended(0)],
            [e.ToolCallStarted(0, "t", "f"), e.ToolInputDelta(0, '{"a":1}'), e.BlockEnded(0)],
        ),
        (
            [block(0, type="text", text="Hi", citations=[{"type": "char_location", "document_title": "D"}]), ended(0)],
            [e.TextStarted(0), e.TextDelta(0, "Hi"),
             e.CitationAdded(0, e.Citation("char_location", "anthropic_messages", "", "D",
                                           native={"type": "char_location", "document_title": "D"})), e.BlockEnded(0)],
        ),
        (
            [block(0, type="server_tool_use", id="s", name="web_search", input={}),
             delta(0, "input_json_delta", partial_json="{}"), ended(0)],
            [e.OpaqueStarted(0, "anthropic_messages", {"type": "server_tool_use", "id": "s", "name": "web_search",
                                                       "input": {}}),
             e.OpaqueDelta(0, {"type": "input_json_delta", "partial_json": "{}"}), e.BlockEnded(0)],
        ),
        ([{"type": "shiny_new"}, {"x": 1}, {"type": None}], []),
        ([block(0, **TEXT), delta(0, "brand_new", z=1), ended(0)], [e.TextStarted(0), e.BlockEnded(0)]),
    ],
    ids=str,
)  # fmt: skip
def test_blocks(events: list[Any], expected: list[e.ResponseEvent]) -> None:
    assert between(*[{"type": "x", **event} if "type" not in event else event for event in events]) == expected


def test_web_citations_are_for_everyone() -> None:
    native = {"type": "web_search_result_location", "url": "https://e.x", "title": "E", "cited_text": "is",
              "encrypted_index": "I"}  # fmt: skip
    got = between(block(0, **TEXT), delta(0, "citations_delta", citation=native), delta(0, "citations_delta"), ended(0))
    assert got[1:-1] == [
        e.CitationAdded(0, e.Citation("url", "anthropic_messages", "https://e.x", "E", "is", native=native))
    ]


def test_seals_and_citations_of_deltas_without_a_type() -> None:
    native = {"type": "web_search_result_location", "url": "https://e.x", "title": "E", "cited_text": "is"}
    untyped = [{"thinking": "hm"}, {"signature": "S"}]
    deltas = [{"type": "content_block_delta", "index": 0, "delta": each} for each in untyped]
    got = between(block(0, type="thinking", thinking=""), *deltas, ended(0), block(1, **TEXT), {
        "type": "content_block_delta", "index": 1, "delta": {"citation": native}}, ended(1))  # fmt: skip
    assert e.ThinkingSealed(0, "S", signer=CLAUDE) in got
    assert any(isinstance(each, e.CitationAdded) for each in got)


def test_a_call_of_zero_values_is_none() -> None:
    empty = {"type": "tool_use", "id": "", "name": "", "input": {}}
    assert between(block(0, **empty), ended(0), block(1, **TEXT), delta(1, "text_delta", text="a"), ended(1)) == [
        e.TextStarted(0), e.TextDelta(0, "a"), e.BlockEnded(0)
    ]  # fmt: skip


def test_what_was_written_to_a_cache_may_be_told_in_parts() -> None:
    written = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}
    events = read(stream_of(start(input_tokens=1, cache_creation=written), message_delta(output_tokens=2), STOP))
    assert isinstance(events[-1], e.ResponseEnded) and events[-1].usage == Usage(31, 2, None, 30)


# ---- repairs


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([delta(0, "text_delta", text="Hi"), ended(0)], id="no block start"),
        pytest.param([block(7, **TEXT), delta(7, "text_delta", text="Hi"), ended(7)], id="a gap in the indexes"),
        pytest.param([block(0, **TEXT), delta(0, "text_delta", text="Hi")], id="no block stop"),
        pytest.param([block(None, **TEXT), delta(None, "text_delta", text="Hi"), ended(0)], id="no index"),
        pytest.param([start(), block(0, **TEXT), delta(0, "text_delta", text="Hi"), ended(0)], id="two starts"),
        pytest.param([block(0, **TEXT), delta(0, "text_delta", text="Hi"), ended(0), ended(0)], id="two stops"),
        pytest.param([ended(3), block(0, **TEXT), delta(0, "text_delta", text="Hi"), ended(0)], id="a stop too many"),
    ],
)
def test_repairs(events: list[Any]) -> None:
    assert between(*events) == [e.TextStarted(0), e.TextDelta(0, "Hi"), e.BlockEnded(0)]


def test_an_index_used_again_is_a_new_block() -> None:
    got = between(
        block(0, **TEXT), delta(0, "text_delta", text="a"), block(0, **TEXT), delta(0, "text_delta", text="b")
    )
    assert got == [
        e.TextStarted(0), e.TextDelta(0, "a"), e.BlockEnded(0), e.TextStarted(1), e.TextDelta(1, "b"), e.BlockEnded(1)
    ]  # fmt: skip


def test_a_missing_stop_before_the_next_block() -> None:
    got = between(block(0, **TEXT), block(1, type="tool_use", id="t", name="f", input={}), ended(1))
    assert got == [
        e.TextStarted(0), e.BlockEnded(0), e.ToolCallStarted(1, "t", "f"), e.ToolInputDelta(1, "{}"), e.BlockEnded(1)
    ]  # fmt: skip


def test_calls_may_be_open_side_by_side() -> None:
    got = between(
        block(0, type="tool_use", id="t", name="f", input={}),
        block(1, type="tool_use", id="u", name="g", input={}),
        delta(0, "input_json_delta", partial_json='{"a":1}'),
        delta(1, "input_json_delta", partial_json='{"b":1}'),
        ended(0),
        ended(1),
    )
    assert [type(event) for event in got[:2]] == [e.ToolCallStarted, e.ToolCallStarted]
    assert got[2:4] == [e.ToolInputDelta(0, '{"a":1}'), e.ToolInputDelta(1, '{"b":1}')]


def test_no_message_start() -> None:
    got = read(stream_of(block(0, **TEXT), delta(0, "text_delta", text="Hi"), ended(0), message_delta(), STOP))
    assert got[0] == e.ResponseStarted("", "m")
    assert isinstance(got[-1], e.ResponseEnded)


def test_the_last_counts_hold_zeros_included() -> None:
    """As in the official SDK: a compaction leaves less of the input than its start said."""
    began = start(input_tokens=55_277, cache_read_input_tokens=50_000, output_tokens=1)
    after = message_delta(input_tokens=181, cache_read_input_tokens=0, output_tokens=5.0)
    got = read(stream_of(began, after, STOP))
    assert got[-1] == e.ResponseEnded(StopReason.END, Usage(181, 5, 0), native_reason="end_turn")
    got = read(stream_of(start(input_tokens=0, output_tokens=0), message_delta(input_tokens=7, output_tokens=5), STOP))
    assert got[-1] == e.ResponseEnded(StopReason.END, Usage(7, 5), native_reason="end_turn")


def test_the_last_message_delta_that_says_something_counts() -> None:
    got = read(
        stream_of(start(), message_delta("max_tokens", output_tokens=3), message_delta(None, output_tokens=4), STOP)
    )
    assert got[-1] == e.ResponseEnded(StopReason.MAX_TOKENS, Usage(None, 4), native_reason="max_tokens")


# ---- how it ends


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", StopReason.END),
        ("tool_use", StopReason.TOOL_CALL),
        ("pause_turn", StopReason.PAUSED),
        ("model_context_window_exceeded", StopReason.CONTEXT_EXCEEDED),
        ("compaction", StopReason.COMPACTED),
        ("brand_new", StopReason.OTHER),
        (None, StopReason.END),
    ],
)
def test_stop_reasons(reason: str | None, stop: StopReason) -> None:
    last = read(stream_of(start(), message_delta(reason), STOP))[-1]
    assert isinstance(last, e.ResponseEnded)
    assert (last.stop, last.native_reason) == (stop, reason)


def test_a_refusal_is_explained() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Declined."}
    last = read(stream_of(start(), message_delta("refusal", delta={"stop_details": details}), STOP))[-1]
    assert isinstance(last, e.ResponseEnded)
    assert (last.stop, last.explanation, last.extra) == (StopReason.REFUSAL, "Declined.", {"stop_details": details})


def test_unknown_members_are_handed_on() -> None:
    first = start()
    first["message"] |= {"container": {"id": "c"}, "diagnostics": None}
    ending = message_delta(delta={"container": {"id": "c"}}) | {"context_management": {"applied_edits": []}}
    got = read(stream_of(first, ending, STOP))
    assert got[0] == e.ResponseStarted("msg_1", "claude", extra={"container": {"id": "c"}})
    assert isinstance(got[-1], e.ResponseEnded)
    assert got[-1].extra == {"container": {"id": "c"}, "context_management": {"applied_edits": []}}


def test_closed_without_message_stop() -> None:
    got = read(stream_of(start(), block(0, **TEXT), message_delta("max_tokens")))
    assert got[-2:] == [e.BlockEnded(0), e.ResponseEnded(StopReason.MAX_TOKENS, native_reason="max_tokens")]
    got = read(stream_of(start(), block(0, **TEXT), delta(0, "text_delta", text="Hi")))
    assert got[-1] == e.ResponseFailed(ErrorKind.API, "upstream stream ended prematurely", code="stream_truncated")
    assert read(b"")[-1] == got[-1]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, ErrorKind.OVERLOADED),
        ({"type": "rate_limit_error", "message": "slow"}, ErrorKind.RATE_LIMIT),
        ({"type": "brand_new_error", "message": "?"}, ErrorKind.API),
    ],
)
def test_an_error_in_the_stream(error: dict[str, Any], kind: ErrorKind) -> None:
    for event in ({"type": "error", "error": error}, {"type": "x", "error": error}):
        got = read(stream_of(start(), block(0, **TEXT), event, STOP))
        assert got == [STARTED, e.TextStarted(0), e.ResponseFailed(kind, error["message"])]


def test_input_for_a_block_that_never_started_breaks_the_protocol() -> None:
    got = read(stream_of(start(), delta(3, "input_json_delta", partial_json="{")))
    last = got[-1]
    assert isinstance(last, e.ResponseFailed)
    assert (last.status, last.code) == (502, "upstream_error")


def test_an_event_that_is_no_object_breaks_the_protocol() -> None:
    assert isinstance(read(b"data: 3\n\n" + stream_of(start()))[-1], e.ResponseFailed)


@pytest.mark.rows("A6")
@pytest.mark.parametrize("empty", [b"event: ping\ndata: {oops", b"event: new\ndata: {oops", b"data: ping", b": x"])
def test_an_event_that_can_carry_no_content_is_skipped(empty: bytes) -> None:
    data = stream_of(start()) + empty + b"\n\n" + stream_of(message_delta(), STOP)
    assert isinstance(read(data)[-1], e.ResponseEnded)


@pytest.mark.parametrize("broken", [b"data: {oops", b"event: content_block_delta\ndata: {oops", b"data: oops"])
def test_a_broken_event_fails_the_stream(broken: bytes) -> None:
    data = stream_of(start()) + broken + b"\n\n" + stream_of(message_delta(), STOP)
    last = read(data)[-1]
    assert isinstance(last, e.ResponseFailed) and "not JSON" in last.message


def test_any_cut_and_line_ends_give_the_same() -> None:
    data = stream_of(start(), block(0, **TEXT), delta(0, "text_delta", text="é😀"), ended(0), message_delta(), STOP)
    expected = read(data)
    for wire in (data, data.replace(b"\n", b"\r\n"), data.replace(b"\n", b"\r"), b"\xef\xbb\xbf" + data):
        assert read(wire[i : i + 1] for i in range(len(wire))) == expected


# ---- names and free-form tools come back


def test_undo() -> None:
    events = stream_of(
        start(),
        block(0, type="tool_use", id="t", name="ab_1", input={}),
        delta(0, "input_json_delta", partial_json='{"q":1}'),
        ended(0),
        block(1, type="tool_use", id="u", name="py", input={}),
        delta(1, "input_json_delta", partial_json='{"input":"pri'),
        delta(1, "input_json_delta", partial_json='nt(1)"}'),
        ended(1),
        message_delta("tool_use"),
        STOP,
    )
    got = read(events, undo=Undo({"ab_1": "a.b"}, frozenset({"py"})))
    assert got[1:-1] == [
        e.ToolCallStarted(0, "t", "a.b"), e.ToolInputDelta(0, '{"q":1}'), e.BlockEnded(0),
        e.ToolCallStarted(1, "u", "py", "custom"), e.ToolInputDelta(1, "print(1)"), e.BlockEnded(1),
    ]  # fmt: skip


# ---- whole


def whole(body: Any, status: int = 200) -> list[e.ResponseEvent]:
    return read(json.dumps(body).encode() if not isinstance(body, bytes) else body, headers=JSON, status=status)


def test_a_whole_message() -> None:
    body = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
        "content": [
            {"type": "thinking", "thinking": "why", "signature": "SIG"},
            {"type": "redacted_thinking", "data": "RED"},
            {"type": "text", "text": "ok"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"q": "é"}, "caller": {"type": "direct"}},
            {"type": "tool_use", "id": "u", "name": "g", "input": {}},
            {"type": "web_search_tool_result", "content": []},
        ],
        "stop_reason": "tool_use", "stop_sequence": None, "container": {"id": "c"},
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50,
                  "output_tokens": 5, "service_tier": "priority"},
    }  # fmt: skip
    usage = Usage(160, 5, 100, 50)
    assert whole(body) == [
        e.ResponseStarted("msg_1", "claude", usage, extra={"container": {"id": "c"}}),
        e.ThinkingStarted(0), e.ThinkingDelta(0, "why"), e.ThinkingSealed(0, "SIG", signer=CLAUDE), e.BlockEnded(0),
        e.ThinkingStarted(1), e.ThinkingSealed(1, encrypted="RED", signer=CLAUDE), e.BlockEnded(1),
        e.TextStarted(2), e.TextDelta(2, "ok"), e.BlockEnded(2),
        e.ToolCallStarted(3, "t", "f"), e.ToolInputDelta(3, '{"q":"é"}'), e.BlockEnded(3),
        e.ToolCallStarted(4, "u", "g"), e.ToolInputDelta(4, "{}"), e.BlockEnded(4),
        e.OpaqueStarted(5, "anthropic_messages", {"type": "web_search_tool_result", "content": []}), e.BlockEnded(5),
        e.ResponseEnded(StopReason.TOOL_CALL, usage, None, "tool_use", None, "priority"),
    ]  # fmt: skip


def test_an_empty_message() -> None:
    got = whole({"type": "message", "content": None, "stop_reason": "end_turn", "usage": None})
    assert got == [e.ResponseStarted("", ""), e.ResponseEnded(StopReason.END, native_reason="end_turn")]


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"content": 3}', b"<html>"])
def test_what_is_no_message_fails(body: bytes) -> None:
    (failed,) = whole(body)
    assert isinstance(failed, e.ResponseFailed)


def test_errors() -> None:
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}
    assert whole(body, 529) == [e.ResponseFailed(ErrorKind.OVERLOADED, "Overloaded", 529)]
    (failed,) = whole(body, 200)
    assert isinstance(failed, e.ResponseFailed)
    assert failed.kind is ErrorKind.OVERLOADED


def test_a_stream_where_a_whole_was_declared() -> None:
    got = read(stream_of(start(), block(0, **TEXT), message_delta(), STOP), headers=JSON)
    assert isinstance(got[-1], e.ResponseEnded)


GOLDEN = Path(__file__).parents[2] / "golden" / "anthropic_messages"
SAID = st.sampled_from(["a", "b", "", '"', "\\", "{", "another text", "\u00e9", "\U0001f600", '{"k": 1}', None, 7])
MORE = st.sampled_from([{}, {}, {}, {"index": 0}, {"text": "x"}, {"type": "text_delta"}, {"citation": {"type": "c"}}])
DELTAS = st.builds(
    lambda index, kind, member, text, more, behind: {
        "type": "content_block_delta",
        **({"index": index} if not behind else {}),
        "delta": {"type": kind, member: text, **more},
        **({"index": index} if behind else {}),
        **more,
    },
    st.sampled_from([0, 0, 0, 1, 2, "0", None]),
    st.sampled_from(["text_delta", "text_delta", "thinking_delta", "input_json_delta", "signature_delta", "odd_delta"]),
    st.sampled_from(["text", "text", "thinking", "partial_json", "signature"]),
    SAID,
    MORE,
    st.booleans(),
)
BLOCKS = st.builds(block, st.sampled_from([0, 1, 2]), type=st.sampled_from(["text", "thinking", "odd"])) | st.builds(
    lambda index: block(index, type="tool_use", id="t", name="f", input={}), st.sampled_from([0, 1, 2])
)


def renamed(stream: bytes) -> bytes:
    """*stream* with another name for the events of deltas: of those everything is read."""
    return stream.replace(b"event: content_block_delta\n", b"event: content_block\n")


def both(stream: bytes) -> tuple[list[e.ResponseEvent], list[e.ResponseEvent], LossReport, LossReport]:
    by_text, by_all = LossReport(), LossReport()
    return read(stream, losses=by_text), read(renamed(stream), losses=by_all), by_text, by_all


@given(st.lists(DELTAS | DELTAS | DELTAS | BLOCKS | st.builds(ended, st.sampled_from([0, 1, 2])), max_size=12))
def test_of_a_delta_that_is_as_one_before_it_the_text_alone_is_read(events: list[dict[str, Any]]) -> None:
    one, other, by_text, by_all = both(stream_of(start(), block(0, **TEXT), *events, message_delta(), STOP))
    assert one == other and list(by_text) == list(by_all)


@pytest.mark.parametrize("data", [path.read_bytes() for path in sorted(GOLDEN.glob("*.sse"))])
def test_a_delta_as_the_one_before_says_what_all_of_it_says(data: bytes) -> None:
    one, other, by_text, by_all = both(data)
    assert one == other and list(by_text) == list(by_all)


@pytest.mark.parametrize(
    ("opened", "kind", "member", "made"),
    [
        ({"type": "text", "text": ""}, "text_delta", "text", e.TextDelta),
        ({"type": "thinking", "thinking": ""}, "thinking_delta", "thinking", e.ThinkingDelta),
        ({"type": "tool_use", "id": "t", "name": "f"}, "input_json_delta", "partial_json", e.ToolInputDelta),
    ],
)
def test_each_kind_of_delta_is_learned(opened: dict[str, Any], kind: str, member: str, made: Any) -> None:
    parser = parser_of()
    parser.feed(stream_of(start(), block(0, **opened), delta(0, kind, **{member: '{"k":"'})))
    more = stream_of(delta(0, kind, **{member: "a\\n"}))
    assert parser._last is not None and parser._last.alike.text(more.partition(b"data: ")[2].rstrip()) == "a\\n"
    assert parser.feed(more) == [made(0, "a\\n")]
    parser.feed(stream_of(ended(0)))
    assert parser._last is None
