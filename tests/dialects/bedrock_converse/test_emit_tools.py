from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.request import (
    ToolChoice,
)

from .helpers import CALLED, NOVA, F, written


@pytest.mark.parametrize(
    ("choice", "sent", "more", "losses"),
    [
        (ToolChoice(), None, None, []),
        (ToolChoice("auto"), {"auto": {}}, None, []),
        (ToolChoice("required"), {"any": {}}, None, []),
        (ToolChoice("tool", ["f"]), {"tool": {"name": "f"}}, None, []),
        (
            ToolChoice("auto", [], False),
            {"auto": {}},
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            [],
        ),
    ],
)
def test_tools_and_the_choice(choice: ToolChoice, sent: Any, more: Any, losses: list[str]) -> None:
    made = written(tools=[F], tool_choice=choice)
    spec = {"name": "f", "inputSchema": {"json": {"properties": {}, "type": "object"}}}
    assert made.body["toolConfig"]["tools"] == [{"toolSpec": spec}]
    assert made.body["toolConfig"].get("toolChoice") == sent
    assert (made.more, made.losses) == (more, losses)


def test_one_call_at_a_time_is_claudes_alone() -> None:
    made = written(NOVA, tools=[F], tool_choice=ToolChoice("auto", [], False))
    assert made.more is None and made.losses == ["parallel:dropped"]


def test_no_tool_shall_be_called() -> None:
    assert "toolConfig" not in written(tools=[F], tool_choice=ToolChoice("none")).body
    made = written(messages=CALLED, tools=[F], tool_choice=ToolChoice("none"))
    assert made.body["toolConfig"]["tools"] and made.body["system"] == [{"text": "Do not call any tool."}]
    assert made.losses == ["tool_choice:emulated"]


def test_a_history_of_calls_needs_its_tools() -> None:
    made = written(messages=CALLED)
    assert made.body["toolConfig"]["tools"][0]["toolSpec"]["name"] == "f"
    assert made.losses == ["tools:synthesized"]
    assert made.messages[1:] == [
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c:1", "name": "f", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "c:1", "content": [{"text": "(empty)"}]}}]},
    ]
