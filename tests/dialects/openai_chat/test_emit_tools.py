from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.failures import Unsupported
from extproc.llm.request import CacheMarker, Tool, ToolChoice, WebSearch

from .helpers import Emitted, emit

OPEN: dict[str, Any] = {"type": "object", "properties": {"q": {"type": "string"}}}
CLOSED = OPEN | {"required": ["q"], "additionalProperties": False}
F, G = Tool("f", schema=OPEN, at="f"), Tool("g", at="g")
BASH = Tool("bash", "provider", native={"type": "bash_1"}, dialect="x", at="bash")
SEARCH = Tool("web_search", "web_search", search=WebSearch(max_uses=3, user_location={"city": "Paris"}), at="ws")


def sent(*tools: Tool, choice: ToolChoice | None = None, **options: Any) -> Emitted:
    return emit(tools=list(tools), tool_choice=choice or ToolChoice(), **options)


def test_functions() -> None:
    tool = Tool("f", "function", "d", OPEN, at="t", cache=CacheMarker(), extra={"input_examples": [1]})
    got = sent(tool, G)
    assert got.body["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": OPEN}},
        {"type": "function", "function": {"name": "g"}},
    ]
    assert got.losses == ["cache:dropped", "t.input_examples:dropped"]
    assert "tool_choice" not in got.body


def test_names_that_the_api_does_not_take() -> None:
    got = sent(Tool("mcp.read file"), choice=ToolChoice("tool", ["mcp.read file"]))
    name = got.body["tools"][0]["function"]["name"]
    assert got.body["tool_choice"] == {"type": "function", "function": {"name": name}}
    assert got.call.undo.names == {name: "mcp.read file"}


def test_strictness_only_where_the_schema_allows_it() -> None:
    strict = [
        Tool("a", schema=CLOSED, strict=True),
        Tool("b", schema=OPEN, strict=True, at="b"),
        Tool("c", strict=False),
    ]
    got = sent(*strict)
    assert [tool["function"].get("strict") for tool in got.body["tools"]] == [True, None, None]
    assert got.losses == ["b.strict:dropped"]
    assert sent(strict[0], quirks={"strict_tools": False}).losses == [".strict:dropped"]


def test_free_form_tools() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "d"}
    got = sent(Tool("py", "custom", "run", grammar=grammar), F, choice=ToolChoice("tool", ["py"]))
    form = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "d"}}
    assert got.body["tools"][0] == {"type": "custom", "custom": {"name": "py", "description": "run", "format": form}}
    assert got.body["tool_choice"] == {"type": "custom", "custom": {"name": "py"}}


@pytest.mark.parametrize(
    ("choice", "written", "tools", "losses"),
    [
        (ToolChoice("auto"), "auto", 2, []),
        (ToolChoice("none"), "none", 2, []),
        (ToolChoice("required"), "required", 2, []),
        (ToolChoice("tool", ["f"]), {"type": "function", "function": {"name": "f"}}, 2, []),
        (ToolChoice("required", ["f"]), {"type": "function", "function": {"name": "f"}}, 2, []),
        (ToolChoice("auto", ["f"]), "auto", 1, ["tools:filtered"]),
        (ToolChoice("required", ["f", "g"]), "required", 2, []),
    ],
)
def test_choices(choice: ToolChoice, written: Any, tools: int, losses: list[str]) -> None:
    got = sent(F, G, choice=choice)
    assert (got.body["tool_choice"], len(got.body["tools"]), got.losses) == (written, tools, losses)


def test_a_choice_among_no_tools() -> None:
    assert sent(choice=ToolChoice("auto", parallel=False)).body.keys() == {"model", "messages"}
    assert sent(choice=ToolChoice("required")).losses == ["tool_choice:dropped"]
    with pytest.raises(Unsupported):
        sent(F, choice=ToolChoice("tool", ["zzz"]))


def test_one_call_at_a_time() -> None:
    one = ToolChoice(parallel=False)
    assert sent(F, choice=one).body["parallel_tool_calls"] is False
    got = sent(F, choice=one, quirks={"parallel_tool_calls": False}, at={"parallel": "p"})
    assert "parallel_tool_calls" not in got.body
    assert got.losses == ["p:dropped"]


def test_tools_that_another_provider_runs() -> None:
    got = sent(F, BASH, SEARCH)
    assert len(got.body["tools"]) == 1
    assert got.losses == ["bash:dropped", "ws:dropped"]
    for tool in (BASH, SEARCH):
        for others, choice in (((), None), ((F,), ToolChoice("tool", [tool.name]))):
            with pytest.raises(Unsupported) as error:
                sent(tool, *others, choice=choice)
            assert error.value.path == tool.at
    native = {"type": "new_tool"}
    assert sent(Tool("n", "provider", native=native, dialect="openai_chat")).body["tools"] == [native]


@pytest.mark.parametrize(
    ("search", "options", "losses"),
    [
        (
            SEARCH.search,
            {
                "search_context_size": "medium",
                "user_location": {"type": "approximate", "approximate": {"city": "Paris"}},
            },
            ["ws.max_uses:rewritten"],
        ),
        (WebSearch("high"), {"search_context_size": "high"}, []),
        (WebSearch(max_uses=1), {"search_context_size": "low"}, ["ws.max_uses:rewritten"]),
        (WebSearch(max_uses=9), {"search_context_size": "high"}, ["ws.max_uses:rewritten"]),
        (None, {}, []),
    ],
)
def test_web_search(search: WebSearch | None, options: Any, losses: list[str]) -> None:
    got = sent(Tool("web_search", "web_search", search=search, at="ws"), model="gpt-4o-search-preview")
    assert got.body["web_search_options"] == options
    assert "tools" not in got.body
    assert got.losses == losses
