from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.openai_responses.names import Named
from extproc.dialects.openai_responses.state import ResponsesState
from extproc.llm.failures import ProtocolError
from extproc.llm.request import Request, Tool, ToolChoice, WebSearch

from .helpers import Json, parse

NAME = "openai_responses"
LOOSE: Json = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED: Json = LOOSE | {"required": ["a"], "additionalProperties": False}
LARK: Json = {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'}


def function(name: str = "f", **more: Any) -> Json:
    return {"type": "function", "name": name, "parameters": LOOSE, "strict": False, **more}


def read(*tools: Any, **members: Any) -> Request:
    return parse({"tools": list(tools)} | members)[0]


def a_tool(name: str = "f", **members: Any) -> Tool:
    usual: dict[str, Any] = {"schema": LOOSE, "strict": False, "dialect": NAME, "at": "tools[0]"}
    return Tool(name, **(usual | members))


@pytest.mark.parametrize(
    ("value", "tool"),
    [
        (function(), a_tool()),
        (function(description="d"), a_tool(description="d")),
        (function(parameters=None), a_tool(schema=None)),
        (function(strict=True), a_tool(strict=True)),
        (function(strict=None), a_tool(strict=None)),
        (function(strict=None, parameters=CLOSED), a_tool(strict=True, schema=CLOSED)),
        (function(defer_loading=False, allowed_callers=["direct"]), a_tool()),
        (function(output_schema={}), a_tool(extra={"output_schema": {}})),
        (
            {"type": "custom", "name": "p", "description": "d", "format": LARK},
            a_tool("p", kind="custom", description="d", grammar=LARK, schema=None, strict=None),
        ),
        (
            {"type": "custom", "name": "p", "format": {"type": "text"}},
            a_tool("p", kind="custom", schema=None, strict=None),
        ),
    ],
    ids=repr,
)
def test_a_tool(value: Json, tool: Tool) -> None:
    assert read(value).tools == [tool]


@pytest.mark.parametrize("kind", ["web_search", "web_search_2025_08_26", "web_search_preview"])
def test_a_search_of_the_web(kind: str) -> None:
    place = {"type": "approximate", "city": "Oslo", "region": None}
    value = {"type": kind, "search_context_size": "low", "user_location": place, "filters": {"allowed_domains": ["x"]}}
    (tool,) = read(value).tools
    assert (tool.name, tool.kind, tool.native) == ("web_search", "web_search", value)
    assert tool.search == WebSearch("low", user_location={"city": "Oslo"})
    assert tool.extra == {"filters": {"allowed_domains": ["x"]}}


def test_a_search_that_may_not_go_out_is_nobody_elses() -> None:
    """Codex in a sandbox without a network: another provider's search would leave it."""
    value = {"type": "web_search", "external_web_access": False}
    (tool,) = read(value).tools
    assert (tool.kind, tool.native) == ("provider", value)
    assert read({"type": "web_search", "external_web_access": True}).tools[0].kind == "web_search"


@pytest.mark.parametrize("kind", ["code_interpreter", "image_generation", "apply_patch", "shell", "brand_new"])
def test_a_tool_that_the_provider_runs(kind: str) -> None:
    assert read({"type": kind}).tools == [Tool(kind, "provider", native={"type": kind}, dialect=NAME, at="tools[0]")]


@pytest.mark.parametrize("kind", ["mcp", "file_search"])
def test_a_tool_that_reaches_what_is_kept_for_the_client(kind: str) -> None:
    """It is a tool, which a policy may leave out; another provider's model is not asked with it."""
    request = read({"type": kind})
    assert request.tools == [Tool(kind, "provider", native={"type": kind}, dialect=NAME, at="tools[0]")]
    assert request.extra["tools[0]"].essential
    assert kind in request.extra["tools[0]"].problem


def test_a_namespaces_tools_are_tools_of_their_own() -> None:
    inner = [function("read"), {"type": "custom", "name": "patch", "format": LARK}]
    request = read(function(), {"type": "namespace", "name": "mcp__fs", "description": "files", "tools": inner})
    assert [(tool.name, tool.kind, tool.at) for tool in request.tools] == [
        ("f", "function", "tools[0]"),
        ("mcp__fs__read", "function", "tools[1].tools[0]"),
        ("mcp__fs__patch", "custom", "tools[1].tools[1]"),
    ]
    state = request.client_state
    assert isinstance(state, ResponsesState)
    assert state.named == {
        "mcp__fs__read": Named("read", "mcp__fs"),
        "mcp__fs__patch": Named("patch", "mcp__fs"),
    }
    assert request.extra["tools[1].description"].value == "files"


def test_a_search_for_tools() -> None:
    asked = {"type": "tool_search", "execution": "client", "description": "d", "parameters": LOOSE}
    request = read(asked)
    assert request.tools == [a_tool("tool_search", description="d", strict=None)]
    assert request.client_state.searches
    request = read({"type": "tool_search"}, function(defer_loading=True))
    assert [tool.kind for tool in request.tools] == ["provider", "function"]
    assert not request.client_state.searches
    assert request.extra["tools[1].defer_loading"].value is True


def test_a_tool_that_only_code_may_call() -> None:
    member = read(function(allowed_callers=["programmatic"])).extra["tools[0].allowed_callers"]
    assert member.essential and "only code may call" in member.problem


# ---- the choice

TOOLS = [
    function(),
    {"type": "namespace", "name": "ns", "tools": [function("g"), function("h")]},
    {"type": "custom", "name": "p"},
    {"type": "web_search_preview"},
]


def named(name: str, kind: str = "function", **more: Any) -> Json:
    return {"type": kind, "name": name, **more}


@pytest.mark.parametrize(
    ("members", "choice"),
    [
        ({}, ToolChoice()),
        ({"parallel_tool_calls": False}, ToolChoice(parallel=False)),
        ({"tool_choice": "auto", "parallel_tool_calls": True}, ToolChoice("auto", parallel=True)),
        ({"tool_choice": "none"}, ToolChoice("none")),
        ({"tool_choice": "required"}, ToolChoice("required")),
        ({"tool_choice": named("f")}, ToolChoice("tool", ["f"])),
        ({"tool_choice": named("g", namespace="ns")}, ToolChoice("tool", ["ns__g"])),
        ({"tool_choice": named("p", "custom")}, ToolChoice("tool", ["p"])),
        (
            {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [named("f"), named("p", "custom")]}},
            ToolChoice("required", ["f", "p"]),
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [named("ns", "namespace")]}},
            ToolChoice("auto", ["ns__g", "ns__h"]),
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "tools": [{"type": "web_search_preview"}]}},
            ToolChoice("auto", ["web_search"]),
        ),
    ],
    ids=repr,
)
def test_the_choice(members: Json, choice: ToolChoice) -> None:
    assert read(*TOOLS, **members).tool_choice == choice


@pytest.mark.parametrize("kind", ["web_search_preview", "file_search", "mcp", "shell", "apply_patch"])
def test_the_choice_of_a_tool_that_the_provider_runs(kind: str) -> None:
    request = read(*TOOLS, tool_choice={"type": kind})
    assert request.tool_choice == ToolChoice()
    assert request.extra["tool_choice"].essential


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"tools": [{"name": "f"}]}, r"tools\[0\]\.type: is missing"),
        ({"tools": [7]}, r"tools\[0\]: expected an object"),
        ({"tools": [{"type": "function"}]}, r"tools\[0\]\.name: is missing"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]}, "expected function or custom"),
        ({"tool_choice": "maybe"}, "tool_choice: expected auto, none, required or an object"),
        ({"tool_choice": 3}, "tool_choice: expected a string or an object"),
        ({"tool_choice": named("nobody")}, "names 'nobody', which is not among the tools"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "none", "tools": []}}, "tool_choice.mode: expected auto"),
        ({"tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.tools: at least one tool"),
    ],
)
def test_what_the_api_does_not_allow(members: Json, problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        parse(members)
