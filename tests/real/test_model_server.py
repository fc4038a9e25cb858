"""The official SDKs on a real model server that speaks the other API: SmolLM2 under llama.cpp."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.gateway import Gateway

QUESTION: list[Any] = [{"role": "user", "content": "Say hello to Ada."}]
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
ORDER: list[Any] = [{"role": "user", "content": f"Repeat this exactly:\n{CALL}"}]
"""A very small model calls a tool when it is shown how."""
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ANTHROPIC_TOOL: Any = {"name": "get_weather", "description": "The weather in a city", "input_schema": SCHEMA}
OPENAI_TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
RESPONSES_TOOL: Any = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}
PATIENCE = 120.0
by_openais = pytest.mark.parametrize("model", ["by-chat", "by-responses"])
by_others = pytest.mark.parametrize("model", ["by-chat", "by-messages"])


@by_openais
def test_anthropic_sdk_whole(local_models: Gateway, model: str) -> None:
    client = local_models.anthropic(timeout=PATIENCE)
    message = client.messages.create(model=model, max_tokens=20, messages=QUESTION)
    assert message.type == "message"
    assert message.id.startswith("msg_")
    (block,) = message.content
    assert block.type == "text"
    assert block.text.strip()
    assert message.stop_reason in ("end_turn", "max_tokens")
    usage = message.usage
    assert 0 < usage.output_tokens <= 20
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) > 10


@by_openais
def test_anthropic_sdk_streamed(local_models: Gateway, model: str) -> None:
    client = local_models.anthropic(timeout=PATIENCE)
    with client.messages.stream(model=model, max_tokens=20, messages=QUESTION) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(pieces) > 1, "the text came in one piece"
    assert "".join(pieces) == message.content[0].text  # type: ignore[union-attr]
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert message.usage.output_tokens > 0


@by_openais
@pytest.mark.parametrize("streamed", [False, True])
def test_anthropic_sdk_calls_a_tool_and_reports_its_result(local_models: Gateway, streamed: bool, model: str) -> None:
    client = local_models.anthropic(timeout=PATIENCE)
    asked: dict[str, Any] = {"model": model, "max_tokens": 80, "tools": [ANTHROPIC_TOOL]}
    if streamed:
        with client.messages.stream(**asked, tool_choice={"type": "any"}, messages=ORDER) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**asked, tool_choice={"type": "any"}, messages=ORDER)
    (call,) = [block for block in message.content if block.type == "tool_use"]
    assert message.stop_reason == "tool_use"
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}
    said: Any = {"role": "assistant", "content": message.content}
    turns: list[Any] = [*ORDER, said, {"role": "user", "content": [result]}]
    answer = client.messages.create(**asked, messages=turns)
    assert answer.usage.output_tokens > 0


def test_openai_sdk_whole(local_models: Gateway) -> None:
    client = local_models.openai(timeout=PATIENCE)
    completion = client.chat.completions.create(model="by-messages", max_completion_tokens=12, messages=QUESTION)
    (choice,) = completion.choices
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    assert completion.usage is not None
    assert completion.usage.prompt_tokens > 10
    assert 0 < completion.usage.completion_tokens <= 12


def test_openai_sdk_streamed(local_models: Gateway) -> None:
    client = local_models.openai(timeout=PATIENCE)
    options: Any = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model="by-messages", max_completion_tokens=12, messages=QUESTION, stream=True, stream_options=options
        )
    )
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 1, "the text came in one piece"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] in ("stop", "length")
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


@pytest.mark.parametrize("streamed", [False, True])
def test_openai_sdk_calls_a_tool_and_reports_its_result(local_models: Gateway, streamed: bool) -> None:
    client = local_models.openai(timeout=PATIENCE)
    asked: dict[str, Any] = {"model": "by-messages", "max_completion_tokens": 80, "tools": [OPENAI_TOOL]}
    if streamed:
        with client.chat.completions.stream(**asked, tool_choice="required", messages=ORDER) as stream:
            completion: Any = stream.get_final_completion()
    else:
        completion = client.chat.completions.create(**asked, tool_choice="required", messages=ORDER)
    (choice,) = completion.choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    function = {"name": call.function.name, "arguments": call.function.arguments}
    said: Any = {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": function}]}
    turns: list[Any] = [*ORDER, said, {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}]
    answer = client.chat.completions.create(**asked, messages=turns)
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


# ---- OpenAI's SDK, its Responses API


@by_others
@pytest.mark.parametrize("streamed", [False, True])
def test_responses(local_models: Gateway, model: str, streamed: bool) -> None:
    client = local_models.openai(timeout=PATIENCE)
    asked: dict[str, Any] = {"model": model, "input": QUESTION, "max_output_tokens": 20, "store": False}
    if streamed:
        with client.responses.stream(**asked) as stream:
            events: list[Any] = list(stream)
        # The limit cuts the answer off: the SDK's final response is for completed ones alone.
        pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
        answer: Any = events[-1].response
        assert events[-1].type in ("response.completed", "response.incomplete")
        assert len(pieces) > 1 and "".join(pieces) == answer.output_text
    else:
        answer = client.responses.create(**asked)
    assert answer.output_text.strip()
    assert answer.status in ("completed", "incomplete")
    assert answer.usage.input_tokens > 10 and 0 < answer.usage.output_tokens <= 20


@by_others
@pytest.mark.parametrize("streamed", [False, True])
def test_responses_call_a_tool_and_report_its_result(local_models: Gateway, model: str, streamed: bool) -> None:
    client = local_models.openai(timeout=PATIENCE)
    asked: dict[str, Any] = {"model": model, "max_output_tokens": 80, "tools": [RESPONSES_TOOL]}
    if streamed:
        with client.responses.stream(**asked, tool_choice="required", input=ORDER) as stream:
            first: Any = stream.get_final_response()
    else:
        first = client.responses.create(**asked, tool_choice="required", input=ORDER)
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"}
    answer = client.responses.create(**asked, input=[*ORDER, *(item.to_dict() for item in first.output), result])
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0


@pytest.mark.rows("F14")
def test_the_models_name_goes_through_untouched(local_models: Gateway) -> None:
    """F14: a name that only the server knows, a LoRA adapter's for example."""
    message = local_models.anthropic(timeout=PATIENCE).messages.create(model="by-chat", max_tokens=2, messages=QUESTION)
    assert message.model
