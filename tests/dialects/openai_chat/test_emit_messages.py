"""Conversations as a Chat upstream gets them."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from extproc.dialects.shared.naming import tool_name
from extproc.llm import marker
from extproc.llm.failures import Unsupported
from extproc.llm.request import (
    Block,
    CacheMarker,
    Document,
    Image,
    Message,
    Opaque,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolReference,
    ToolResult,
)

from .helpers import Emitted, emit

CLAUDE = "anthropic-claude-v1"
PNG = Image(Source("base64", "AA", "image/png"), "png")
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


def user(*blocks: Block | str, at: str = "u") -> Message:
    content: Any = blocks[0] if len(blocks) == 1 and isinstance(blocks[0], str) else list(blocks)
    return Message("user", content, at)


def asks(*calls: ToolCall, before: Any = ()) -> Message:
    return Message("assistant", [*before, *calls], "a")


def call(id_: str = "t1", **members: Any) -> ToolCall:
    return ToolCall(id_, "f", at=f"a.{id_}", **{"input": {}, **members})


def sent(*messages: Message, **options: Any) -> Emitted:
    return emit(messages=list(messages), **options)


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def test_system_messages_are_joined() -> None:
    blocks: list[Block] = [Text("A"), Text("", "e"), Text("B", "s[1]", CacheMarker())]
    got = sent(user("hi"), system=[Message("system", blocks, "s"), Message("system", "C", "t")])
    assert got.messages == [{"role": "system", "content": "A\n\nB\n\nC"}, {"role": "user", "content": "hi"}]
    assert got.losses == ["cache:dropped"]
    got = sent(user("hi"), Message("system", "later", "m"), user("x"), quirks={"system_role": "developer"})
    assert [message["role"] for message in got.messages] == ["user", "developer", "user"]


def test_a_string_stays_a_string_and_parts_stay_parts() -> None:
    got = sent(user("a"), Message("assistant", "b", "m"), user(Text("c"), Text(""), PNG))
    assert got.messages == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": [text("c"), PNG_PART]},
    ]
    assert got.losses == []


# ---- calls and results


def test_results_come_directly_after_the_calls_and_their_media_behind_them() -> None:
    results = [
        ToolResult("t1", [Text("see"), PNG, PNG], at="r1"),
        ToolResult("t2", "boom", True, at="r2"),
        ToolResult("t3", "Error already", True, at="r3"),
        ToolResult("t4", at="r4"),
    ]
    got = sent(
        user("q"), asks(call("t1", input={"q": "é"}), call("t2"), call("t3"), call("t4")), user(*results, Text("next"))
    )
    assert [c["function"] for c in got.messages[1]["tool_calls"][:2]] == [
        {"name": "f", "arguments": '{"q":"é"}'},
        {"name": "f", "arguments": "{}"},
    ]
    assert got.messages[1]["content"] is None
    assert got.messages[2:] == [
        {
            "role": "tool",
            "tool_call_id": "t1",
            "content": "see\n[image 1 of tool result t1 follows]\n[image 2 of tool result t1 follows]",
        },
        {"role": "tool", "tool_call_id": "t2", "content": "Error: boom"},
        {"role": "tool", "tool_call_id": "t3", "content": "Error already"},
        {"role": "tool", "tool_call_id": "t4", "content": ""},
        {
            "role": "user",
            "content": [
                text("[image 1 of tool result t1]"),
                PNG_PART,
                text("[image 2 of tool result t1]"),
                PNG_PART,
                text("next"),
            ],
        },
    ]
    assert got.losses == ["r1:rewritten", "r2.is_error:rewritten", "r3.is_error:rewritten"]


def test_results_in_tool_messages() -> None:
    tool = [Message("tool", [ToolResult(id_, [Text("x"), PNG], at=id_)], id_) for id_ in ("t1", "t2")]
    got = sent(asks(call("t1"), call("t2")), *tool, user("next"))
    assert [message["role"] for message in got.messages] == ["assistant", "tool", "tool", "user", "user"]
    assert len(got.messages[3]["content"]) == 4
    assert got.messages[4]["content"] == "next"


def test_what_stands_between_calls_and_results_waits() -> None:
    got = sent(
        asks(call("t1"), call("t2")),
        Message("system", "note", "s"),
        user(ToolResult("t2", "B"), Text("between")),
        user(ToolResult("t1", "A")),
        Message("assistant", "done", "b"),
        user("on"),
    )
    assert [(m["role"], m.get("tool_call_id")) for m in got.messages] == [
        ("assistant", None),
        ("tool", "t2"),
        ("tool", "t1"),
        ("system", None),
        ("user", None),
        ("assistant", None),
        ("user", None),
    ]


def test_documents_of_results() -> None:
    pdf = Document(Source("base64", "AA", "application/pdf"), at="d", title="r.pdf")
    note = Document(Source("text", "hi"), at="n", title="n")
    got = sent(asks(call()), user(ToolResult("t1", [pdf, note], at="r")))
    assert got.messages[1]["content"] == (
        '[document 1 of tool result t1 follows]\n<document title="n">\nhi\n</document>'
    )
    file = {"type": "file", "file": {"filename": "r.pdf", "file_data": "data:application/pdf;base64,AA"}}
    assert got.messages[2]["content"] == [text("[document 1 of tool result t1]"), file]
    assert set(got.losses) == {"r:rewritten", "n:rewritten"}


@pytest.mark.parametrize(
    ("messages", "path", "message"),
    [
        ([asks(call())], "a.t1", "no result"),
        ([asks(call()), Message("assistant", "x", "b")], "a.t1", "no result"),
        ([user(Text(""))], "messages", "not empty"),
        ([user(Opaque("x", {"type": "video"}, "o", essential=True))], "o", "type 'video' is not supported"),
        ([user(call())], "a.t1", "cannot stand here"),
        ([Message("system", [PNG], "s")], "png", "only be text"),
    ],
)
def test_what_is_refused(messages: list[Message], path: str, message: str) -> None:
    with pytest.raises(Unsupported, match=message) as error:
        sent(*messages)
    assert error.value.path == path


def test_ids_that_are_too_long_or_missing() -> None:
    long = "x" * 50
    got = sent(asks(call(long), call("y" * 40)), user(ToolResult(long), ToolResult("y" * 40)))
    first, second = (c["id"] for c in got.messages[0]["tool_calls"])
    assert (len(first), first[:32], second) == (40, "x" * 31 + "_", "y" * 40)
    assert [m["tool_call_id"] for m in got.messages[1:]] == [first, second]
    got = sent(asks(call(long)), user(ToolResult(long)), provider="openai-compatible")
    assert got.messages[1]["tool_call_id"] == long
    got = sent(asks(call("")), user(ToolResult("")))
    assert got.messages[0]["tool_calls"][0]["id"] == got.messages[1]["tool_call_id"] != ""


def test_calls_as_they_are_written() -> None:
    calls = [
        ToolCall("1", "f", arguments='{"b": 1, "a": 2}'),
        ToolCall("2", "f", arguments=" "),
        ToolCall("3", "f", arguments="{bad"),
        ToolCall("4", "py", arguments="print(1)", kind="custom"),
        ToolCall("5", "a.b", input={}, at="c", extra={"x": 1}),
    ]
    got = sent(asks(*calls), user(*(ToolResult(str(n)) for n in range(1, 6))))
    written = got.messages[0]["tool_calls"]
    assert [c["function"]["arguments"] for c in written[:3]] == ['{"b": 1, "a": 2}', "{}", "{bad"]
    assert written[3] == {"id": "4", "type": "custom", "custom": {"name": "py", "input": "print(1)"}}
    name = written[4]["function"]["name"]
    assert name.startswith("ab_")
    assert got.call.undo.names == {name: "a.b"}
    assert got.losses == ["c.x:dropped"]


# ---- the assistant


def test_an_assistants_texts_are_joined() -> None:
    got = sent(user("q"), Message("assistant", [Text("a"), Text("b", refusal=True)], "m"), user("r"))
    assert got.messages[1] == {"role": "assistant", "content": "ab"}
    late = Message("assistant", [call(), Text("late")], "m")
    got = sent(user("q"), late, user(ToolResult("t1")))
    assert got.messages[1]["content"] == "late"
    assert got.losses == ["m:rewritten"]


def test_an_empty_turn_is_left_out() -> None:
    got = sent(user("q"), Message("assistant", "", "m"), user("r"))
    assert [message["role"] for message in got.messages] == ["user", "user"]
    assert got.losses == ["m:dropped"]
    foreign = Opaque("x", {"type": "server_tool_use"}, "o")
    got = sent(user("q"), Message("assistant", [foreign], "m"), user("r"))
    assert got.losses == ["o:dropped"]


def test_a_trailing_turn_of_the_assistant_is_sent_and_reported() -> None:
    got = sent(user("q"), Message("assistant", "The answer is", "m"))
    assert got.messages[-1] == {"role": "assistant", "content": "The answer is"}
    assert got.losses == ["m:downgraded"]


THINKING: list[Block] = [
    Thinking("why", "S", None, CLAUDE, 0, "k0"),
    Thinking("", None, "RED", CLAUDE, 1, "k1"),
    Text("a"),
]
DETAILS = [
    {"type": "reasoning.text", "text": "why", "signature": "S", "format": CLAUDE, "index": 0},
    {"type": "reasoning.encrypted", "data": "RED", "format": CLAUDE, "index": 1},
]


@pytest.mark.parametrize(
    ("field", "members", "losses"),
    [
        ("none", {}, ["k0:dropped", "k1:dropped"]),
        ("reasoning_content", {"reasoning_content": "why"}, ["k1:dropped"]),
        ("reasoning", {"reasoning": "why"}, ["k1:dropped"]),
        ("reasoning_details", {"reasoning": "why", "reasoning_details": DETAILS}, []),
    ],
)
def test_thinking_goes_back_as_the_server_takes_it(field: str, members: Any, losses: list[str]) -> None:
    got = sent(user("q"), Message("assistant", THINKING, "m"), user("r"), quirks={"reasoning_field": field})
    assert got.messages[1] == {"role": "assistant", "content": "a"} | members
    assert got.losses == losses


def test_thinking_without_a_seal_of_a_provider() -> None:
    ours = Thinking("w", marker.mark("w"), None, marker.SIGNER, 0, "k")
    got = sent(user("q"), Message("assistant", [ours], "m"), user("r"), quirks={"reasoning_field": "reasoning_details"})
    assert got.messages[1] == {"role": "assistant", "content": "", "reasoning": "w"}
    sealed = Thinking("x", "S", None, CLAUDE, None, "k")
    got = sent(
        user("q"), Message("assistant", [ours, sealed], "m"), user("r"), quirks={"reasoning_field": "reasoning_details"}
    )
    assert [(d.get("signature"), d["index"]) for d in got.messages[1]["reasoning_details"]] == [(None, 0), ("S", 1)]


# ---- servers with less


def test_strict_templates_get_alternating_turns() -> None:
    quirks = {"alternate_roles": True}
    got = sent(
        user("a"),
        user("b"),
        user(Text("c")),
        Message("assistant", "x", "m"),
        Message("assistant", "y", "n"),
        user("d"),
        quirks=quirks,
    )
    assert got.messages == [
        {"role": "user", "content": "a\n\nb\n\nc"},
        {"role": "assistant", "content": "x\n\ny"},
        {"role": "user", "content": "d"},
    ]


def test_servers_that_take_strings_only() -> None:
    got = sent(user(Text("a"), Text("b")), quirks={"content_parts": False})
    assert got.messages == [{"role": "user", "content": "a\n\nb"}]
    got = sent(user(Text("a"), PNG, at="u"), quirks={"content_parts": False})
    assert got.messages == [{"role": "user", "content": "a\n\n[media omitted: the model takes only text]"}]
    assert got.losses == ["u:dropped"]


def test_members_that_nobody_knows_are_reported() -> None:
    got = sent(Message("user", [Text("a", "t", extra={"y": 1})], "m", "bob", {"x": 1}))
    assert got.messages == [{"role": "user", "content": "a", "name": "bob"}]
    assert got.losses == ["m.x:dropped", "t.y:dropped"]


def test_the_request_is_not_changed() -> None:
    messages = [user(Text("a"), PNG), user(Text("b"))]
    before = repr(messages)
    for _ in range(2):
        sent(*messages, quirks={"alternate_roles": True})
    assert repr(messages) == before


# ---- what stays in the history

GONE = "[no result: the call was interrupted]"


def orphan(id_: str, said: str) -> list[Any]:
    return [text(f'<tool_result id="{id_}">'), text(said), text("</tool_result>")]


def tool(id_: str, said: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": said}


@pytest.mark.parametrize(
    ("messages", "expected", "losses"),
    [
        ([asks(call()), user("x")], [tool("t1", GONE), {"role": "user", "content": "x"}], ["a.t1:synthesized"]),
        ([asks(call()), user("x"), Message("assistant", "y", "b"), user("z")],
         [tool("t1", GONE), {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"},
          {"role": "user", "content": "z"}], ["a.t1:synthesized"]),
        ([asks(call()), user(ToolResult("t1", "A"), ToolResult("t1", "B", at="r"))],
         [tool("t1", "A"), {"role": "user", "content": orphan("t1", "B")}], ["r:downgraded"]),
        ([asks(call("t1"), call("t2")), user(ToolResult("t2", "B")), user("x")],
         [tool("t2", "B"), tool("t1", GONE), {"role": "user", "content": "x"}], ["a.t1:synthesized"]),
        ([asks(call()), user(ToolResult("t1", [Text("see"), ToolReference("f.g", "ref"), PNG]))],
         [tool("t1", f"see\nTool available: {tool_name('f.g')}\n[image omitted: the model takes no images]")],
         ["ref:rewritten", "png:dropped"]),
    ],
)  # fmt: skip
def test_what_stays_in_the_history_is_told_in_words(messages: Any, expected: Any, losses: list[str]) -> None:
    got = sent(*messages, quirks={"image": False})
    assert got.messages[1:] == expected
    assert got.losses == losses


def test_a_result_that_answers_nothing() -> None:
    got = sent(user(ToolResult("t1", "A", at="r"), Text("x")))
    assert got.messages == [{"role": "user", "content": [*orphan("t1", "A"), text("x")]}]


def test_neighbouring_assistants_with_open_calls_are_one_turn() -> None:
    second = Message("assistant", [Text("so", "b"), call("t2")], "b")
    got = sent(asks(call("t1")), second, user(ToolResult("t2", "B"), ToolResult("t1", "A")))
    assert got.messages[0]["content"] == "so"
    assert [each["id"] for each in got.messages[0]["tool_calls"]] == ["t1", "t2"]
    assert got.messages[1:] == [tool("t2", "B"), tool("t1", "A")]


def test_a_template_that_wants_no_user_behind_a_tool() -> None:
    quirks = {"user_after_tool": False, "max_id": 9}
    got = sent(asks(call("toolu_1")), user(ToolResult("toolu_1", "ok"), Text("x")), user("y"), quirks=quirks)
    [answer, result] = got.messages
    assert result["content"] == "ok\n\nx\n\ny"
    assert answer["tool_calls"][0]["id"] == result["tool_call_id"]
    assert re.fullmatch("[A-Za-z0-9]{9}", result["tool_call_id"])
    got = sent(asks(call()), user(ToolResult("t1", "ok"), PNG), quirks=quirks)
    assert [message["role"] for message in got.messages] == ["assistant", "tool", "assistant", "user"]


LATE = Message("system", "note", "s")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user("a"), LATE], [("user", "a"), ("user", "<system>\nnote\n</system>")]),
        ([LATE, user("a")], [("system", "note"), ("user", "a")]),
        ([asks(call()), LATE, user(ToolResult("t1", "A"))],
         [("assistant", None), ("tool", "A"), ("user", "<system>\nnote\n</system>")]),
    ],
)  # fmt: skip
def test_templates_that_take_no_late_system_message(messages: list[Message], expected: list[Any]) -> None:
    got = sent(*messages, quirks={"mid_system": False})
    assert [(message["role"], message["content"]) for message in got.messages] == expected
    got = sent(*messages, quirks={"mid_system": False, "alternate_roles": True})
    roles = [message["role"] for message in got.messages]
    assert all(first != second for first, second in itertools.pairwise(roles))
