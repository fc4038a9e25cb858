from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.shared.naming import tool_name
from extproc.llm.failures import Unsupported
from extproc.llm.request import CacheMarker, Message, Tool, ToolCall, ToolChoice, ToolResult, WebSearch

from .helpers import HI, Emitted, emit

OBJECT = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"], "additionalProperties": False}
F = Tool("f", description="d", schema=OBJECT, at="tools[0]")
G = Tool("g", schema=OBJECT, at="tools[1]")


def choose(model: str = "claude-sonnet-4-5", tools: list[Tool] | None = None, **choice: Any) -> Emitted:
    return emit(model, tools=[F] if tools is None else tools, tool_choice=ToolChoice(**choice))


def written(tool: Tool, **members: Any) -> tuple[Any, list[str]]:
    out = emit(tools=[tool, *members.pop("more", [])], **members)
    return out.body["tools"][0], out.losses


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (F, {"name": "f", "description": "d", "input_schema": OBJECT}),
        (Tool("f", description=""), {"name": "f", "input_schema": {"type": "object", "properties": {}}}),
        (Tool("f", schema={"properties": {}}), {"name": "f", "input_schema": {"properties": {}, "type": "object"}}),
        (Tool("f", schema={}), {"name": "f", "input_schema": {"type": "object"}}),
        (Tool("f", schema=OBJECT, strict=True), {"name": "f", "input_schema": OBJECT, "strict": True}),
        (Tool("f", schema=OBJECT, strict=False), {"name": "f", "input_schema": OBJECT}),
        (Tool("f", schema=OBJECT, cache=CacheMarker()),
         {"name": "f", "input_schema": OBJECT, "cache_control": {"type": "ephemeral"}}),
    ],
)  # fmt: skip
def test_functions(tool: Tool, expected: Any) -> None:
    assert written(tool) == (expected, [])


def test_a_schema_of_another_type_is_refused() -> None:
    with pytest.raises(Unsupported) as error:
        written(Tool("f", schema={"type": "array"}, at="tools[0]"))
    assert error.value.path == "tools[0]"


def test_strict_outside_the_subset_is_left_out() -> None:
    out, losses = written(Tool("f", schema={**OBJECT, "additionalProperties": True}, strict=True, at="tools[0]"))
    assert "strict" not in out
    assert losses == ["tools[0].strict:dropped"]


def test_at_most_twenty_strict_tools() -> None:
    out = emit(tools=[Tool(f"f{i}", schema=OBJECT, strict=True, at=f"tools[{i}]") for i in range(21)])
    assert sum("strict" in tool for tool in out.body["tools"]) == 20
    assert out.losses == ["tools[20].strict:dropped"]


def test_optional_parameters_are_counted_over_all_tools() -> None:
    names = [f"p{i}" for i in range(20)]
    schema = {"type": "object", "properties": {n: {"type": "string"} for n in names}, "additionalProperties": False}
    out = emit(tools=[Tool(f"f{i}", schema=schema, strict=True, at=f"tools[{i}]") for i in range(2)])
    assert out.losses == ["tools[1].strict:dropped"]


def test_foreign_flags_are_reported() -> None:
    assert written(Tool("f", schema=OBJECT, extra={"x": 1}, at="tools[0]"))[1] == ["tools[0].x:dropped"]


def test_free_form_tools_are_functions_of_one_text() -> None:
    out = emit(tools=[Tool("py", "custom", description="run", at="tools[0]")])
    assert out.body["tools"] == [
        {"name": "py", "description": "run",
         "input_schema": {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"],
                          "additionalProperties": False}}
    ]  # fmt: skip
    assert out.losses == ["tools[0]:emulated"]
    assert out.call.undo.custom == frozenset({"py"})


def test_a_grammar_is_described() -> None:
    out, losses = written(Tool("py", "custom", grammar={"syntax": "lark", "definition": "x"}, at="tools[0]"))
    assert '{"syntax":"lark","definition":"x"}' in out["description"]
    assert losses == ["tools[0]:emulated", "tools[0].format:downgraded"]


