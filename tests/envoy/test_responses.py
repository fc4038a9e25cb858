"""The Responses API through a real Envoy: OpenAI's SDK on other APIs' upstreams, other APIs' SDKs on it, and an agent's
requests as Codex makes them."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.responses import Response

from extproc.demo import as_responses
from extproc.demo.provider import sse_answer
from tests.support.gateway import CLIENT_KEY, KEYS, Gateway
from tests.support.upstream import chat_stream, events, message_events, text_block

SCHEMA: Any = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip
TOOL: Any = {"type": "function", "name": "get_weather", "description": "Weather", "parameters": SCHEMA, "strict": False}
NESTED: Any = {"type": "namespace", "name": "get_weather", "description": "Sky", "tools": [{**TOOL, "name": "weather"}]}
CITIES: Any = [{"role": "user", "content": "The weather in Paris and in Rome?"}]
UPSTREAMS = {"claude-haiku-4-5": "/v1/messages", "gpt-5-by-chat": "/v1/chat/completions", "gpt-5": "/v1/responses"}
models = pytest.mark.parametrize("model", UPSTREAMS)


def last_path(envoy: Gateway, model: str) -> str:
    upstream = envoy.anthropic_upstream if model.startswith("claude") else envoy.openai_upstream
    return upstream.last.path


# ---- OpenAI's SDK


@models
def test_a_whole_answer(envoy: Gateway, model: str) -> None:
    answer = envoy.openai().responses.create(model=model, input="hi", instructions="Be brief.", store=False)
    assert "sky is blue" in answer.output_text
    assert (answer.status, answer.model, answer.error) == ("completed", model, None)
    assert answer.usage is not None and answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0
    assert last_path(envoy, model) == UPSTREAMS[model]


@models
def test_a_stream(envoy: Gateway, model: str) -> None:
    with envoy.openai().responses.stream(model=model, input="hi") as stream:
        kinds, text = [], ""
        for event in stream:
            kinds.append(event.type)
            text += event.delta if event.type == "response.output_text.delta" else ""
        final = stream.get_final_response()
    assert "sky is blue" in text and final.output_text == text
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed"


@pytest.mark.parametrize(
    ("model", "tool"),
    # The provider that is passed to knows no namespaces: it is a scripted one.
    [*((model, TOOL) for model in UPSTREAMS), ("claude-haiku-4-5", NESTED), ("gpt-5-by-chat", NESTED)],
)
def test_parallel_calls_and_their_results(envoy: Gateway, model: str, tool: Any) -> None:
    client = envoy.openai()
    with client.responses.stream(model=model, input=CITIES, tools=[tool]) as stream:
        first = stream.get_final_response()
    calls = [item for item in first.output if item.type == "function_call"]
    assert [call.arguments for call in calls] == ['{"city":"Paris"}', '{"city":"Rome"}']
    if tool is NESTED:
        assert {(call.namespace, call.name) for call in calls} == {("get_weather", "weather")}
    results: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"rain in {call.arguments[9:-2]}"}
        for call in calls
    ]
    items: Any = [*CITIES, *(item.to_dict() for item in first.output), *results]
    second = client.responses.create(model=model, input=items, tools=[tool])
    assert "rain in Paris; rain in Rome" in second.output_text


def test_thinking_and_its_seal_come_back(envoy: Gateway) -> None:
    """Claude's signature goes through the client and back, in the one place that this API has for such things."""
    thinking = [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Let me see."},
        {"type": "signature_delta", "signature": "EqQB+/signed=="},
    ]
    envoy.anthropic_upstream.will(sse_answer(events(*message_events(thinking, text_block("42")))))
    client = envoy.openai()
    include: Any = ["reasoning.encrypted_content"]
    with client.responses.stream(model="claude-haiku-4-5", input="hi", include=include, store=False) as stream:
        first = stream.get_final_response()
    assert [item.type for item in first.output] == ["reasoning", "message"]
    items: Any = [{"role": "user", "content": "hi"}, *(item.to_dict() for item in first.output), *CITIES]
    client.responses.create(model="claude-haiku-4-5", input=items, include=include, store=False)
    sent = envoy.anthropic_upstream.last.json()["messages"][1]["content"]
    assert sent[0] == {"type": "thinking", "thinking": "Let me see.", "signature": "EqQB+/signed=="}


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "gpt-5-by-chat"])
def test_what_is_stored_is_refused_and_says_what_to_do(envoy: Gateway, model: str) -> None:
    with pytest.raises(openai.BadRequestError, match="send the whole conversation in input") as refused:
        envoy.openai().responses.create(model=model, input="and now?", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"
    assert envoy.anthropic_upstream.received == [] and envoy.openai_upstream.received == []


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "gpt-5-by-chat"])
def test_a_stream_that_breaks_off_raises(envoy: Gateway, model: str) -> None:
    envoy.anthropic_upstream.will(sse_answer(events(*message_events(text_block("4"), stop=None))))
    envoy.openai_upstream.will(chat_stream({"content": "4"}, finish=None, done=False))
    with pytest.raises(openai.APIError, match="ended prematurely"):
        list(envoy.openai().responses.create(model=model, input="hi", stream=True))


def test_the_key_of_the_client_stays_behind(envoy: Gateway) -> None:
    envoy.openai().responses.create(model="claude-haiku-4-5", input="hi")
    seen = envoy.anthropic_upstream.last
    assert seen.header("x-api-key") == KEYS["ANTHROPIC_API_KEY"]
    assert CLIENT_KEY not in repr(seen.headers) + repr(seen.body)


# ---- other SDKs, an upstream that speaks Responses

WEATHER: Any = {"name": "get_weather", "description": "Weather", "input_schema": SCHEMA}


