from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.failures import Unsupported
from extproc.llm.request import Message, Reasoning, Sampling, Thinking, Tool, ToolCall, ToolChoice, ToolResult

from ..anthropic_messages.helpers import HI, Emitted, emit

AT = {"reasoning": "reasoning_effort", "effort": "reasoning_effort"}
SHOWN = {"type": "adaptive", "display": "summarized"}
E = "reasoning_effort"


def ask(model: str, effort: str | None = None, max_tokens: int = 4096, **members: Any) -> Emitted:
    return emit(model, reasoning=Reasoning(effort=effort), at=AT, sampling=Sampling(max_tokens), **members)


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "sent", "losses"),
    [
        ("claude-opus-5", None, None, None, []),
        ("claude-opus-5", "high", SHOWN, "high", []),
        ("claude-opus-5", "none", {"type": "disabled"}, None, []),
        ("claude-opus-5-5", "none", None, "low", [f"{E}:downgraded"]),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None, []),
        ("claude-opus-4-8", "low", SHOWN, "low", []),
        ("claude-opus-4-8", "none", None, None, []),
        ("claude-opus-4-6", "xhigh", SHOWN, "high", [f"{E}:downgraded"]),
        ("claude-opus-5", "minimal", SHOWN, "low", [f"{E}:downgraded"]),
        ("claude-opus-5", "max", SHOWN, "max", []),
        ("claude-opus-4-5", "low", {"type": "enabled", "budget_tokens": 2048}, "low", []),
        ("claude-haiku-4-5", "none", None, None, []),
        ("claude-haiku-4-5", "minimal", {"type": "enabled", "budget_tokens": 1024}, None, []),
        ("claude-haiku-4-5", "high", {"type": "enabled", "budget_tokens": 3276}, None, [f"{E}:clamped"]),
        ("kimi-k3", "low", {"type": "enabled", "budget_tokens": 2048}, None, []),
    ],
)
def test_effort(model: str, effort: str | None, thinking: Any, sent: str | None, losses: list[str]) -> None:
    out = ask(model, effort)
    assert out.body.get("thinking") == thinking
    assert out.body.get("output_config", {}).get("effort") == sent
    assert out.losses == losses


@pytest.mark.parametrize(
    ("max_tokens", "budget"), [(2048, 1638), (1025, 1024), (1024, None), (500, None), (20000, 8192)]
)
def test_a_budget_leaves_room_for_the_answer(max_tokens: int, budget: int | None) -> None:
    out = ask("claude-haiku-4-5", "medium", max_tokens)
    assert out.body.get("thinking", {}).get("budget_tokens") == budget
    if budget is None:
        assert out.losses == [f"{E}:dropped"]


def test_an_unknown_effort_is_refused() -> None:
    with pytest.raises(Unsupported) as error:
        ask("claude-opus-5", "huge")
    assert error.value.path == E


