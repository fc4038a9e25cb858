from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.request import Reasoning, Tool

from ..openai_chat.helpers import emit

ALL = ["none", "low", "medium", "high", "xhigh"]


@pytest.mark.parametrize(
    ("wish", "efforts", "word", "losses"),
    [
        (Reasoning(), ALL, None, []),
        (Reasoning("adaptive"), ALL, None, []),
        (Reasoning("off"), ALL, "none", []),
        (Reasoning("off"), ["minimal", "low"], "minimal", ["reasoning:downgraded"]),
        (Reasoning("between_tools"), ALL, "low", []),
        (Reasoning("budget", budget=1024), ALL, "low", ["reasoning:rewritten"]),
        (Reasoning("budget", budget=4096), ALL, "medium", ["reasoning:rewritten"]),
        (Reasoning("budget", budget=12288), ALL, "high", ["reasoning:rewritten"]),
        (Reasoning("adaptive", "xhigh"), ALL, "xhigh", []),
        (Reasoning(effort="max"), ALL, "xhigh", ["effort:downgraded"]),
        (Reasoning(effort="minimal"), ALL, "none", ["effort:downgraded"]),
        (Reasoning(effort="minimal"), ["medium", "high"], "medium", ["effort:downgraded"]),
        (Reasoning(effort="max"), None, "max", []),
        (Reasoning(effort="brand_new"), ALL, "brand_new", []),
        (Reasoning("adaptive", extra={"x": 1}), ALL, None, ["reasoning.x:dropped"]),
    ],
    ids=repr,
)
def test_efforts(wish: Reasoning, efforts: Any, word: str | None, losses: list[str]) -> None:
    got = emit(reasoning=wish, quirks={"reasoning": True, "efforts": efforts}, at={"effort": "effort"})
    assert (got.body.get("reasoning_effort"), got.losses) == (word, losses)


@pytest.mark.parametrize(
    ("wish", "losses"),
    [
        (Reasoning("budget", budget=5000), ["thinking:dropped"]),
        (Reasoning(effort="high"), ["effort:dropped"]),
        (Reasoning("off"), []),
        (Reasoning(effort="none"), []),
        (Reasoning(), []),
    ],
    ids=repr,
)
def test_a_model_that_does_not_reason(wish: Reasoning, losses: list[str]) -> None:
    at = {"effort": "effort", "reasoning": "thinking"}
    for quirks in ({"reasoning": False}, {"reasoning": True, "efforts": []}):
        got = emit(reasoning=wish, quirks=quirks, at=at)
        assert "reasoning_effort" not in got.body
        assert got.losses == losses


def test_models_that_do_not_reason_with_tools() -> None:
    tools, wish = [Tool("f")], Reasoning(effort="high")
    got = emit(reasoning=wish, tools=tools, quirks={"reasoning": True, "efforts": ALL, "effort_with_tools": False})
    assert (got.body["reasoning_effort"], got.losses) == ("none", ["reasoning:downgraded"])
    got = emit(
        reasoning=wish, tools=tools, quirks={"reasoning": True, "efforts": ["low", "high"], "effort_with_tools": False}
    )
    assert ("reasoning_effort" in got.body, got.losses) == (False, ["reasoning:downgraded"])
