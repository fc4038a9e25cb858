from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.dialects.shared.naming import hash8
from extproc.llm import marker
from extproc.llm.failures import Unsupported
from extproc.llm.request import Block, CacheMarker, Message, Opaque, Text, Thinking, Tool, ToolCall, ToolResult

from ..anthropic_messages.helpers import Emitted, emit

F = [Tool("f", schema={"type": "object", "properties": {}})]
CLAUDE = "anthropic-claude-v1"


def talk(*turns: tuple[str, Any], model: str = "claude-sonnet-4-5", **members: Any) -> Emitted:
    """Messages of ``(role, content)``; in a list, a string is a text and blocks get their paths."""
    messages = []
    for i, (role, content) in enumerate(turns):
        if isinstance(content, list):
            content = [
                Text(b, f"messages[{i}].content[{j}]") if isinstance(b, str) else b for j, b in enumerate(content)
            ]
        messages.append(Message(role, content, f"messages[{i}]"))  # type: ignore[arg-type]
    return emit(model, messages=messages, tools=members.pop("tools", F), **members)


def call(id_: str, arguments: str | None = "{}", **members: Any) -> ToolCall:
    return ToolCall(id_, "f", arguments, at=f"call {id_}", **members)


def use(id_: str, **input_: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": "f", "input": input_}


def result(id_: str, **members: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id_, **members}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


# ---- turns


@pytest.mark.rows("C5")
def test_strings_stay_strings_and_neighbours_merge() -> None:
    out = talk(("user", "a"), ("user", ""), ("user", ["b"]), ("assistant", "c"), ("assistant", "d"), ("user", "e"))
    assert out.messages == [
        {"role": "user", "content": [text("a"), text("b")]},
        {"role": "assistant", "content": [text("c"), text("d")]},
        {"role": "user", "content": "e"},
    ]
    assert out.losses == []


def test_an_empty_assistant_turn_is_left_out_and_said() -> None:
    out = talk(("user", "3"), ("assistant", ""), ("user", "4"))
    assert out.messages == [{"role": "user", "content": [text("3"), text("4")]}]
    assert out.losses == ["messages[1]:dropped"]


def test_whitespace_only_is_refused_by_the_api_and_left_out() -> None:
    out = talk(("user", "1"), ("assistant", [" \n", call("c1")]), ("user", [ToolResult("c1", "x")]))
    assert out.messages[1] == {"role": "assistant", "content": [use("c1")]}
    assert out.losses == ["messages[1].content[0]:rewritten"]


def test_the_first_turn_is_the_users() -> None:
    out = talk(("assistant", "hello"), ("user", "hi"))
    assert out.messages[0] == {"role": "user", "content": "."}
    assert out.losses == ["messages[0]:rewritten"]


@pytest.mark.parametrize("turns", [[("user", "")], [("user", [])], [("user", " ")], [("assistant", "")]])
def test_where_nobody_says_anything_the_user_does(turns: list[Any]) -> None:
    """Other APIs answer a conversation of system messages only."""
    out = talk(*turns)
    assert out.messages == [{"role": "user", "content": "."}]
    assert "messages:synthesized" in out.losses


def test_a_blank_turn_between_two_answers_is_said() -> None:
    out = talk(("user", "1"), ("assistant", "2"), ("user", ""), ("assistant", "3"), ("user", "4"))
    assert [message["role"] for message in out.messages] == ["user", "assistant", "user"]
    assert out.losses == ["messages[2]:dropped"]


def test_names_are_lost_and_said() -> None:
    out = emit(messages=[Message("user", "a", "messages[0]", name="bob")])
    assert out.losses == ["messages[0].name:dropped"]


# ---- tools


def test_results_lead_the_turn_and_are_matched() -> None:
    out = talk(
        ("user", "1"),
        ("assistant", ["ok", call("c1", '{"q":"a"}'), call("c2", '{"q":"b"}')]),
        ("user", "wait"),
        ("tool", [ToolResult("c2", "B")]),
        ("tool", [ToolResult("c1", [Text("A")])]),
        ("user", "go on"),
    )
    assert out.messages[1:] == [
        {"role": "assistant", "content": [text("ok"), use("c1", q="a"), use("c2", q="b")]},
        {
            "role": "user",
            "content": [result("c2", content="B"), result("c1", content=[text("A")]), text("wait"), text("go on")],
        },
    ]
    assert out.losses == []


@pytest.mark.parametrize(
    ("arguments", "expected", "losses"),
    [
        ("", {}, []),
        (None, {}, []),
        ("null", {}, []),
        ('{"b": 1.0, "a": 12345678901234567890123}', {"b": 1.0, "a": 12345678901234567890123}, []),
        ('{"q": "tru', {"INVALID_JSON": '{"q": "tru'}, ["call c1:rewritten"]),
        ("[1]", {"INVALID_JSON": "[1]"}, ["call c1:rewritten"]),
        ('{"a":1}{"b":2}', {"INVALID_JSON": '{"a":1}{"b":2}'}, ["call c1:rewritten"]),
    ],
)
def test_arguments(arguments: str | None, expected: Any, losses: list[str]) -> None:
    out = talk(("user", "1"), ("assistant", [call("c1", arguments)]), ("tool", [ToolResult("c1", "x")]))
    assert out.messages[1]["content"] == [use("c1", **expected)]
    assert json.dumps(out.messages[1]["content"][0]["input"]) == json.dumps(expected), "in the same order"
    assert out.losses == losses


def test_an_empty_result_has_no_content_and_flags_are_as_given() -> None:
    out = talk(
        ("user", "1"),
        ("assistant", [call("a"), call("b"), call("c")]),
        (
            "tool",
            [ToolResult("a", ""), ToolResult("b", "x", True), ToolResult("c", [], False, cache=CacheMarker("1h"))],
        ),
    )
    assert out.messages[2]["content"] == [
        result("a"),
        result("b", content="x", is_error=True),
        result("c", is_error=False, cache_control={"type": "ephemeral", "ttl": "1h"}),
    ]


def test_ids_are_fitted_the_same_on_both_sides() -> None:
    out = talk(
        ("user", "1"),
        ("assistant", [call("functions.f:0"), call("functions.f.0")]),
        ("tool", [ToolResult("functions.f.0", "b"), ToolResult("functions.f:0", "a")]),
    )
    other = f"functions_f_0_{hash8('functions.f.0')}"
    assert out.messages[1]["content"] == [use("functions_f_0"), use(other)]
    assert out.messages[2]["content"] == [result(other, content="b"), result("functions_f_0", content="a")]


def test_an_id_used_again_in_a_later_turn_is_another_call() -> None:
    turn = [("assistant", [call("call_0")]), ("tool", [ToolResult("call_0", "x")])]
    out = talk(("user", "1"), *turn, *turn)
    ids = [message["content"][0]["id"] for message in out.messages if message["role"] == "assistant"]
    assert ids == ["call_0", "call_0_1"]
    assert out.messages[-1]["content"][0]["tool_use_id"] == "call_0_1"


def test_missing_ids_pair_by_position() -> None:
    out = talk(("user", "1"), ("assistant", [call(""), call("")]), ("tool", [ToolResult("", "A"), ToolResult("", "B")]))
    first, second = (block["id"] for block in out.messages[1]["content"])
    assert first != second
    assert out.messages[2]["content"] == [result(first, content="A"), result(second, content="B")]


INTERRUPTED = {"content": "[no result: the call was interrupted]", "is_error": True}


def orphan(id_: str, said: str) -> list[Any]:
    return [text(f'<tool_result id="{id_}">'), text(said), text("</tool_result>")]


@pytest.mark.parametrize(
    ("turns", "expected", "losses"),
    [
        ([("user", "1"), ("tool", [ToolResult("c1", "x", at="here")])],
         [("user", [text("1"), *orphan("c1", "x")])], ["here:downgraded"]),
        ([("user", "1"), ("assistant", [call("c1")]), ("user", "2"), ("assistant", "3"), ("user", "4")],
         [("user", "1"), ("assistant", [use("c1")]), ("user", [result("c1", **INTERRUPTED), text("2")]),
          ("assistant", "3"), ("user", "4")], ["call c1:synthesized"]),
        ([("user", "1"), ("assistant", [call("c1")]), ("user", "2")],
         [("user", "1"), ("assistant", [use("c1")]), ("user", [result("c1", **INTERRUPTED), text("2")])],
         ["call c1:synthesized"]),
        ([("user", "1"), ("assistant", [call("c1")]),
          ("tool", [ToolResult("c1", "x"), ToolResult("c1", "y", at="twice")])],
         [("user", "1"), ("assistant", [use("c1")]), ("user", [result("c1", content="x"), *orphan("c1", "y")])],
         ["twice:downgraded"]),
        ([("user", "1"), ("assistant", [call("c1"), call("c2")]), ("tool", [ToolResult("c1", "x")]),
          ("assistant", "ok"),
          ("tool", [ToolResult("c2", "y", at="late")])],
         [("user", "1"), ("assistant", [use("c1"), use("c2")]),
          ("user", [result("c1", content="x"), result("c2", **INTERRUPTED)]), ("assistant", "ok"),
          ("user", orphan("c2", "y"))],
         ["call c2:synthesized", "late:downgraded"]),
        ([("user", "1"), ("assistant", [call("c1")]), ("assistant", [call("c2")]),
          ("tool", [ToolResult("c2", "b"), ToolResult("c1", "a")])],
         [("user", "1"), ("assistant", [use("c1"), use("c2")]),
          ("user", [result("c2", content="b"), result("c1", content="a")])],
         []),
    ],
)  # fmt: skip
def test_what_an_interrupted_turn_left_is_told_in_words(
    turns: list[Any], expected: list[Any], losses: list[str]
) -> None:
    out = talk(*turns)
    assert [(message["role"], message["content"]) for message in out.messages] == expected
    assert out.losses == losses


def test_a_conversation_does_not_end_in_calls() -> None:
    with pytest.raises(Unsupported, match="no result") as error:
        talk(("user", "1"), ("assistant", [call("c1")]))
    assert error.value.path == "call c1"


def test_free_form_calls_are_wrapped() -> None:
    made = ToolCall("c1", "py", "print(1)", kind="custom")
    out = talk(("user", "1"), ("assistant", [made]), ("tool", [ToolResult("c1", "1")]), tools=[Tool("py", "custom")])
    assert out.messages[1]["content"] == [
        {"type": "tool_use", "id": "c1", "name": "py", "input": {"input": "print(1)"}}
    ]


# ---- thinking


def signed(value: str, index: int | None = None, signature: str = "SIG", signer: str = CLAUDE) -> Thinking:
    return Thinking(value, signature, None, signer, index, f"thinking {value}")


def thinking(value: str, signature: str = "SIG") -> dict[str, Any]:
    return {"type": "thinking", "thinking": value, "signature": signature}


def assistant(*blocks: Block | str, model: str = "claude-opus-4-8", signature: str = "") -> tuple[Any, list[str]]:
    ids = [block.id for block in blocks if isinstance(block, ToolCall)]
    results = [ToolResult(id_, "x") for id_ in ids]
    out = talk(("user", "1"), ("assistant", list(blocks)), ("user", results or "2"), model=model)
    return out.messages[1]["content"] if out.messages[1]["role"] == "assistant" else None, out.losses


def test_signed_and_redacted_thinking_comes_first() -> None:
    redacted = Thinking("", None, "RED", CLAUDE, 1)
    content, losses = assistant(signed("why", 0), redacted, "t", call("c1"))
    assert content == [thinking("why"), {"type": "redacted_thinking", "data": "RED"}, text("t"), use("c1")]
    assert losses == []


def test_thinking_goes_back_to_its_place() -> None:
    content, _ = assistant(signed("a", 0), signed("b", 2), call("c1"), call("c2"))
    assert content == [thinking("a"), use("c1"), thinking("b"), use("c2")]
    content, _ = assistant(signed("b", 3), signed("a", 1), signed("x"), "t", call("c1"), call("c2"))
    assert content == [thinking("x"), text("t"), thinking("a"), use("c1"), thinking("b"), use("c2")]


def test_an_order_that_came_interleaved_is_kept() -> None:
    content, _ = assistant(call("c1"), signed("a", 0), call("c2"))
    assert content == [use("c1"), thinking("a"), use("c2")]


def test_positions_past_the_end_come_last() -> None:
    content, _ = assistant(signed("a", 7), "t")
    assert content == [text("t"), thinking("a")]


def test_empty_thinking_text_is_kept_with_its_signature() -> None:
    assert assistant(signed("", 0), "t")[0] == [thinking(""), text("t")]


@pytest.mark.parametrize(
    "block",
    [
        Thinking("r", at="p"),
        Thinking("r", marker.mark("r"), None, marker.SIGNER, at="p"),
        Thinking("", None, "E", "openai-responses-v1", at="p"),
        Thinking("r", "S", None, "google-gemini-v1", at="p"),
        Thinking("r", None, None, CLAUDE, at="p"),
    ],
)
def test_what_claude_did_not_sign_is_never_sent(block: Thinking) -> None:
    content, losses = assistant(block, "a")
    assert content == [text("a")]
    assert losses == ["p:dropped"]


def test_a_lost_block_takes_the_later_ones_with_it_where_they_are_checked() -> None:
    turns: list[tuple[str, Any]] = [
        ("user", "1"), ("assistant", [signed("a", 0), "A"]),
        ("user", "2"), ("assistant", [Thinking("lost", at="lost"), "B"]),
        ("user", "3"), ("assistant", [signed("c", 0), "C"]),
        ("user", "4"),
    ]  # fmt: skip
    out = talk(*turns, model="claude-opus-5-5")
    kept = [
        block["thinking"]
        for m in out.messages
        for block in m["content"]
        if isinstance(block, dict) and "thinking" in block
    ]
    assert kept == ["a"]
    assert out.losses == ["lost:dropped", "thinking c:dropped"]
    assert out.body["thinking"] == {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    assert out.header("anthropic-beta") == "thinking-binding-controls-2026-08-01"
    out = talk(*turns, model="claude-opus-4-8")
    assert out.losses == ["lost:dropped"]
    assert "thinking" not in out.body


def test_opaque_blocks() -> None:
    own, other = Opaque("anthropic_messages", {"type": "server_tool_use"}), Opaque("other", {"type": "x"}, "p")
    content, losses = assistant(own, other, "a")
    assert content == [{"type": "server_tool_use"}, text("a")]
    assert losses == ["p:dropped"]
    with pytest.raises(Unsupported) as error:
        talk(("user", [Opaque("other", {"type": "x"}, "p", essential=True)]))
    assert error.value.path == "p"


# ---- system messages in mid-conversation

ABLE, UNABLE = "claude-opus-4-8", "claude-sonnet-4-5"
WRAPPED = text("<system>\ns\n</system>")
RESULT = [ToolResult("c1", "ok")]


@pytest.mark.parametrize(
    ("model", "turns", "expected", "losses"),
    [
        (ABLE, [("user", "1"), ("system", "s")], [("user", "1"), ("system", "s")], []),
        (ABLE, [("user", "1"), ("system", "s"), ("assistant", "2"), ("user", "3")],
         [("user", "1"), ("system", "s"), ("assistant", "2"), ("user", "3")], []),
        (ABLE, [("user", "1"), ("assistant", "2"), ("system", "s"), ("user", "3")],
         [("user", "1"), ("assistant", "2"), ("user", "3"), ("system", "s")], ["messages[2]:moved"]),
        (ABLE, [("user", "1"), ("system", "s"), ("user", "3")],
         [("user", [text("1"), text("3")]), ("system", "s")], ["messages[1]:moved"]),
        (ABLE, [("user", "1"), ("assistant", [call("c1")]), ("system", "s"), ("tool", RESULT)],
         [("user", "1"), ("assistant", [use("c1")]), ("user", [result("c1", content="ok")]), ("system", "s")],
         ["messages[2]:moved"]),
        (ABLE, [("user", "1"), ("assistant", "2"), ("system", "s")],
         [("user", "1"), ("assistant", "2"), ("user", [WRAPPED])], ["messages[2]:rewritten"]),
        (ABLE, [("user", "1"), ("assistant", "2"), ("system", "s"), ("assistant", "3"), ("user", "4")],
         [("user", "1"), ("assistant", "2"), ("user", [WRAPPED]), ("assistant", "3"), ("user", "4")],
         ["messages[2]:rewritten"]),
        (ABLE, [("user", "1"), ("system", "s"), ("assistant", ""), ("user", "2")],
         [("user", [text("1"), text("2")]), ("system", "s")], ["messages[2]:dropped", "messages[1]:moved"]),
        (ABLE, [("user", "1"), ("system", ["s", "t"]), ("system", "u")],
         [("user", "1"), ("system", [text("s"), text("t")]), ("system", "u")], []),
        (ABLE, [("user", "1"), ("system", "")], [("user", "1")], []),
        (UNABLE, [("user", "1"), ("system", "s")], [("user", [text("1"), WRAPPED])], ["messages[1]:rewritten"]),
        (UNABLE, [("user", "1"), ("assistant", "2"), ("system", "s"), ("user", "3")],
         [("user", "1"), ("assistant", "2"), ("user", [WRAPPED, text("3")])], ["messages[2]:rewritten"]),
        (UNABLE, [("user", "1"), ("assistant", [call("c1")]), ("system", "s"), ("tool", RESULT)],
         [("user", "1"), ("assistant", [use("c1")]), ("user", [result("c1", content="ok"), WRAPPED])],
         ["messages[2]:rewritten"]),
        (UNABLE, [("user", "1"), ("assistant", "2"), ("system", "s")],
         [("user", "1"), ("assistant", "2"), ("user", [WRAPPED])], ["messages[2]:rewritten"]),
    ],
)  # fmt: skip
def test_system_in_mid_conversation(model: str, turns: list[Any], expected: list[Any], losses: list[str]) -> None:
    out = talk(*turns, model=model)
    assert [(message["role"], message["content"]) for message in out.messages] == expected
    assert out.losses == losses


# ---- the end


def test_prefill_where_the_model_takes_it() -> None:
    out = talk(("user", "q"), ("assistant", "The answer is  "))
    assert out.messages[-1] == {"role": "assistant", "content": "The answer is"}
    assert out.losses == ["messages[1]:rewritten"]


@pytest.mark.parametrize("blank", ["", " ", []])
def test_a_blank_turn_behind_an_answer_does_not_ask_to_go_on_with_it(blank: Any) -> None:
    out = talk(("user", "2+2?"), ("assistant", "It is 4."), ("user", blank))
    assert out.messages[-1] == {"role": "user", "content": "Continue."}
    assert "messages:continued" in out.losses


@pytest.mark.parametrize(
    ("model", "content", "members"),
    [
        ("claude-opus-4-8", "The answer is ", {}),
        ("claude-sonnet-4-5", [signed("why")], {}),
    ],
)
def test_otherwise_the_user_says_continue(model: str, content: Any, members: dict[str, Any]) -> None:
    out = talk(("user", "q"), ("assistant", content), model=model, **members)
    assert out.messages[-1] == {"role": "user", "content": "Continue."}
    assert out.messages[-2]["role"] == "assistant"
    assert out.losses == ["messages:continued"]
    if isinstance(content, str):
        assert out.messages[-2]["content"] == content, "not trimmed"


# ---- append-only

SIGNED = st.builds(
    Thinking, st.sampled_from(["", "why"]), st.sampled_from([None, "SIG"]), st.none(),
    st.sampled_from([CLAUDE, "", "google-gemini-v1"]), st.sampled_from([None, 0, 1, 2]), at=st.just("thinking"),
)  # fmt: skip
WORDS = st.sampled_from(["", " ", "a", "bb", "c d"])
SAID = st.sampled_from(["a", "bb", "c d"])
SYSTEM = st.builds(Message, st.just("system"), WORDS, at=st.just("system"))


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Turns of user and assistant, with calls that are answered and system messages anywhere between."""
    messages: list[Message] = []
    maybe_system = st.one_of(st.none(), st.none(), SYSTEM)
    for _ in range(draw(st.integers(1, 5))):
        parts: list[Message | None] = [draw(maybe_system), Message("user", draw(SAID), "user")]
        ids = [f"call.{draw(st.integers(0, 2))}" + "x" * n for n in range(draw(st.integers(0, 2)))]
        # A turn of which nothing is left joins the turns around it: nothing was sent that could come again.
        content: list[Block] = [*draw(st.lists(SIGNED, max_size=2)), Text(draw(WORDS) if ids else "said")]
        content += [ToolCall(id_, "f", "{}") for id_ in ids]
        parts += [draw(maybe_system), Message("assistant", content, "assistant"), draw(maybe_system)]
        parts += [Message("tool", [ToolResult(id_, draw(WORDS))], "tool") for id_ in ids]
        messages += [part for part in parts if part is not None]
    return [*messages, Message("user", "end", "user")]


@settings(max_examples=300, deadline=None)
@given(conversations(), st.sampled_from(["claude-sonnet-4-5", "claude-opus-4-8", "claude-opus-5-5", "kimi-k3"]))
def test_what_was_sent_before_comes_again_byte_for_byte(messages: list[Message], model: str) -> None:
    members: dict[str, Any] = {"tools": F, "system": [Message("system", "be brief", "system")]}
    whole = emit(model, messages=messages, **members).body
    for k, message in enumerate(messages):
        if message.role != "assistant" or messages[k - 1].role == "assistant":
            continue
        before = emit(model, messages=messages[:k], **members).body
        for name in ("system", "tools"):
            assert json.dumps(before[name]) == json.dumps(whole[name])
        then = [json.dumps(turn) for turn in before["messages"]]
        assert then == [json.dumps(turn) for turn in whole["messages"]][: len(then)]


@settings(max_examples=100, deadline=None)
@given(conversations(), st.sampled_from(["claude-sonnet-4-5", "claude-opus-4-8"]))
@pytest.mark.rows("A3")
def test_the_law_of_turns(messages: list[Message], model: str) -> None:
    turns = emit(model, messages=messages, tools=F).messages
    roles = [turn["role"] for turn in turns]
    assert roles[0] == "user"
    for i, turn in enumerate(turns):
        following = roles[i + 1] if i + 1 < len(turns) else None
        if turn["role"] == "system":
            assert roles[i - 1] in ("user", "system")
            assert following in ("assistant", "system", None)
        else:
            assert turn["role"] != following
        uses = {b["id"] for b in turn["content"] if isinstance(b, dict) and b["type"] == "tool_use"}
        if uses:
            answers = [b for b in turns[i + 1]["content"] if isinstance(b, dict) and b["type"] == "tool_result"]
            assert {b["tool_use_id"] for b in answers} == uses
            assert turns[i + 1]["content"][: len(answers)] == answers


def test_a_text_that_was_a_string_is_one_again_when_its_thinking_is_left_out() -> None:
    unsigned = Thinking("why", at="messages[1].reasoning_content")
    at = "messages[1]"
    for said, sent in (
        (Text("a", at), "a"),
        (Text("a", f"{at}.content[0]"), [text("a")]),
        (Text("a", at, CacheMarker()), [text("a") | {"cache_control": {"type": "ephemeral"}}]),
    ):
        assert talk(("user", "q"), ("assistant", [unsigned, said]), ("user", "r")).messages[1]["content"] == sent