@pytest.mark.parametrize(
    ("model", "reasoning", "thinking", "effort", "losses"),
    [
        ("claude-haiku-4-5", Reasoning("budget", budget=3000), {"type": "enabled", "budget_tokens": 3000}, None, []),
        ("claude-haiku-4-5", Reasoning("budget", budget=9000), {"type": "enabled", "budget_tokens": 3276}, None,
         ["thinking:clamped"]),
        ("claude-haiku-4-5", Reasoning("budget", budget=10), {"type": "enabled", "budget_tokens": 1024}, None,
         ["thinking:clamped"]),
        ("claude-haiku-4-5", Reasoning(budget=10), {"type": "enabled", "budget_tokens": 1024}, None,
         ["thinking:clamped"]),
        ("claude-haiku-4-5", Reasoning("adaptive", "low"), {"type": "enabled", "budget_tokens": 2048}, None,
         ["thinking:rewritten"]),
        ("claude-haiku-4-5", Reasoning("off"), None, None, []),
        ("claude-opus-4-6", Reasoning("budget", "max", 3000), {"type": "enabled", "budget_tokens": 3000}, "max", []),
        ("claude-opus-5", Reasoning("budget", budget=3000), {"type": "adaptive"}, "low", ["thinking:rewritten"]),
        ("claude-opus-5", Reasoning(budget=20000), SHOWN, "high", ["thinking:rewritten"]),
        ("claude-opus-5", Reasoning("adaptive", display="omitted"), {"type": "adaptive", "display": "omitted"}, None,
         []),
        ("claude-opus-5", Reasoning(effort="low", exclude=True), {"type": "adaptive", "display": "omitted"}, "low", []),
        ("claude-opus-5", Reasoning("off", "max"), {"type": "disabled"}, None, ["output_config.effort:dropped"]),
        ("claude-opus-5", Reasoning("off", "low"), {"type": "disabled"}, "low", []),
        ("claude-opus-5-5", Reasoning("off"), None, "low", ["thinking:downgraded"]),
        ("claude-opus-5", Reasoning("between_tools"), {"type": "disabled"}, None, ["thinking:downgraded"]),
        ("claude-sonnet-5-5", Reasoning("between_tools", "low"), {"type": "between_tools"}, "low", []),
    ],
)  # fmt: skip
def test_modes(model: str, reasoning: Reasoning, thinking: Any, effort: str | None, losses: list[str]) -> None:
    at = {"reasoning": "thinking", "effort": "output_config.effort"}
    out = emit(model, reasoning=reasoning, at=at, sampling=Sampling(4096))
    assert out.body.get("thinking") == thinking
    assert out.body.get("output_config", {}).get("effort") == effort
    assert out.losses == losses


def test_a_model_that_cannot_be_told() -> None:
    out = ask("kimi-k3", "low", quirks={"reasoning": False})
    assert "thinking" not in out.body
    assert out.losses == [f"{E}:dropped"]


F = [Tool("f", schema={"type": "object"})]


def test_a_forced_call_matters_more_than_a_budget() -> None:
    out = ask("claude-haiku-4-5", "low", tools=F, tool_choice=ToolChoice("required"))
    assert out.body["tool_choice"] == {"type": "any"}
    assert "thinking" not in out.body
    assert out.losses == [f"{E}:dropped"]
    out = ask("claude-opus-4-8", "low", tools=F, tool_choice=ToolChoice("required"))
    assert out.body["thinking"] == SHOWN


def loop(*thinking: Thinking, after: bool = False) -> list[Message]:
    messages = [
        *HI,
        Message("assistant", [*thinking, ToolCall("c", "f", "{}")], "messages[1]"),
        Message("tool", [ToolResult("c", "x")], "messages[2]"),
    ]
    said = [Message("assistant", "so", "messages[3]"), Message("user", "and?", "messages[4]")]
    return messages + said if after else messages


def test_a_budget_needs_the_thinking_of_the_call_that_is_answered() -> None:
    assert ask("claude-haiku-4-5", "low", messages=loop(), tools=F).losses == [f"{E}:dropped"]
    signed = Thinking("why", "SIG", None, "anthropic-claude-v1")
    assert "thinking" in ask("claude-haiku-4-5", "low", messages=loop(signed), tools=F).body
    assert "thinking" in ask("claude-haiku-4-5", "low", messages=loop(after=True), tools=F).body
    assert "thinking" in ask("claude-opus-4-8", "low", messages=loop(), tools=F).body, "an adaptive one does not"


def test_thinking_forbids_prefill() -> None:
    messages = [*HI, Message("assistant", "so", "messages[1]")]
    out = ask("claude-haiku-4-5", "low", messages=messages)
    assert out.messages[-1] == {"role": "user", "content": "Continue."}


def test_replayed_thinking_is_bound_with_what_the_client_asked_for() -> None:
    signed = Thinking("why", "SIG", None, "anthropic-claude-v1")
    out = ask("claude-haiku-5-5", "high", messages=loop(signed), tools=F)
    assert out.body["thinking"] == SHOWN | {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    out = ask("claude-haiku-5-5", "none", messages=loop(signed), tools=F)
    assert out.body["thinking"] == {"type": "disabled"}
    assert out.header("anthropic-beta") is None
