from __future__ import annotations

from typing import Any

import pytest

from extproc.llm import events as e
from extproc.llm import marker

from .helpers import call_delta, chunk, read, stream_of, whole


def test_calls_may_be_open_together_and_text_ends_them() -> None:
    data = stream_of(
        chunk(call_delta(0, "t1", "f", '{"a":')),
        chunk(call_delta(1, "t2", "g", '{"b":')),
        chunk(call_delta(0, arguments="1}")),
        chunk(call_delta(1, arguments="2}")),
        chunk({"content": "now"}),
        chunk({}, "stop"),
    )
    kinds = [(type(x).__name__, getattr(x, "block", None)) for x in read(data).events[1:-1]]
    assert kinds == [
        ("ToolCallStarted", 0),
        ("ToolInputDelta", 0),
        ("ToolCallStarted", 1),
        ("ToolInputDelta", 1),
        ("ToolInputDelta", 0),
        ("ToolInputDelta", 1),
        ("BlockEnded", 0),
        ("BlockEnded", 1),
        ("TextStarted", 2),
        ("TextDelta", 2),
        ("BlockEnded", 2),
    ]


def test_text_between_the_fragments_of_a_call_does_not_end_it() -> None:
    data = stream_of(
        chunk(call_delta(0, "t1", "f", '{"a":')),
        chunk({"content": "wait"}),
        chunk({"reasoning_content": "hm"}),
        chunk(call_delta(0, arguments="1}")),
        chunk({"content": "\n"}),
        chunk({}, "tool_calls"),
    )
    assert read(data).gist == [("call", "t1", "f", '{"a":1}'), ("text", "wait"), ("thinking", "hm"), ("text", "\n")]


def reasoned(*deltas: Any) -> list[Any]:
    return read(stream_of(*(chunk(delta) for delta in deltas), chunk({}, "stop"))).gist


def detail(text: str = "", signature: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    seal = {"signature": signature} if signature else {}
    return {"type": "reasoning.text", "text": text, "format": "anthropic-claude-v1", "index": index, **seal, **more}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_under_each_name(name: str) -> None:
    assert reasoned({name: "a"}, {name: "b"}, {"content": "c"}) == [("thinking", "ab"), ("text", "c")]


def test_reasoning_told_twice_counts_once() -> None:
    assert reasoned(
        {"reasoning_content": "a", "reasoning": "a", "reasoning_details": [{"type": "x", "text": "a"}]}
    ) == [("thinking", "a")]


def test_seals_end_their_blocks() -> None:
    assert reasoned(
        {"reasoning_content": "why"},
        {"reasoning_details": [detail("why", "S")]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "RED", "format": "anthropic-claude-v1"}]},
        {"reasoning_content": "more"},
        {"content": "a"},
    ) == [("thinking", "why", "S"), ("thinking", "", "RED"), ("thinking", "more"), ("text", "a")]


def test_a_seal_without_any_text_is_a_block_of_its_own() -> None:
    assert reasoned({"reasoning_details": [detail("", "S")]}, {"content": "a"}) == [
        ("thinking", "", "S"),
        ("text", "a"),
    ]


def test_a_seal_over_another_text_is_left_out() -> None:
    assert reasoned({"reasoning_content": "why"}, {"reasoning_details": [detail("other", "S")]}) == [
        ("thinking", "why")
    ]


def test_details_alone_tell_blocks_apart_by_their_index() -> None:
    assert reasoned({"reasoning_details": [detail("a", index=0)]}, {"reasoning_details": [detail("b", index=1)]}) == [
        ("thinking", "a"),
        ("thinking", "b"),
    ]


def test_encrypted_reasoning_amid_a_call_does_not_end_it() -> None:
    sealed = {"reasoning_details": [{"type": "reasoning.encrypted", "data": "E", "format": "google-gemini-v1"}]}
    data = stream_of(
        chunk(call_delta(0, "t", "f", '{"a"')), chunk(sealed), chunk(call_delta(0, arguments=":1}")), chunk({}, "stop")
    )
    assert read(data).gist == [("call", "t", "f", '{"a":1}'), ("thinking", "", "E")]


def test_think_tags() -> None:
    data = stream_of(
        chunk({"content": "<th"}),
        chunk({"content": "ink>wh"}),
        chunk({"content": "y</thi"}),
        chunk({"content": "nk>\n\nan"}),
        chunk({"content": "swer"}),
        chunk({}, "stop"),
    )
    assert read(data, think_tags=True).gist == [("thinking", "why"), ("text", "answer")]
    assert read(data).gist == [("text", "<think>why</think>\n\nanswer")]


def test_a_whole_answers_seals_go_with_their_texts() -> None:
    details = [
        detail("one", "S1"),
        {"type": "reasoning.encrypted", "data": "RED", "format": "anthropic-claude-v1", "index": 1},
        detail("two", "S2", index=3),
    ]
    got = whole({"content": "a", "reasoning_content": "onetwo", "reasoning_details": details})
    assert got.gist == [("thinking", "one", "S1"), ("thinking", "", "RED"), ("thinking", "two", "S2"), ("text", "a")]


def test_citations_without_a_text_are_reported() -> None:
    cited = {"type": "url_citation", "url_citation": {"start_index": 90, "end_index": 99, "url": "u"}}
    got = read(
        stream_of(chunk({"annotations": [cited]}), chunk({"content": "a", "annotations": [cited]}), chunk({}, "stop"))
    )
    assert [str(loss) for loss in got.report] == ["response.choices[0].message.annotations:dropped"]
    citations = [event.citation for event in got.events if isinstance(event, e.CitationAdded)]
    assert [(c.start, c.end) for c in citations] == [(None, None)], "a place outside the text is none"


def test_seals_amid_calls_and_markers() -> None:
    def seal(**members: str) -> Any:
        return chunk({"reasoning_details": [{"type": "reasoning.text", "format": "x", **members}]})

    got = read(stream_of(chunk(call_delta(0, "t", "f", "{")), seal(signature="S"), chunk(call_delta(0, arguments="}"))))
    assert got.gist == [("call", "t", "f", "{}"), ("thinking", "", "S")]
    ours = read(stream_of(chunk({"reasoning": "w"}), seal(signature=marker.mark("w")), chunk({}, "stop")))
    assert [event.signer for event in ours.events if isinstance(event, e.ThinkingSealed)] == [marker.SIGNER]


def test_parts_of_a_list() -> None:
    parts = ["a", {"type": "thinking", "thinking": "w"}, {"type": "text", "text": "b"}, {"type": "reference"}]
    got = whole({"content": parts})
    assert got.gist == [("text", "a"), ("thinking", "w"), ("text", "b")]
    assert [str(loss) for loss in got.report] == ["response.choices[0].message.content:dropped"]
