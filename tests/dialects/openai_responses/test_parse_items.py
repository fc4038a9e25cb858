from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.dialects.openai_responses.words import Carried, write_carrier
from extproc.llm import marker
from extproc.llm.failures import ProtocolError
from extproc.llm.request import Message, Opaque, Request, Text, Thinking, ToolCall, ToolResult

from .helpers import USER, Json, parse

NAME = "openai_responses"


def call(id_: str = "c1", name: str = "f", arguments: Any = "{}", **more: Any) -> Json:
    return {"type": "function_call", "id": "fc_1", "call_id": id_, "name": name, "arguments": arguments, **more}


def output(id_: str = "c1", value: Any = "x", **more: Any) -> Json:
    return {"type": "function_call_output", "call_id": id_, "output": value, **more}


def said(*texts: str, **more: Any) -> Json:
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": parts, **more}


def thought(summary: str = "why", sealed: str | None = "gAAA", **more: Any) -> Json:
    parts = [{"type": "summary_text", "text": summary}] if summary else []
    return {"type": "reasoning", "id": "rs_1", "summary": parts, "encrypted_content": sealed, **more}


def read(*items: Any) -> list[Message]:
    return parse({"input": [USER, *items]})[0].messages[1:]


def turn(*items: Any) -> list[Any]:
    """The blocks of the one turn that *items* make."""
    (message,) = read(*items, USER)[:-1]
    assert message.role == "assistant"
    assert isinstance(message.content, list)
    return message.content


# ---- messages


@pytest.mark.parametrize("kind", [{}, {"type": "message"}, {"type": "message", "id": "msg_1", "status": "completed"}])
@pytest.mark.parametrize(
    ("role", "ours"), [("user", "user"), ("system", "system"), ("developer", "system"), ("assistant", "assistant")]
)
def test_a_message_in_each_of_its_forms(kind: Json, role: str, ours: str) -> None:
    assert read(kind | {"role": role, "content": "a"}) == [Message(ours, "a", "input[1]")]  # type: ignore[arg-type]


def test_an_input_that_is_a_text() -> None:
    assert parse({"input": "hi"})[0].messages == [Message("user", "hi", "input")]


def test_what_the_model_reads_first() -> None:
    body = {
        "instructions": "be brief",
        "input": [{"role": "developer", "content": "b"}, USER, USER | {"role": "system"}],
    }
    request = parse(body)[0]
    assert [(m.role, m.content, m.at) for m in request.system] == [
        ("system", "be brief", "instructions"),
        ("system", "b", "input[0]"),
    ]
    assert [m.role for m in request.messages] == ["user", "system"]


def test_members_that_nobody_knows_stay_with_their_item() -> None:
    (message,) = read({"role": "user", "content": "a", "x": 1})
    assert message.extra == {"x": 1}
    assert turn(said("a", x=1)) == [Text("a", "input[1].content[0]", extra={"x": 1})]
    assert turn(said("a") | {"content": "a", "x": 1}) == [Text("a", "input[1]", extra={"x": 1})]


# ---- turns


def test_what_the_model_said_in_a_row_is_one_turn() -> None:
    blocks = turn(thought(), said("a"), call(), call("c2"))
    assert [type(block) for block in blocks] == [Thinking, Text, ToolCall, ToolCall]
    assert [block.at for block in blocks] == ["input[1]", "input[2].content[0]", "input[3]", "input[4]"]


def test_messages_are_not_glued_together() -> None:
    first, second = read(thought("1"), said("a", phase="commentary"), thought("2"), said("b"))
    assert [[type(block) for block in m.content] for m in (first, second)] == [[Thinking, Text]] * 2


def test_a_text_amid_calls_does_not_part_them_from_their_results() -> None:
    messages = read(call(), said("a"), call("c2"), output(), output("c2"))
    assert [message.role for message in messages] == ["assistant", "tool", "tool"]


def test_calls_and_results_by_turns() -> None:
    messages = read(call(), output(), call("c2"), output("c2"), said("a"))
    assert [message.role for message in messages] == ["assistant", "tool", "assistant", "tool", "assistant"]


# ---- thinking


@pytest.mark.parametrize(
    ("item", "blocks"),
    [
        (thought(), [Thinking("why", None, "gAAA", "openai-responses-v1", at="input[1]")]),
        (thought(""), [Thinking("", None, "gAAA", "openai-responses-v1", at="input[1]")]),
        (thought("why", None), [Thinking("why", at="input[1]")]),
        (
            thought("short", None, content=[{"type": "reasoning_text", "text": "long"}]),
            [Thinking("long", at="input[1]")],
        ),
        (
            thought("why", write_carrier(Carried("why", "S"))),
            [Thinking("why", "S", None, "anthropic-claude-v1", at="input[1]")],
        ),
        (
            thought("", write_carrier(Carried(encrypted="RED"))),
            [Thinking("", None, "RED", "anthropic-claude-v1", at="input[1]")],
        ),
        (
            thought("why", marker.sealed(marker.Seal("google-gemini-v1", "G"))),
            [Thinking("why", "G", None, "google-gemini-v1", at="input[1]")],
        ),
        (
            thought("why", marker.mark("why")),
            [Thinking("why", marker.mark("why"), None, marker.SIGNER, at="input[1]")],
        ),
    ],
)
def test_thinking_belongs_to_whoever_sealed_it(item: Json, blocks: list[Thinking]) -> None:
    assert turn(item, said("a"))[:-1] == blocks


def test_thinking_of_which_nothing_is_left() -> None:
    assert turn(thought("", None), said("a")) == [Text("a", "input[2].content[0]")]


# ---- calls and results


