from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.failures import Unsupported
from extproc.llm.request import CacheMarker, Message, Tool, ToolCall, ToolChoice, ToolResult, WebSearch

from .helpers import HI, Emitted, Json, emit

LOOSE: Json = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED: Json = LOOSE | {"required": ["a"], "additionalProperties": False}
LARK: Json = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
F = Tool("f", schema=LOOSE, at="tools[0]")
G = Tool("g", schema=LOOSE, at="tools[1]")
ALLOWED = [{"type": "function", "name": "f"}, {"type": "custom", "name": "p"}]
PATCH = Tool("p", "custom", "d", grammar=LARK, at="tools[0]")


def sent(*tools: Tool, choice: ToolChoice | None = None, **options: Any) -> Emitted:
    return emit(tools=list(tools), tool_choice=choice or ToolChoice(), **options)


def written(name: str = "f", **members: Any) -> Json:
    return {"type": "function", "name": name, "parameters": LOOSE, "strict": False} | members


@pytest.mark.parametrize(
    ("tool", "expected", "losses"),
    [
        (F, written(), []),
        (Tool("f", description="d", schema=LOOSE), written(description="d"), []),
        (Tool("f"), written(parameters={"type": "object", "properties": {}}), []),
        (Tool("f", schema=CLOSED, strict=True), written(parameters=CLOSED, strict=True), []),
        (Tool("f", schema=LOOSE, strict=True, at="tools[0]"), written(), ["tools[0].strict:dropped"]),
        (
            Tool("f", schema=LOOSE, cache=CacheMarker(), extra={"x": 1}, at="tools[0]"),
            written(),
            ["cache:dropped", "tools[0].x:dropped"],
        ),
        (PATCH, {"type": "custom", "name": "p", "description": "d", "format": LARK}, []),
        (Tool("p", "custom"), {"type": "custom", "name": "p"}, []),
    ],
    ids=repr,
)
def test_a_tool(tool: Tool, expected: Json, losses: list[str]) -> None:
    out = sent(tool)
    assert (out.body["tools"], out.losses) == ([expected], losses)


def test_a_server_without_free_form_tools_gets_a_function() -> None:
    out = sent(PATCH, provider="openai-compatible", model="m", choice=ToolChoice("tool", ["p"]))
    (tool,) = out.body["tools"]
    assert tool["type"] == "function" and tool["parameters"]["required"] == ["input"]
    assert "start: /x/" in tool["description"]
    assert out.body["tool_choice"] == {"type": "function", "name": "p"}
    assert out.losses == ["tools[0]:emulated", "tools[0].format:downgraded"]
    assert out.call.undo.custom == {"p"}
    assert sent(PATCH).call.undo.custom == frozenset()


def test_names_that_the_api_does_not_take_are_undone() -> None:
    call = ToolCall("c1", "détails", "{}")
    messages = [*HI, Message("assistant", [call]), Message("user", [ToolResult("c1", "x")])]
    out = emit(tools=[Tool("a.b", schema=LOOSE)], messages=messages)
    name = out.body["tools"][0]["name"]
    assert out.call.undo.names == {name: "a.b", out.input[1]["name"]: "détails"}


# ---- the provider's own


@pytest.mark.parametrize(
    ("search", "expected", "losses"),
    [
        (None, {}, []),
        (
            WebSearch("low", user_location={"city": "Oslo"}),
            {"search_context_size": "low", "user_location": {"type": "approximate", "city": "Oslo"}},
            [],
        ),
        (WebSearch(max_uses=1), {"search_context_size": "low"}, ["tools[0].max_uses:rewritten"]),
        (WebSearch(max_uses=5), {"search_context_size": "medium"}, ["tools[0].max_uses:rewritten"]),
        (WebSearch(max_uses=9), {"search_context_size": "high"}, ["tools[0].max_uses:rewritten"]),
    ],
)
def test_a_search_of_the_web(search: WebSearch | None, expected: Json, losses: list[str]) -> None:
    out = sent(Tool("web_search", "web_search", search=search, at="tools[0]"))
    assert out.body["tools"] == [{"type": "web_search"} | expected]
    assert out.losses == losses


def test_a_server_that_does_not_search() -> None:
    search = Tool("web_search", "web_search", at="tools[1]")
    out = sent(F, search, provider="openai-compatible", model="m")
    assert (len(out.body["tools"]), out.losses) == (1, ["tools[1]:dropped"])
    with pytest.raises(Unsupported, match="web search is not supported"):
        sent(search, provider="openai-compatible", model="m")


def test_tools_that_a_provider_runs() -> None:
    native = {"type": "image_generation"}
    own = Tool("image_generation", "provider", native=native, dialect="openai_responses")
    assert sent(own).body["tools"] == [native]
    other = Tool("computer", "provider", native={"type": "computer"}, dialect="anthropic_messages", at="tools[1]")
    assert sent(F, other).losses == ["tools[1]:dropped"]
    with pytest.raises(Unsupported, match="'computer' is not supported"):
        sent(other)


# ---- the choice


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice(), {}),
        (ToolChoice(parallel=True), {}),
        (ToolChoice(parallel=False), {"parallel_tool_calls": False}),
        (ToolChoice("auto"), {"tool_choice": "auto"}),
        (ToolChoice("none"), {"tool_choice": "none"}),
        (ToolChoice("required"), {"tool_choice": "required"}),
        (ToolChoice("tool", ["g"]), {"tool_choice": {"type": "function", "name": "g"}}),
        (ToolChoice("required", ["f"]), {"tool_choice": {"type": "function", "name": "f"}}),
        (ToolChoice("auto", ["f", "g", "p"]), {"tool_choice": "auto"}),
        (
            ToolChoice("auto", ["f", "p"]),
            {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": ALLOWED}},
        ),
    ],
)
def test_the_choice(choice: ToolChoice, expected: Json) -> None:
    out = sent(F, G, PATCH, choice=choice)
    assert {k: v for k, v in out.body.items() if k in ("tool_choice", "parallel_tool_calls")} == expected
    assert len(out.body["tools"]) == 3, "caches depend on them"
    assert out.losses == []


def test_a_choice_without_tools() -> None:
    out = sent(choice=ToolChoice("required"))
    assert (out.losses, "tools" in out.body) == (["tool_choice:dropped"], False)


def test_a_choice_of_nobody() -> None:
    with pytest.raises(Unsupported, match="names 'x', which is not among the tools"):
        sent(F, choice=ToolChoice("tool", ["x"]))


def test_a_model_that_calls_in_parallel_all_the_same() -> None:
    out = sent(F, choice=ToolChoice(parallel=False), quirks={"parallel_tool_calls": False})
    assert ("parallel_tool_calls" in out.body, out.losses) == (False, ["parallel:dropped"])
