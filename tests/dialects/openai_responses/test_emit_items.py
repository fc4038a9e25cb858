from __future__ import annotations

from typing import Any

import pytest

from extproc.llm import marker
from extproc.llm.failures import Unsupported
from extproc.llm.request import Image, Message, Opaque, Source, Text, Thinking, ToolCall, ToolResult

from .helpers import HI, Emitted, Json, emit

SIGNER = "openai-responses-v1"
USER = {"type": "message", "role": "user", "content": "hi"}


def sent(*messages: Message, **options: Any) -> Emitted:
    return emit(messages=[*HI, *messages], **options)


def items(*messages: Message, **options: Any) -> list[Json]:
    found: list[Json] = sent(*messages, **options).input
    assert found[0] == USER
    return found[1:]


def assistant(*blocks: Any) -> Message:
    return Message("assistant", list(blocks), "messages[1]")


def results(*results: ToolResult, text: str = "") -> Message:
    said = [Text(text)] if text else []
    return Message("user", [*results, *said], "messages[2]")


def said(text: str) -> Json:
    return {"type": "message", "role": "assistant", "content": text}


CALL = ToolCall("c1", "f", "{}", at="call")
CALLED = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
ANSWERED = {"type": "function_call_output", "call_id": "c1", "output": "x"}


# ---- messages


def test_texts_stay_texts() -> None:
    assert items(Message("assistant", "a"), Message("user", "b")) == [said("a"), USER | {"content": "b"}]


def test_system_messages_in_mid_conversation_keep_their_place() -> None:
    message = Message("system", [Text("a"), Text("b")])
    assert items(message) == [{"type": "message", "role": "system", "content": "a\n\nb"}]
    assert items(message, quirks={"system_role": "developer"})[0]["role"] == "developer"


def test_each_text_of_the_model_is_a_message() -> None:
    refusal = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert items(assistant(Text("a"), Text("b"), Text("No.", refusal=True)), *HI) == [
        said("a"),
        said("b"),
        refusal,
        USER,
    ]


@pytest.mark.parametrize("message", [Message("user", ""), Message("user", []), Message("system", "")])
def test_an_empty_message_is_none(message: Message) -> None:
    assert items(message) == []


def test_an_empty_turn_is_said() -> None:
    out = sent(assistant(Text("")), *HI)
    assert (out.input, out.losses) == ([USER, USER], ["messages[1]:dropped"])


def test_a_turn_to_continue_is_answered_anew() -> None:
    assert sent(Message("assistant", "a")).losses == ["messages:downgraded"]


def test_nothing_at_all() -> None:
    out = emit(messages=[Message("user", "", "messages[0]")])
    assert (out.input, out.losses) == ([USER | {"content": "."}], ["messages[0]:dropped", "messages:synthesized"])


def test_two_turns_of_the_model_are_answered_together() -> None:
    """Only what the user says, or a turn behind it, is a sign that no result will come."""
    second = ToolCall("c2", "f", "{}", at="second")
    out = sent(assistant(CALL), assistant(second), results(ToolResult("c2", "y"), ToolResult("c1", "x")))
    called = [CALLED, CALLED | {"call_id": "c2"}]
    assert out.input[1:] == [*called, ANSWERED | {"call_id": "c2", "output": "y"}, ANSWERED]
    assert out.losses == []


def test_names_are_lost() -> None:
    assert sent(Message("user", "a", "messages[1]", "bob")).losses == ["messages[1].name:dropped"]


# ---- calls


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (ToolCall("c1", "f", '{"a": 1.0}'), '{"a": 1.0}'),
        (ToolCall("c1", "f", ""), "{}"),
        (ToolCall("c1", "f", "{bad"), "{bad"),
        (ToolCall("c1", "f", input={"a": 1}), '{"a":1}'),
        (ToolCall("c1", "f"), "{}"),
    ],
)
def test_a_call_and_its_result(call: ToolCall, arguments: str) -> None:
    got = items(assistant(Text("a"), call), results(ToolResult("c1", "x"), text="go on"))
    user = {"type": "message", "role": "user", "content": "go on"}
    assert got == [said("a"), CALLED | {"arguments": arguments}, ANSWERED, user]


def test_a_custom_call_and_its_result() -> None:
    turn, answer = assistant(ToolCall("c1", "p", "*** Begin", kind="custom")), results(ToolResult("c1", "x"))
    called, answered = items(turn, answer)
    assert called == {"type": "custom_tool_call", "call_id": "c1", "name": "p", "input": "*** Begin"}
    assert answered == {"type": "custom_tool_call_output", "call_id": "c1", "output": "x"}
    called, answered = items(turn, answer, provider="openai-compatible", model="m")
    assert called == {"type": "function_call", "call_id": "c1", "name": "p", "arguments": '{"input":"*** Begin"}'}
    assert answered == ANSWERED


def test_results_find_their_calls_in_any_order() -> None:
    turn = assistant(CALL, ToolCall("c2", "f", "{}"))
    got = items(turn, results(ToolResult("c2", "2"), ToolResult("c1", "1")))
    assert [(item["call_id"], item["output"]) for item in got[2:]] == [("c2", "2"), ("c1", "1")]


def test_results_without_ids_answer_in_order() -> None:
    got = items(
        assistant(ToolCall("", "f", "{}"), ToolCall("", "g", "{}")), results(ToolResult("", "1"), ToolResult("", "2"))
    )
    assert [item["call_id"] for item in got[:2]] == [item["call_id"] for item in got[2:]]
    assert len({item["call_id"] for item in got}) == 2


