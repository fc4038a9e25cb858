from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Translation

from .helpers import (
    HI,
    MESSAGES,
    NEW,
    OLD,
    Json,
    chat,
    reported,
    to_gemini,
)


@pytest.mark.parametrize(
    ("model", "effort", "expected", "losses"),
    [
        (NEW, "low", {"thinkingLevel": "low", "includeThoughts": True}, set()),
        (NEW, "medium", {"thinkingLevel": "high", "includeThoughts": True}, {"reasoning_effort:downgraded"}),
        (NEW, "minimal", {"thinkingLevel": "low", "includeThoughts": True}, {"reasoning_effort:downgraded"}),
        (NEW, "none", {"thinkingLevel": "low"}, {"reasoning_effort:downgraded"}),
        ("gemini-3.5-flash", "medium", {"thinkingLevel": "medium", "includeThoughts": True}, set()),
        ("gemini-3.5-flash", "max", {"thinkingLevel": "high", "includeThoughts": True},
         {"reasoning_effort:downgraded"}),
        ("gemini-3.5-flash", "none", {"thinkingLevel": "minimal"}, {"reasoning_effort:downgraded"}),
        (OLD, "none", {"thinkingBudget": 0}, set()),
        (OLD, "low", {"thinkingBudget": 1024, "includeThoughts": True}, set()),
        (OLD, "high", {"thinkingBudget": 24576, "includeThoughts": True}, set()),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}, {"reasoning_effort:downgraded"}),
        ("gemini-2.0-flash", "high", None, {"reasoning_effort:dropped"}),
        ("gemini-2.0-flash", "none", None, set()),
        ("a-tuned-one", "max", {"thinkingLevel": "max", "includeThoughts": True}, set()),
    ],
)  # fmt: skip
def test_effort(model: str, effort: str, expected: Any, losses: set[str]) -> None:
    sent, lost = chat(model, reasoning_effort=effort)
    assert ((sent.get("generationConfig") or {}).get("thinkingConfig"), lost) == (expected, losses)


@pytest.mark.parametrize(
    ("model", "thinking", "expected", "losses"),
    [
        (OLD, {"type": "enabled", "budget_tokens": 3000}, {"thinkingBudget": 3000, "includeThoughts": True}, set()),
        (OLD, {"type": "enabled", "budget_tokens": 90000}, {"thinkingBudget": 24576, "includeThoughts": True},
         {"thinking:clamped"}),
        (OLD, {"type": "adaptive"}, {"thinkingBudget": -1, "includeThoughts": True}, set()),
        (OLD, {"type": "adaptive", "display": "omitted"}, {"thinkingBudget": -1}, set()),
        (OLD, {"type": "disabled"}, {"thinkingBudget": 0}, set()),
        (NEW, {"type": "enabled", "budget_tokens": 3000}, {"thinkingLevel": "low", "includeThoughts": True},
         {"thinking:rewritten"}),
        (NEW, {"type": "adaptive"}, {"includeThoughts": True}, set()),
        (NEW, {"type": "disabled"}, {"thinkingLevel": "low"}, {"thinking:downgraded"}),
    ],
)  # fmt: skip
def test_claudes_thinking(model: str, thinking: Json, expected: Any, losses: set[str]) -> None:
    t, sent = to_gemini(MESSAGES, {"model": model, "max_tokens": 9, "messages": [HI], "thinking": thinking})
    assert (sent["generationConfig"].get("thinkingConfig"), reported(t)) == (expected, losses)


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3-pro-preview"])
def test_disabled_thinking_wins_over_an_effort(model: str) -> None:
    t = Translation("anthropic_messages", "gemini", route={"provider": "gemini", "auth": "none"}, now=0)
    body: Any = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": "x"}]}
    body |= {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}
    sent = json.loads(t.request(json.dumps(body).encode()).body)
    assert sent["generationConfig"]["thinkingConfig"] in ({"thinkingBudget": 0}, {"thinkingLevel": "low"})
    assert "output_config.effort:downgraded" in [str(loss) for loss in t.losses]


@pytest.mark.parametrize(("wish", "shown"), [({}, False), ({"reasoning_effort": "low"}, True)], ids=str)
def test_who_says_nothing_of_thinking_gets_no_thoughts(wish: Json, shown: bool) -> None:
    sent, _ = chat(NEW, **wish)
    config = (sent.get("generationConfig") or {}).get("thinkingConfig") or {}
    assert config.get("includeThoughts", False) is shown
