from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.failures import ProtocolError
from extproc.llm.request import CacheMarker, Tool, ToolChoice, WebSearch

from .helpers import parse

NAME = "openai_chat"
F = {"type": "function", "function": {"name": "f"}}
G = {"type": "function", "function": {"name": "g"}}


def tools(*values: Any, **members: Any) -> list[Tool]:
    return parse({"tools": list(values)} | members)[0].tools


def choice(value: Any, **members: Any) -> ToolChoice:
    return parse({"tools": [F, G], "tool_choice": value} | members)[0].tool_choice


def test_functions() -> None:
    schema = {"type": "object"}
    function = {"name": "f", "description": "d", "parameters": schema, "strict": True, "x": 1}
    [tool] = tools({"type": "function", "function": function, "cache_control": {"ttl": "1h"}})
    at = "tools[0].function"
    assert tool == Tool("f", "function", "d", schema, True, None, None, None, NAME, at, CacheMarker("1h"), {"x": 1})


def test_unknown_members_beside_a_function_are_kept() -> None:
    request, _ = parse({"tools": [F | {"x_new": 1}]})
    assert request.extra["tools[0].x_new"].path == "tools[0].x_new"


@pytest.mark.parametrize(
    ("form", "grammar"),
    [
        (None, None),
        ({"type": "text"}, None),
        (
            {"type": "grammar", "grammar": {"syntax": "lark", "definition": "d"}},
            {"type": "grammar", "syntax": "lark", "definition": "d"},
        ),
    ],
)
def test_free_form_tools(form: Any, grammar: Any) -> None:
    [tool] = tools({"type": "custom", "custom": {"name": "py", "description": "run", "format": form}})
    assert tool == Tool("py", "custom", "run", grammar=grammar, dialect=NAME, at="tools[0]")


def test_tools_of_providers() -> None:
    native = {"type": "some_tool", "x": 1}
    assert tools(native) == [Tool("some_tool", "provider", native=native, dialect=NAME, at="tools[0]")]


def test_web_search() -> None:
    place = {"type": "approximate", "approximate": {"city": "Paris", "region": None}}
    options = {"search_context_size": "low", "user_location": place}
    search = WebSearch("low", user_location={"city": "Paris"})
    at = "web_search_options"
    assert tools(web_search_options=options) == [Tool("web_search", "web_search", search=search, dialect=NAME, at=at)]
    assert tools(web_search_options={})[0].search == WebSearch()


def test_the_older_shape() -> None:
    request, _ = parse({"functions": [{"name": "f"}], "function_call": {"name": "f"}})
    assert request.tools == [Tool("f", dialect=NAME, at="functions[0]")]
    assert request.tool_choice == ToolChoice("tool", ["f"], False)
    assert request.client_state.legacy
    assert request.path_of("tool_choice") == "function_call"
    assert not parse({"tools": [F]})[0].client_state.legacy
    assert parse({"functions": [{"name": "f"}]})[0].tool_choice == ToolChoice(parallel=False)


ALLOWED = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ToolChoice()),
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        (F, ToolChoice("tool", ["f"])),
        ({"type": "custom", "custom": {"name": "g"}}, ToolChoice("tool", ["g"])),
        ({"type": "allowed_tools", "allowed_tools": ALLOWED}, ToolChoice("required", ["g"])),
        ({"type": "allowed_tools", "mode": "auto", "tools": [F, G]}, ToolChoice("auto", ["f", "g"])),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
            ToolChoice("auto", ["f"]),
        ),
    ],
    ids=repr,
)
def test_choices(value: Any, expected: ToolChoice) -> None:
    assert choice(value) == expected


def test_one_call_at_a_time() -> None:
    assert choice("auto", parallel_tool_calls=False) == ToolChoice("auto", [], False)
    assert choice(None, parallel_tool_calls=True) == ToolChoice(None, [], True)


def test_the_newer_choice_wins() -> None:
    request, losses = parse({"tools": [F], "tool_choice": "none", "function_call": "auto"})
    assert request.tool_choice.mode == "none"
    assert losses == ["function_call:dropped"]


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"tools": [3]}, "tools[0]"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": [F], "functions": [{"name": "f"}]}, "functions"),
        ({"functions": ["f"]}, "functions[0]"),
        ({"web_search_options": {"user_location": {"approximate": 3}}}, "web_search_options.user_location.approximate"),
        ({"tools": [F], "tool_choice": G}, "tool_choice"),
        ({"tools": [F], "tool_choice": "f"}, "tool_choice"),
        ({"tools": [F], "tool_choice": 3}, "tool_choice"),
        ({"tools": [F], "tool_choice": {"type": "x"}}, "tool_choice.type"),
        (
            {"tools": [F], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": []}}},
            "tool_choice.allowed_tools.tools",
        ),
        (
            {"tools": [F], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "x"}}},
            "tool_choice.allowed_tools.mode",
        ),
        ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call"),
    ],
    ids=repr,
)
def test_what_the_api_refuses(members: Any, path: str) -> None:
    with pytest.raises(ProtocolError) as error:
        parse(members)
    assert error.value.path == path