@pytest.mark.parametrize(
    ("search", "expected", "losses"),
    [
        (None, {}, []),
        (WebSearch("medium", None, {"city": "Paris", "country": "FR"}),
         {"max_uses": 5, "user_location": {"type": "approximate", "city": "Paris", "country": "FR"}},
         ["web_search_options.search_context_size:rewritten"]),
        (WebSearch("low"), {"max_uses": 1}, ["web_search_options.search_context_size:rewritten"]),
        (WebSearch(None, 3), {"max_uses": 3}, []),
    ],
)  # fmt: skip
def test_web_search(search: WebSearch | None, expected: Any, losses: list[str]) -> None:
    tool = Tool("web_search", "web_search", search=search, at="web_search_options")
    assert written(tool) == ({"type": "web_search_20250305", "name": "web_search", **expected}, losses)


def test_tools_that_anthropic_defines_go_as_they_are() -> None:
    native = {"type": "computer_20250124", "name": "computer", "display_width_px": 1}
    out = emit(tools=[Tool("computer", "provider", native=native, dialect="openai_chat")])
    assert out.body["tools"] == [native]
    assert out.header("anthropic-beta") == "computer-use-2025-01-24"


def test_tools_of_another_provider() -> None:
    hosted = Tool("file_search", "provider", native={"type": "file_search"}, dialect="x", at="tools[0]")
    out = emit(tools=[hosted, G])
    assert [tool["name"] for tool in out.body["tools"]] == ["g"]
    assert out.losses == ["tools[0]:dropped"]
    for members in ({"tools": [hosted]}, {"tools": [hosted, G], "tool_choice": ToolChoice("tool", ["file_search"])}):
        with pytest.raises(Unsupported) as error:
            emit(**members)
        assert error.value.path == "tools[0]"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, None),
        ({"mode": "none"}, {"type": "none"}),
        ({"mode": "auto"}, {"type": "auto"}),
        ({"mode": "required"}, {"type": "any"}),
        ({"mode": "tool", "names": ["f"]}, {"type": "tool", "name": "f"}),
        ({"mode": "required", "parallel": False}, {"type": "any", "disable_parallel_tool_use": True}),
        ({"mode": "none", "parallel": False}, {"type": "none"}),
        ({"parallel": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel": True}, None),
    ],
)
def test_choice(choice: dict[str, Any], expected: Any) -> None:
    out = choose(**choice)
    assert out.body.get("tool_choice") == expected
    assert out.losses == []


def test_a_choice_among_no_tools() -> None:
    assert "tool_choice" not in choose(tools=[], mode="auto").body
    assert choose(tools=[], mode="required").losses == ["tool_choice:dropped"]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(Unsupported) as error:
        choose(mode="tool", names=["zzz"])
    assert error.value.path == "tool_choice"


@pytest.mark.parametrize(
    ("mode", "names", "tools", "choice", "losses"),
    [
        ("required", ["g"], ["f", "g"], {"type": "tool", "name": "g"}, []),
        ("auto", ["g"], ["g"], {"type": "auto"}, ["tools:filtered"]),
        ("auto", ["g", "f"], ["f", "g"], {"type": "auto"}, []),
        ("required", ["g", "f"], ["f", "g"], {"type": "any"}, []),
    ],
)
def test_allowed_tools(mode: Any, names: list[str], tools: list[str], choice: Any, losses: list[str]) -> None:
    out = choose(tools=[F, G], mode=mode, names=names)
    assert [tool["name"] for tool in out.body["tools"]] == tools
    assert out.body["tool_choice"] == choice
    assert out.losses == losses


def test_a_model_that_cannot_be_forced() -> None:
    out = choose("claude-opus-5-5", mode="tool", names=["f"], parallel=False)
    assert out.body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert out.losses == ["tool_choice:downgraded"]


def history(name: str) -> list[Message]:
    return [
        *HI,
        Message("assistant", [ToolCall("c1", name, "{}")], "messages[1]"),
        Message("tool", [ToolResult("c1", "x")], "messages[2]"),
    ]


def test_a_history_of_calls_needs_definitions() -> None:
    out = emit(messages=history("f"))
    assert out.body["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]
    assert out.body["tool_choice"] == {"type": "none"}
    assert out.losses == ["tools:synthesized"]


def test_names_are_changed_everywhere_and_can_be_changed_back() -> None:
    long = "mcp.server/" + "x" * 70
    sent = tool_name(long)
    out = emit(tools=[Tool(long)], tool_choice=ToolChoice("tool", [long]), messages=history(long))
    assert out.body["tools"][0]["name"] == sent
    assert out.body["tool_choice"]["name"] == sent
    assert out.messages[1]["content"][0]["name"] == sent
    assert out.call.undo.names == {sent: long}
