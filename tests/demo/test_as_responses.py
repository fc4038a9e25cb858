from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from extproc.demo import as_responses
from extproc.demo.as_responses import SEALED, answer, reasoning
from extproc.demo.provider import Received

TOOL = {"type": "function", "name": "get_weather"}
SEALS = {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def asked(**members: Any) -> Any:
    body = {"model": "m", "input": "Rome?"} | members
    return answer(Received("POST", "/v1/responses", (), json.dumps(body).encode()))


def body_of(made: Any) -> Any:
    return json.loads(b"".join(made.chunks))


def test_a_whole_answer_is_one_of_the_sdk() -> None:
    body = body_of(asked(tools=[TOOL], **SEALS))
    Response.model_validate(body)
    assert [item["type"] for item in body["output"]] == ["reasoning", "function_call"]
    assert body["output"][0]["encrypted_content"] == SEALED


def test_reasoning_is_sealed_for_those_who_ask() -> None:
    (thought, _) = body_of(asked(reasoning={"effort": "low"}))["output"]
    assert "encrypted_content" not in thought and thought["summary"] == []


@pytest.mark.parametrize("members", [{}, {"tools": [TOOL]}, SEALS])
def test_a_stream_is_made_of_the_sdks_events_and_ends_with_the_whole(members: Any) -> None:
    events = [json.loads(chunk.split(b"data: ")[1]) for chunk in asked(stream=True, **members).chunks]
    for event in events:
        EVENT.validate_python(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"]["output"] == body_of(asked(**members))["output"]


@pytest.mark.parametrize(
    ("input_", "problem"),
    [
        ([{**reasoning(), "encrypted_content": "another's"}], "could not be verified"),
        ([{"type": "function_call_output", "call_id": "c", "output": "x"}], "no tool call found for c"),
        (3, "cannot read this"),
    ],
)
def test_what_the_api_refuses(input_: Any, problem: str) -> None:
    made = asked(input=input_)
    assert made.status == 400 and problem in body_of(made)["error"]["message"]


def test_an_error_has_openais_shape() -> None:
    made = as_responses.failure(429, "slow", "rate_limit_error", "c")
    assert body_of(made) == {"error": {"message": "slow", "type": "rate_limit_error", "param": None, "code": "c"}}
