from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.failures import ProtocolError
from extproc.llm.request import (
    Tool,
    ToolChoice,
)

from .helpers import PARAMETERS, Json, parse


@pytest.mark.parametrize(
    ("declared", "schema"),
    [
        ({"parametersJsonSchema": PARAMETERS}, PARAMETERS),
        ({"parameters_json_schema": PARAMETERS, "parameters": {}}, PARAMETERS),
        ({"parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}, PARAMETERS),
        ({}, None),
    ],
)
def test_functions(declared: Json, schema: Any) -> None:
    for name in ("functionDeclarations", "function_declarations"):
        [tool] = parse(tools=[{name: [{"name": "f", "description": "d", **declared}]}]).tools
        assert tool == Tool("f", description="d", schema=schema, dialect="gemini", at=f"tools[0].{name}[0]")


def test_tools_that_google_runs() -> None:
    tools = parse(tools=[{"googleSearch": {}}, {"code_execution": {}, "urlContext": {}}]).tools
    assert [(tool.name, tool.kind, tool.native) for tool in tools] == [
        ("web_search", "web_search", {"googleSearch": {}}),
        ("codeExecution", "provider", {"code_execution": {}}),
        ("urlContext", "provider", {"urlContext": {}}),
    ]


@pytest.mark.parametrize(
    ("config", "choice"),
    [
        (None, ToolChoice()),
        ({"mode": "AUTO"}, ToolChoice("auto")),
        ({"mode": "any"}, ToolChoice("required")),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ToolChoice("tool", ["f"])),
        ({"mode": "ANY", "allowed_function_names": ["f", "g"]}, ToolChoice("required", ["f", "g"])),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}, ToolChoice("auto", ["f"])),
        ({"mode": "NONE"}, ToolChoice("none")),
        ({}, ToolChoice()),
    ],
)
def test_tool_config(config: Any, choice: ToolChoice) -> None:
    tools = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]
    assert parse(tools=tools, toolConfig={"functionCallingConfig": config}).tool_choice == choice


@pytest.mark.parametrize("config", [{"mode": "SOMETIMES"}, {"mode": "ANY", "allowedFunctionNames": ["h"]}])
def test_a_choice_that_there_is_not(config: Json) -> None:
    with pytest.raises(ProtocolError, match=r"toolConfig\.functionCallingConfig"):
        parse(toolConfig={"functionCallingConfig": config})
