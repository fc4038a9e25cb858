from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from extproc.demo import as_anthropic
from extproc.demo.provider import Received

from .asking import WEATHER

TOOL = {"name": "get_weather"}
EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def answered(**members: Any) -> Any:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": WEATHER}]} | members
    return as_anthropic.answer(Received("POST", "/v1/messages", (), json.dumps(body).encode()))


def body_of(made: Any) -> Any:
    return json.loads(b"".join(made.chunks))


@pytest.mark.parametrize("tools", [[], [TOOL]])
def test_its_answers_are_the_sdks(tools: list[Any]) -> None:
    Message.model_validate(body_of(answered(tools=tools)))
    events = [json.loads(chunk.split(b"data: ")[1]) for chunk in answered(tools=tools, stream=True).chunks]
    for event in events:
        if event["type"] != "ping":
            EVENT.validate_python(event)
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")


@pytest.mark.parametrize(
    ("choice", "calls"),
    [({"type": "auto"}, 2), ({"type": "none"}, 0), ({"type": "any"}, 2), ({"type": "tool", "name": "delete"}, 2)],
)
def test_the_choice_of_a_tool(choice: Any, calls: int) -> None:
    body = body_of(answered(tools=[TOOL], tool_choice=choice))
    names = [block["name"] for block in body["content"] if block["type"] == "tool_use"]
    assert names == [choice.get("name", "get_weather")] * calls
    assert body["stop_reason"] == ("tool_use" if calls else "end_turn")


def test_results_are_told() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "rain"}]}
    said = body_of(answered(messages=[{"role": "user", "content": [result]}], tools=[TOOL]))
    assert said["content"][0]["text"].startswith("Your tools say: rain.")


def test_a_request_that_it_cannot_read_is_refused_in_anthropics_shape() -> None:
    made = as_anthropic.answer(Received("POST", "/v1/messages", (), b"[]"))
    assert made.status == 400 and body_of(made)["error"]["type"] == "invalid_request_error"
