from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.llm.failures import ProtocolError
from extproc.llm.request import (
    CacheMarker,
    Reasoning,
    Sampling,
    Text,
    ToolChoice,
)

from .helpers import M, read

SPEC = {"toolSpec": {"name": "f", "description": "d", "inputSchema": {"json": {"type": "object"}}}}


def test_the_path_names_the_model_and_the_stream() -> None:
    request, _ = read({}, model="eu.anthropic.claude-opus-4-8-v1%3A0", verb="converse-stream")
    assert (request.model, request.stream) == ("eu.anthropic.claude-opus-4-8-v1:0", True)
    assert read({})[0].stream is False


def test_the_plain_members() -> None:
    request, losses = read(
        {
            "system": [{"text": "A"}, {"cachePoint": {"type": "default", "ttl": "1h"}}, {"text": "B"}],
            "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topP": 1, "stopSequences": ["x"]},
            "additionalModelRequestFields": {"top_k": 5, "anthropic_beta": ["b-1"], "x_own": 1},
            "serviceTier": {"type": "priority"},
            "requestMetadata": {"team": "a"},
            "performanceConfig": {"latency": "optimized"},
        }
    )
    assert losses == []
    assert request.sampling == Sampling(9, 0.5, 1, 5, ["x"])
    assert request.system[0].content == [Text("A", "system[0]", CacheMarker("1h")), Text("B", "system[2]")]
    assert (request.service_tier, request.betas) == ("priority", ["b-1"])
    assert {name: member.path for name, member in request.extra.items()} == {
        "metadata": "requestMetadata",
        "performanceConfig": "performanceConfig",
        "x_own": "additionalModelRequestFields.x_own",
    }
    assert request.path_of("max_tokens") == "inferenceConfig.maxTokens"


@pytest.mark.parametrize(
    ("more", "config", "reasoning"),
    [
        ({}, {}, Reasoning()),
        ({}, {"effort": "low"}, Reasoning(effort="low")),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {}, Reasoning("budget", None, 2000)),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, {}, Reasoning("adaptive", None, None, "omitted")),
        ({"thinking": {"type": "disabled"}}, {"effort": "high"}, Reasoning("off", "high")),
    ],
)
def test_how_much_to_think(more: Any, config: Any, reasoning: Reasoning) -> None:
    request, _ = read({"additionalModelRequestFields": more, "outputConfig": config})
    assert request.reasoning == reasoning


def test_a_schema_comes_as_text() -> None:
    schema = {"schema": json.dumps({"type": "object"}), "name": "n", "description": "d"}
    request, _ = read({"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}})
    assert request.output is not None
    assert (request.output.schema, request.output.name, request.output.description) == ({"type": "object"}, "n", "d")


@pytest.mark.parametrize(
    ("choice", "more", "expected"),
    [
        (None, {}, ToolChoice()),
        ({"auto": {}}, {}, ToolChoice("auto")),
        ({"any": {}}, {}, ToolChoice("required")),
        ({"tool": {"name": "f"}}, {}, ToolChoice("tool", ["f"])),
        (None, {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, ToolChoice("auto", [], False)),
    ],
)
def test_tools_and_the_choice(choice: Any, more: Any, expected: ToolChoice) -> None:
    config = {"tools": [SPEC, {"cachePoint": {"type": "default"}}, {"systemTool": {"name": "nova_grounding"}}]}
    if choice is not None:
        config["toolChoice"] = choice
    request, _ = read({"toolConfig": config, "additionalModelRequestFields": more})
    function, own = request.tools
    assert (function.name, function.description, function.schema) == ("f", "d", {"type": "object"})
    assert function.cache == CacheMarker() and function.at == "toolConfig.tools[0].toolSpec"
    assert (own.kind, own.name) == ("provider", "nova_grounding")
    assert request.tool_choice == expected


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "x", "content": []}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [3]}]}, f"{M}[0]"),
        ({"messages": [{"role": "user", "content": [{"toolUse": {}}]}]}, f"{M}[0]"),
        ({"messages": [{"role": "user", "content": [{"image": {"format": "png"}}]}]}, f"{M}[0].image.source"),
        ({"inferenceConfig": {"maxTokens": 0}}, "inferenceConfig.maxTokens"),
        ({"toolConfig": {"tools": [{"toolSpec": {}}]}}, "toolConfig.tools[0].toolSpec.name"),
        ({"toolConfig": {"toolChoice": {"none": {}}}}, "toolConfig.toolChoice"),
        ({"outputConfig": {"textFormat": {"type": "x"}}}, "outputConfig.textFormat.type"),
    ],
)
def test_what_the_api_does_not_allow(body: Any, path: str) -> None:
    with pytest.raises(ProtocolError) as error:
        read(body)
    assert error.value.path == path


def test_a_guardrail_is_not_forgotten() -> None:
    request, _ = read({"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}})
    assert request.extra["guardrailConfig"].essential