@pytest.mark.parametrize(
    ("item", "block"),
    [
        (call(arguments='{"a": 1.0}'), ToolCall("c1", "f", '{"a": 1.0}', at="input[1]")),
        (call(arguments={"a": 1}), ToolCall("c1", "f", '{"a":1}', at="input[1]")),
        (call(arguments=None), ToolCall("c1", "f", "", at="input[1]")),
        (call(namespace="ns", status="completed"), ToolCall("c1", "ns__f", "{}", at="input[1]")),
        (call(marker.sealed_id("c1", "S=")), ToolCall("c1", "f", "{}", at="input[1]", signature="S=")),
        (call(x=1), ToolCall("c1", "f", "{}", at="input[1]", extra={"x": 1})),
        (
            {"type": "custom_tool_call", "call_id": "c1", "name": "p", "input": "*** Begin"},
            ToolCall("c1", "p", "*** Begin", kind="custom", at="input[1]"),
        ),
    ],
)
def test_a_call(item: Json, block: ToolCall) -> None:
    (message, *_) = read(item)
    assert message == Message("assistant", [block], "input[1]")


IMAGE = {"type": "input_image", "image_url": "https://e.x/a.png"}


@pytest.mark.parametrize("kind", ["function_call_output", "custom_tool_call_output"])
@pytest.mark.parametrize(("value", "content"), [("x", "x"), (None, ""), ([], [])])
def test_a_result(kind: str, value: Any, content: Any) -> None:
    item = output(value=value, id="fco_1", name="f", status="completed") | {"type": kind}
    assert read(call(), item)[1:] == [Message("tool", [ToolResult("c1", content, at="input[2]")], "input[2]")]


def test_a_result_with_an_image() -> None:
    (_, result) = read(call(), output(value=[{"type": "input_text", "text": "a"}, IMAGE]))
    assert [block.at for block in result.content[0].content] == ["input[2].output[0]", "input[2].output[1]"]  # type: ignore[union-attr]


# ---- tools that come later

FOUND: Json = {"type": "function", "name": "late", "parameters": {"type": "object", "properties": {}}, "strict": False}
SEARCH: Json = {"type": "tool_search", "execution": "client", "description": "d", "parameters": {"type": "object"}}


def search(execution: str = "client") -> list[Json]:
    asked = {"type": "tool_search_call", "call_id": "s1", "execution": execution, "arguments": {"query": "x"}}
    return [asked, {"type": "tool_search_output", "call_id": "s1", "execution": execution, "tools": [FOUND]}]


def test_a_search_that_the_client_carries_out_is_a_call_and_its_result() -> None:
    request, _ = parse({"input": [USER, *search()], "tools": [SEARCH]})
    _, asked, answered = request.messages
    assert asked.content == [ToolCall("s1", "tool_search", input={"query": "x"}, at="input[1]")]
    (result,) = list(answered.content)
    assert isinstance(result, ToolResult)
    assert msgspec.json.decode(result.content) == [FOUND]  # type: ignore[arg-type]
    assert [(tool.name, tool.at) for tool in request.tools] == [
        ("tool_search", "tools[0]"),
        ("late", "input[2].tools[0]"),
    ]


def test_tools_that_are_there_already_are_not_loaded_again() -> None:
    more = [{"type": "additional_tools", "role": "developer", "tools": [FOUND]}]
    request, _ = parse({"input": [USER, *search(), *more], "tools": [SEARCH, FOUND]})
    assert [tool.at for tool in request.tools] == ["tools[0]", "tools[1]"]
    request, _ = parse({"input": [USER, *more, *more]})
    assert [tool.at for tool in request.tools] == ["input[1].tools[0]"]


def test_a_search_of_the_providers_says_nothing_to_others() -> None:
    request, losses = parse({"input": [USER, *search("server")]})
    assert ([m.role for m in request.messages], request.tools, losses) == (["user"], [], [])


# ---- what only this API knows


def refused(request: Request) -> list[str]:
    return [path for path, member in request.extra.items() if member.essential]


@pytest.mark.parametrize("kind", ["web_search_call", "shell_call", "mcp_call", "image_generation_call"])
def test_what_the_providers_tools_did_is_part_of_the_turn(kind: str) -> None:
    item = {"type": kind, "id": "x"}
    assert turn(item, said("a"))[0] == Opaque(NAME, item, "input[1]")


@pytest.mark.parametrize("kind", ["shell_call_output", "mcp_approval_response", "brand_new"])
def test_what_the_client_answers_last_must_not_get_lost(kind: str) -> None:
    item = {"type": kind, "x": 1}
    assert read(said("a"), item)[1].content == [Opaque(NAME, item, "input[2]", essential=True)]
    assert read(item, said("a"))[0].content == [Opaque(NAME, item, "input[1]")]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "item_reference", "id": "msg_1"},
        {"id": "msg_1"},
        {"type": "compaction", "encrypted_content": "x"},
        {"type": "compaction_trigger"},
    ],
)
def test_what_only_its_provider_keeps_cannot_be_answered_by_another(item: Json) -> None:
    request, _ = parse({"input": [USER, item]})
    member = request.extra["input[1]"]
    assert member.stored and member.essential
    assert "is not supported for this model" in member.problem


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ([7], r"input\[0\]: expected an object, got an integer"),
        ([{"type": 7}], r"input\[0\]\.type: expected a string"),
        ([{"role": "user"}], r"input\[0\]\.content: is missing"),
        ([{"role": "owner", "content": "x"}], r"input\[0\]\.role: expected one of"),
        ([{"type": "function_call", "call_id": "c"}], r"input\[0\]\.name: is missing"),
        ([call(arguments=[1])], r"input\[0\]\.arguments: expected a string"),
        (7, "input: expected a string or an array"),
    ],
)
def test_what_the_api_does_not_allow(items: Any, problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        parse({"input": items})
