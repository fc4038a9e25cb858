from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.llm.request import (
    Member,
    Message,
    Output,
    Reasoning,
    Sampling,
    ToolCall,
    ToolChoice,
    ToolResult,
)

from .helpers import CLAUDE, HI, NOVA, F, written

NOVA_2 = "us.amazon.nova-2-lite-v1:0"


def nova(effort: str) -> dict[str, Any]:
    return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}


def test_the_model_and_the_stream_are_the_paths() -> None:
    whole, streamed = written(), written(stream=True)
    assert (whole.call.method, whole.call.path) == ("POST", "/model/eu.anthropic.claude-opus-4-8-v1%3A0/converse")
    assert streamed.call.path.endswith("/converse-stream")
    assert whole.body == {"messages": [{"role": "user", "content": [{"text": "hi"}]}]} == streamed.body


def test_the_plain_members() -> None:
    made = written(
        NOVA,
        system=[Message("system", "s", "messages[0]")],
        sampling=Sampling(9, 1.5, 0.5, None, ["x", " "]),
        service_tier="flex",
        extra={"metadata": Member({"a": "b", "c": 1}, "metadata")},
    )
    assert made.body == {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "system": [{"text": "s"}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 1, "topP": 0.5, "stopSequences": ["x"]},
        "serviceTier": {"type": "flex"},
        "requestMetadata": {"a": "b"},
    }
    assert made.losses == ["temperature:clamped", "stop[1]:dropped", "metadata:dropped"]


@pytest.mark.parametrize(
    ("model", "reasoning", "more", "config", "losses"),
    [
        (CLAUDE, Reasoning(effort="low"), {"thinking": {"type": "adaptive", "display": "summarized"}}, "low", []),
        (NOVA, Reasoning(effort="low"), None, None, ["reasoning:dropped"]),
        (NOVA_2, Reasoning(effort="high"), nova("high"), None, []),
        (NOVA_2, Reasoning("adaptive"), nova("medium"), None, []),
        (NOVA_2, Reasoning("budget", budget=1024), nova("low"), None, ["reasoning:rewritten"]),
        (NOVA_2, Reasoning("off"), None, None, []),
        (NOVA_2, Reasoning(effort="none"), None, None, []),
        ("openai.gpt-oss-120b-1:0", Reasoning(effort="high"), {"reasoning_effort": "high"}, None, []),
        (
            "openai.gpt-oss-120b-1:0",
            Reasoning(effort="none"),
            {"reasoning_effort": "low"},
            None,
            ["reasoning:downgraded"],
        ),
        ("anthropic.claude-3-7-sonnet-20250219-v1:0", Reasoning("off"), None, None, []),
    ],
)
def test_how_much_to_think(model: str, reasoning: Reasoning, more: Any, config: Any, losses: list[str]) -> None:
    made = written(model, reasoning=reasoning)
    assert (made.more, made.body.get("outputConfig", {}).get("effort")) == (more, config)
    assert made.losses == losses


def test_novas_most_thinking_allows_no_bound_beside_it() -> None:
    made = written(NOVA_2, reasoning=Reasoning(effort="high"), sampling=Sampling(9))
    assert made.more == nova("medium") and made.losses == ["effort:downgraded"]


def test_a_schema_goes_as_text() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    made = written(output=Output("json_schema", schema, "n"))
    wanted = made.body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert json.loads(wanted["schema"]) == schema and wanted["name"] == "n"


def test_a_json_object_is_asked_for_in_words() -> None:
    made = written(output=Output("json_object"))
    assert made.body["system"][0]["text"].startswith("Respond with one valid JSON object")
    assert made.losses == ["output:emulated"] and made.call.undo.fences


def test_another_instruction_asks_for_no_json() -> None:
    call = ToolCall("c", "f", "{}", at="messages[1]")
    said = [*HI, Message("assistant", [call]), Message("tool", [ToolResult("c", "r")])]
    made = written(tools=[F], tool_choice=ToolChoice("none"), messages=said)
    assert made.body["system"] == [{"text": "Do not call any tool."}] and not made.call.undo.fences


def test_only_claude_takes_what_is_claudes() -> None:
    wish: dict[str, Any] = {"sampling": Sampling(top_k=3, seed=1), "betas": ["b"]}
    claude = written("anthropic.claude-sonnet-4-5-20250929-v1:0", **wish)
    assert claude.more == {"top_k": 3, "anthropic_beta": ["b"]} and claude.losses == ["seed:dropped"]
    assert written(NOVA, **wish).losses == ["top_k:dropped", "seed:dropped", "betas:dropped"]
    # A profile's name does not say what it is: the route may.
    profile = written(
        "arn:aws:bedrock:eu-west-1:1:application-inference-profile/x", quirks={"thinking": "budget"}, **wish
    )
    assert profile.more == {"top_k": 3, "anthropic_beta": ["b"]}
