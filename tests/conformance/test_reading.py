from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from extproc.conformance import reading
from extproc.conformance.features import BY_NAME
from extproc.llm.fold import Folded, folded
from extproc.llm.request import Message, Output, Reasoning, Request, Text, Thinking, Tool, ToolCall, ToolResult


def asks(*messages: Message, **members: Any) -> Request:
    return Request(dialect="", model="", messages=[*messages], **members)


def answered(name: str) -> Folded:
    return folded(BY_NAME[name].answer)


def test_text_is_the_same_however_it_is_parted() -> None:
    parts = asks(Message("user", [Text("a"), Text("b")]))
    assert reading.user_text(parts) == reading.user_text(asks(Message("user", "a\nb"))) == "a\nb"


def test_a_schema_is_the_same_with_what_apis_add_to_it() -> None:
    plain = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    closed = {**plain, "properties": {"n": {"type": "INTEGER"}}, "additionalProperties": False}
    first, second = (reading.schema(asks(output=Output("json_schema", schema))) for schema in (plain, closed))
    assert first == second
    other = reading.schema(asks(output=Output("json_schema", {**plain, "required": []})))
    assert other != first


def test_a_result_is_known_by_its_tool() -> None:
    call, result = ToolCall("1", "f", "{}"), ToolResult("1", [Text("r")])
    told = asks(Message("assistant", [call]), Message("user", [result]))
    assert reading.results(told) == [("f", "r")] and reading.calls(told) == [("f", {})]
    assert reading.results(asks(Message("user", [result]))) == [("?", "r")]


@pytest.mark.parametrize(
    ("asked", "level"),
    [
        (Reasoning(effort="high"), "high"),
        (Reasoning(budget=1024), "low"),
        (Reasoning(budget=8192), "medium"),
        (Reasoning(budget=24576), "high"),
        (Reasoning(), None),
    ],
)
def test_effort_in_steps(asked: Reasoning, level: str | None) -> None:
    assert reading.effort(asks(reasoning=asked)) == level


def test_a_seal_counts_and_not_what_is_shown_with_it() -> None:
    sealed = Thinking("a summary", encrypted="E", signer="s")
    signed = Thinking("all of it", signature="S")
    call = ToolCall("1", "f", "{}", signature="C")
    told = asks(Message("assistant", [sealed, signed, call]))
    assert reading.signatures(told) == [("", "E"), ("all of it", "S"), ("f", "C")]


def test_tools_without_a_schema() -> None:
    assert reading.tools(asks(tools=[Tool("f")])) == [("f", None, None)]


def test_answers() -> None:
    assert reading.answer_text(answered("answer")) == "Hello, world."
    assert reading.thinking(answered("thinking")) == "Let me see."
    assert reading.made_calls(answered("calls")) == [("get_weather", {"city": c}) for c in ("Paris", "Rome")]
    assert reading.citations(answered("citations")) == ["https://example.com/a"]
    assert reading.usage(answered("usage")) == (31, 12)
    assert reading.failure(answered("rate_limit")) == "rate_limit" and reading.is_failed(answered("broken"))
    assert reading.stop_reason(answered("stop_length")) == "max_tokens" and reading.stop_reason(Folded()) == ""


def test_system_text_wherever_it_stands() -> None:
    leading = asks(system=[Message("system", "a")])
    assert reading.system_text(leading) == "a"
    assert reading.system_text(replace(leading, system=[], messages=[Message("system", "a")])) == "a"