def test_ids_that_come_again_in_a_later_turn_are_told_apart() -> None:
    turn = [assistant(ToolCall("call_0", "f", "{}")), results(ToolResult("call_0", "x"))]
    ids = [item["call_id"] for item in items(*turn, *turn)]
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_long_ids_are_cut() -> None:
    got = items(assistant(ToolCall("c" * 80, "f", "{}")), results(ToolResult("c" * 80, "x")))
    assert got[0]["call_id"] == got[1]["call_id"]
    assert len(got[0]["call_id"]) == 64


def test_a_call_at_the_end_is_refused() -> None:
    with pytest.raises(Unsupported) as refused:
        sent(assistant(CALL))
    assert (refused.value.path, refused.value.code) == ("call", "invalid_value")


UNANSWERED = ANSWERED | {"output": "[no result: the call was interrupted]"}
_TOLD = ('<tool_result id="c1">', "y", "</tool_result>")
LATE = USER | {"content": [{"type": "input_text", "text": text} for text in _TOLD]}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([assistant(CALL), Message("assistant", "a"), Message("user", "b")],
         [CALLED, said("a"), USER | {"content": "b"}, UNANSWERED]),
        ([assistant(CALL), Message("user", "b")], [CALLED, USER | {"content": "b"}, UNANSWERED]),
        ([results(ToolResult("c1", "y"))], [LATE]),
        ([assistant(CALL), results(ToolResult("c1", "x"), ToolResult("c1", "y"))], [CALLED, ANSWERED, LATE]),
    ],
)  # fmt: skip
def test_calls_and_results_that_are_alone_are_told(messages: list[Message], expected: list[Json]) -> None:
    assert items(*messages) == expected


IMAGE = Image(Source("url", "https://e.x/a.png"))
PART = {"type": "input_image", "image_url": "https://e.x/a.png", "detail": "auto"}


@pytest.mark.parametrize(
    ("content", "is_error", "output"),
    [
        ("x", False, "x"),
        ("", None, ""),
        ([Text("a"), Text("b")], None, "a\nb"),
        ([Text("a")], True, "Error: a"),
        ([Text("a"), IMAGE], None, [{"type": "input_text", "text": "a"}, PART]),
        ("x", True, "Error: x"),
        ("error 5", True, "error 5"),
        ([IMAGE], True, [{"type": "input_text", "text": "Error:"}, PART]),
    ],
)
def test_a_result(content: Any, is_error: bool | None, output: Any) -> None:
    out = sent(assistant(CALL), results(ToolResult("c1", content, is_error, "result")))
    assert out.input[-1] == ANSWERED | {"output": output}
    assert out.losses == (["result.is_error:rewritten"] if is_error else [])


# ---- thinking

SEALED = Thinking("why", None, "gAAA", SIGNER, at="thinking")
REASONING = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "why"}], "encrypted_content": "gAAA"}


def test_sealed_thinking_goes_back_to_its_provider() -> None:
    out = sent(assistant(SEALED, CALL), results(ToolResult("c1", "x")))
    assert out.input[1:] == [REASONING, CALLED, ANSWERED]
    assert out.losses == []
    bare = Thinking("", None, "gAAA", SIGNER)
    assert items(assistant(bare, Text("a")), *HI)[0] == REASONING | {"summary": []}


@pytest.mark.parametrize(
    "block",
    [
        Thinking("why", at="thinking"),
        Thinking("why", "S", None, "anthropic-claude-v1", at="thinking"),
        Thinking("why", marker.mark("why"), None, marker.SIGNER, at="thinking"),
        Thinking("", None, "G", "google-gemini-v1", at="thinking"),
    ],
)
def test_other_thinking_does_not(block: Thinking) -> None:
    out = sent(assistant(block, Text("a")), *HI)
    assert out.input == [USER, said("a"), USER]
    assert out.losses == ["thinking:dropped"]


def test_a_server_that_reads_thinking_gets_its_text() -> None:
    quirks = {"reasoning_field": "reasoning"}
    item = items(assistant(Thinking("why"), Text("a")), *HI, provider="openai-compatible", model="m", quirks=quirks)[0]
    assert item == {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "why"}]}


def test_a_model_that_does_not_reason_gets_none() -> None:
    assert items(assistant(SEALED, Text("a")), *HI, model="gpt-4o") == [said("a"), USER]


def test_thinking_that_led_to_nothing_is_left_out() -> None:
    """The API refuses a reasoning item without what follows it, and with it the whole session."""
    out = sent(assistant(Text("a"), SEALED), *HI)
    assert (out.input, out.losses) == ([USER, said("a"), USER], ["thinking:dropped"])


def test_thinking_stands_where_it_stood() -> None:
    blocks = [Thinking("1", None, "A", SIGNER, 0), Thinking("2", None, "B", SIGNER, 2), Text("a"), Text("b")]
    assert [item["type"] for item in items(assistant(*blocks), *HI)[:4]] == ["reasoning", "message"] * 2


# ---- what only one API knows


def test_items_of_this_api_stay_and_blocks_of_others_go() -> None:
    own, foreign = {"type": "web_search_call", "id": "ws_1"}, Opaque("anthropic_messages", {"type": "x"}, "opaque")
    out = sent(assistant(Opaque("openai_responses", own), foreign, Text("a")), *HI)
    assert out.input[1:3] == [own, said("a")]
    assert out.losses == ["opaque:dropped"]