def test_anthropic_client_thinks_and_calls_at_once(envoy: Gateway) -> None:
    """Tools together with an effort, which OpenAI's models take by this API only; and the provider's sealed reasoning
    returns to it to the letter, or the scripted provider refuses, as the real one would."""
    client = envoy.anthropic()
    options: Any = {
        "model": "gpt-5-by-responses", "max_tokens": 9000, "tools": [WEATHER],
        "thinking": {"type": "enabled", "budget_tokens": 4096},
    }  # fmt: skip
    with client.messages.stream(messages=CITIES, **options) as stream:
        first = stream.get_final_message()
    assert [block.type for block in first.content] == ["thinking", "tool_use", "tool_use"]
    assert first.content[0].thinking == as_responses.THOUGHT  # type: ignore[union-attr]
    assert first.stop_reason == "tool_use"
    asked = envoy.openai_upstream.last
    assert asked.path == "/v1/responses"
    assert asked.json()["reasoning"] == {"effort": "medium", "summary": "auto"}
    assert (asked.json()["store"], asked.json()["include"]) == (False, ["reasoning.encrypted_content"])
    calls = [block for block in first.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": x.id, "content": f"rain in {x.input['city']}"} for x in calls]
    turns: Any = [*CITIES, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = client.messages.create(messages=turns, **options)
    assert "rain in Paris; rain in Rome" in second.content[-1].text
    sent = envoy.openai_upstream.last.json()["input"]
    assert [item["type"] for item in sent[1:]] == ["reasoning", *["function_call"] * 2, *["function_call_output"] * 2]
    assert sent[1]["encrypted_content"] == as_responses.SEALED


def test_reasoning_without_words_is_redacted_thinking(envoy: Gateway) -> None:
    client, model = envoy.anthropic(), "gpt-5-by-responses"
    options: Any = {"model": model, "max_tokens": 900, "extra_body": {"output_config": {"effort": "low"}}}
    first = client.messages.create(messages=CITIES, **options)
    assert [block.type for block in first.content] == ["redacted_thinking", "text"]
    turns: Any = [*CITIES, {"role": "assistant", "content": first.content}, {"role": "user", "content": "again"}]
    client.messages.create(messages=turns, **options)
    assert envoy.openai_upstream.last.json()["input"][1]["encrypted_content"] == as_responses.SEALED


@pytest.mark.parametrize("stream", [True, False])
def test_chat_client(envoy: Gateway, stream: bool) -> None:
    client, turns = envoy.openai(), list(CITIES)
    tool: Any = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
    for _ in range(2):
        options: Any = {"model": "gpt-5-by-responses", "messages": turns, "tools": [tool]}
        if stream:
            with client.chat.completions.stream(**options) as chunks:
                message = chunks.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(**options).choices[0].message
        turns.append(message.to_dict(exclude_none=True))
        turns += [{"role": "tool", "tool_call_id": x.id, "content": "rain"} for x in message.tool_calls or []]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "tool", "assistant"]
    assert "rain; rain" in turns[-1]["content"]
    assert envoy.openai_upstream.last.path == "/v1/responses"


# ---- an agent


def test_what_codex_sends(envoy: Gateway) -> None:
    """As Codex 0.169 writes it, shortened: items with ids, tools of every kind, nothing stored."""
    patch = {
        "type": "custom",
        "name": "apply_patch",
        "format": {"type": "grammar", "syntax": "lark", "definition": "x"},
    }
    spawn = {"type": "function", "name": "spawn_agent", "strict": False, "parameters": {"type": "object"}}
    search = {"type": "tool_search", "execution": "client", "description": "find", "parameters": {"type": "object"}}
    text = [{"type": "input_text", "text": "Which word is in secret.txt?"}]
    body = {
        "model": "claude-haiku-4-5", "stream": True, "store": False, "tool_choice": "auto",
        "parallel_tool_calls": True, "reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "01a2", "client_metadata": {"session_id": "01a2"},
        "tools": [
            {"type": "function", "name": "exec_command", "strict": False, "parameters": {"type": "object"}},
            {"type": "namespace", "name": "multi_agent_v1", "description": "agents", "tools": [spawn]},
            patch, search, {"type": "web_search", "external_web_access": False},
        ],
        "input": [
            {"type": "message", "id": "msg_1", "role": "developer", "content": [{"type": "input_text", "text": "Do."}]},
            {"type": "message", "id": "msg_2", "role": "user", "content": text},
        ],
    }  # fmt: skip
    headers = {"authorization": f"Bearer {CLIENT_KEY}", "originator": "codex_exec", "session-id": "01a2"}
    reply = envoy.send("/v1/responses", body, headers)
    assert reply.status == 200 and b"response.completed" in reply.body
    sent = envoy.anthropic_upstream.last.json()
    assert [tool["name"] for tool in sent["tools"]] == [
        "exec_command", "multi_agent_v1__spawn_agent", "apply_patch", "tool_search",
    ]  # fmt: skip
    assert sent["system"] == [{"type": "text", "text": "Do."}]
    assert set(reply.headers["x-llm-translation"].split(",")) == {
        "tools[2]:emulated", "tools[2].format:downgraded", "tools[4]:dropped", "reasoning:rewritten",
        "prompt_cache_key:dropped", "tools[1].description:dropped", "client_metadata:dropped",
    }  # fmt: skip


def test_the_sdk_knows_every_member(envoy: Gateway) -> None:
    reply = envoy.send("/v1/responses", {"model": "claude-haiku-4-5", "input": "hi"}, {"x-api-key": CLIENT_KEY})
    Response.model_validate(reply.json, strict=False)
