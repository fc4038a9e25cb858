"""Whole conversations through a real Envoy, in both placements, with the vendors' own SDKs as clients."""

from __future__ import annotations

import base64
import threading
from typing import Any

import anthropic
import pydantic
import pytest

from extproc.demo.provider import Gate, json_answer, sse_answer
from tests.support.gateway import CLIENT_KEY, KEYS, Gateway
from tests.support.upstream import chat, chat_stream, events, message, message_events, text_block

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
_PROPERTIES = {"city": {"type": "string"}}
SCHEMA = {"type": "object", "properties": _PROPERTIES, "required": ["city"], "additionalProperties": False}
ANTHROPIC_TOOL: Any = {"name": "get_weather", "description": "Weather", "input_schema": SCHEMA}
OPENAI_TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
HI: Any = [{"role": "user", "content": "hi"}]
CITIES: Any = [{"role": "user", "content": "The weather in Paris and in Rome?"}]


# ---- Anthropic's SDK, an OpenAI upstream


@pytest.mark.rows("C11", "F11", "F15")
def test_anthropic_client_gets_a_whole_answer(envoy: Gateway) -> None:
    answer = envoy.anthropic().messages.create(model="gpt-5", max_tokens=99, system="Be brief.", messages=HI)
    assert "sky is blue" in answer.content[0].text  # type: ignore[union-attr]
    assert (answer.role, answer.stop_reason, answer.model) == ("assistant", "end_turn", "gpt-5")
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0
    seen = envoy.openai_upstream.last
    assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
    assert seen.json()["messages"][-1] == {"role": "user", "content": "hi"}
    assert seen.json()["max_completion_tokens"] == 99
    assert len(envoy.openai_upstream.received) == 1


def test_anthropic_clients_key_stays_behind(envoy: Gateway) -> None:
    envoy.anthropic().messages.create(model="gpt-5", max_tokens=99, messages=HI)
    seen = envoy.openai_upstream.last
    assert seen.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"
    assert CLIENT_KEY not in repr(seen.headers)
    leftovers = [name for name, _ in seen.headers if name.startswith(("x-stainless-", "anthropic-", "x-api-key"))]
    assert leftovers == []
    assert seen.header("host") == "api.openai.com"
    assert seen.header("accept-encoding") is None


def test_the_provider_learns_nothing_of_the_clients_network(envoy: Gateway) -> None:
    envoy.send("/v1/messages", {"model": "gpt-5", "max_tokens": 9, "messages": HI}, {"x-forwarded-for": "10.1.2.3"})
    names = [name for name, _ in envoy.openai_upstream.last.headers]
    assert not [name for name in names if name.startswith(("x-forwarded", "x-envoy", "x-extproc", "forwarded", "via"))]


@pytest.mark.rows("C11")
def test_anthropic_client_gets_a_stream(envoy: Gateway) -> None:
    with envoy.anthropic().messages.stream(model="gpt-5", max_tokens=99, messages=HI) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "sky is blue" in text and final.content[0].text == text  # type: ignore[union-attr]
    assert final.stop_reason == "end_turn" and final.usage.output_tokens > 0
    assert envoy.openai_upstream.last.json()["stream"] is True


@pytest.mark.rows("F8")
def test_anthropic_client_gets_parallel_tools_streamed(envoy: Gateway) -> None:
    with envoy.anthropic().messages.stream(
        model="gpt-5", max_tokens=99, messages=CITIES, tools=[ANTHROPIC_TOOL]
    ) as stream:
        final = stream.get_final_message()
    assert [block.input for block in final.content if block.type == "tool_use"] == [{"city": "Paris"}, {"city": "Rome"}]
    assert len({block.id for block in final.content if block.type == "tool_use"}) == 2
    assert final.stop_reason == "tool_use"


def test_anthropic_client_gives_tool_results(envoy: Gateway) -> None:
    client = envoy.anthropic()
    first = client.messages.create(model="gpt-5", max_tokens=99, messages=CITIES, tools=[ANTHROPIC_TOOL])
    calls = [block for block in first.content if block.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": x.id, "content": f"rain in {x.input['city']}"} for x in calls]
    turns: Any = [*CITIES, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = client.messages.create(model="gpt-5", max_tokens=99, messages=turns, tools=[ANTHROPIC_TOOL])
    assert "rain in Paris; rain in Rome" in second.content[0].text  # type: ignore[union-attr]
    sent = envoy.openai_upstream.last.json()["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "tool", "tool"]
    assert [turn["tool_call_id"] for turn in sent[2:]] == [call["id"] for call in sent[1]["tool_calls"]]


def test_anthropic_client_sends_an_image(envoy: Gateway) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    turns: Any = [{"role": "user", "content": [image, {"type": "text", "text": "what is it?"}]}]
    envoy.anthropic().messages.create(model="gpt-5", max_tokens=99, messages=turns)
    parts = envoy.openai_upstream.last.json()["messages"][0]["content"]
    assert parts[0]["image_url"]["url"] == f"data:image/png;base64,{PNG}"
    assert parts[1] == {"type": "text", "text": "what is it?"}


def test_anthropic_client_thinks_with_an_openai_model(envoy: Gateway) -> None:
    envoy.openai_upstream.will(
        chat_stream({"reasoning_content": "let me "}, {"reasoning_content": "see"}, {"content": "42"})
    )
    with envoy.anthropic().messages.stream(
        model="gpt-5", max_tokens=9000, messages=HI, thinking={"type": "enabled", "budget_tokens": 4096}
    ) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.content[0].thinking == "let me see"  # type: ignore[union-attr]
    assert envoy.openai_upstream.last.json()["reasoning_effort"] == "medium"


def test_anthropic_client_gets_structured_output(envoy: Gateway) -> None:
    envoy.openai_upstream.will(chat('{"city": "Oslo"}'))
    answer = envoy.anthropic().messages.create(
        model="gpt-5", max_tokens=99, messages=HI, output_config={"format": {"type": "json_schema", "schema": SCHEMA}}
    )
    assert answer.content[0].text == '{"city": "Oslo"}'  # type: ignore[union-attr]
    sent = envoy.openai_upstream.last.json()["response_format"]
    assert sent["type"] == "json_schema" and sent["json_schema"]["schema"]["properties"] == SCHEMA["properties"]


# ---- OpenAI's SDK, an Anthropic upstream


@pytest.mark.rows("A1", "C7")
def test_openai_client_gets_a_whole_answer(envoy: Gateway) -> None:
    turns: Any = [{"role": "system", "content": "Be brief."}, *HI]
    answer = envoy.openai().chat.completions.create(model="claude-haiku-4-5", messages=turns)
    assert "sky is blue" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop" and answer.object == "chat.completion"
    assert answer.usage is not None and answer.usage.total_tokens > 0
    seen = envoy.anthropic_upstream.last
    assert (seen.method, seen.path) == ("POST", "/v1/messages")
    assert seen.json()["max_tokens"] > 0
    assert "Be brief." in str(seen.json()["system"])


def test_openai_clients_key_stays_behind(envoy: Gateway) -> None:
    envoy.openai(organization="org-1", project="proj-1").chat.completions.create(model="claude-haiku-4-5", messages=HI)
    seen = envoy.anthropic_upstream.last
    assert seen.header("x-api-key") == KEYS["ANTHROPIC_API_KEY"]
    assert CLIENT_KEY not in repr(seen.headers)
    leftovers = [name for name, _ in seen.headers if name.startswith(("x-stainless-", "openai-", "authorization"))]
    assert leftovers == []
    assert seen.header("anthropic-version") is not None
    assert seen.header("host") == "api.anthropic.com"


@pytest.mark.rows("A1", "C8")
def test_openai_client_gets_a_stream(envoy: Gateway) -> None:
    stream = envoy.openai().chat.completions.create(
        model="claude-haiku-4-5", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "sky is blue" in text
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage is not None and chunks[-1].choices == []


def test_openai_client_gets_parallel_tools_streamed(envoy: Gateway) -> None:
    with envoy.openai().chat.completions.stream(
        model="claude-haiku-4-5", messages=CITIES, tools=[OPENAI_TOOL]
    ) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    assert [call.function.arguments for call in calls] == ['{"city":"Paris"}', '{"city":"Rome"}']
    assert final.choices[0].finish_reason == "tool_calls"


def test_openai_client_gives_tool_results(envoy: Gateway) -> None:
    client = envoy.openai()
    first = client.chat.completions.create(model="claude-haiku-4-5", messages=CITIES, tools=[OPENAI_TOOL])
    said = first.choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in said.tool_calls or []]
    turns: Any = [*CITIES, said.model_dump(exclude_none=True), *results]
    second = client.chat.completions.create(model="claude-haiku-4-5", messages=turns, tools=[OPENAI_TOOL])
    assert "rain; rain" in (second.choices[0].message.content or "")
    sent = envoy.anthropic_upstream.last.json()["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    assert [block["type"] for block in sent[2]["content"]] == ["tool_result", "tool_result"]


def test_openai_client_sends_an_image(envoy: Gateway) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    turns: Any = [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, image]}]
    envoy.openai().chat.completions.create(model="claude-haiku-4-5", messages=turns)
    source = envoy.anthropic_upstream.last.json()["messages"][0]["content"][1]["source"]
    assert source == {"type": "base64", "media_type": "image/png", "data": PNG}


def test_openai_client_sees_an_anthropic_model_think(envoy: Gateway) -> None:
    thinking = [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "let me see"},
        {"type": "signature_delta", "signature": "c2ln"},
    ]
    envoy.anthropic_upstream.will(sse_answer(events(*message_events(thinking, text_block("4", "2")))))
    stream = envoy.openai().chat.completions.create(
        model="claude-haiku-4-5", messages=HI, stream=True, reasoning_effort="high"
    )
    deltas = [chunk.choices[0].delta for chunk in stream if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "42"
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "let me see"


class City(pydantic.BaseModel):
    city: str


def test_openai_client_gets_structured_output(envoy: Gateway) -> None:
    envoy.anthropic_upstream.will(json_answer(message({"type": "text", "text": '{"city": "Oslo"}'})))
    answer = envoy.openai().chat.completions.parse(model="claude-haiku-4-5", messages=HI, response_format=City)
    assert answer.choices[0].message.parsed == City(city="Oslo")
    assert "city" in str(envoy.anthropic_upstream.last.json())


# ---- both


@pytest.mark.rows("A4")
def test_text_is_passed_on_as_it_comes(envoy: Gateway) -> None:
    gate = Gate()
    first, *rest = events(*message_events(text_block("one", "two")))
    envoy.anthropic_upstream.will(sse_answer([first, *rest[:2], gate, *rest[2:]]))
    stream = envoy.openai().chat.completions.create(model="claude-haiku-4-5", messages=HI, stream=True)
    seen = ""
    guard = threading.Timer(20, gate.set)
    guard.start()
    for chunk in stream:
        seen += (chunk.choices and chunk.choices[0].delta.content) or ""
        if seen == "one":
            assert not gate.is_set(), "the text came only after the upstream went on"
            gate.set()
    guard.cancel()
    assert seen == "onetwo"


@pytest.mark.rows("A8", "B12")
def test_any_cut_of_the_upstreams_bytes_is_the_same(envoy: Gateway) -> None:
    whole = b"".join(events(*message_events(text_block("naïve ", "☃ snow"))))
    for size in (1, 7, 64):
        chunks = [whole[i : i + size] for i in range(0, len(whole), size)]
        envoy.anthropic_upstream.will(sse_answer(chunks))
        stream = envoy.openai().chat.completions.create(model="claude-haiku-4-5", messages=HI, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "naïve ☃ snow"


@pytest.mark.parametrize("model", ["gpt-5", "claude-haiku-4-5"])
@pytest.mark.rows("B35")
def test_one_api_on_both_sides_passes_untouched(envoy: Gateway, model: str) -> None:
    body = b'{ "model": "%b", "max_tokens": 5, "x_unknown": [1.0, 1e3],\n "messages": [{"role":"user","content":"hi"}]}'
    path = "/v1/chat/completions" if model == "gpt-5" else "/v1/messages"
    upstream = envoy.openai_upstream if model == "gpt-5" else envoy.anthropic_upstream
    reply = envoy.send(path, body % model.encode(), {"x-api-key": CLIENT_KEY, "anthropic-version": "2023-06-01"})
    assert reply.status == 200
    assert upstream.last.body == body % model.encode()
    assert CLIENT_KEY not in repr(upstream.last.headers)


def test_losses_are_reported_where_the_route_says_so(envoy: Gateway) -> None:
    reply = envoy.messages("gpt-5", top_k=5)
    assert "top_k:dropped" in reply.headers["x-llm-translation"]


def test_losses_refuse_where_the_route_says_so(envoy: Gateway) -> None:
    reply = envoy.messages("reject", top_k=5)
    assert reply.status == 400
    assert reply.json["type"] == "error" and "top_k" in reply.json["error"]["message"]
    assert envoy.openai_upstream.received == []


def test_trailers_after_a_stream_do_not_hide_its_end(envoy: Gateway) -> None:
    answer = chat_stream({"content": "hi"}, trailers=(("x-checksum", "1"),))
    envoy.openai_upstream.will(answer)
    with envoy.anthropic().messages.stream(model="gpt-5", max_tokens=9, messages=HI) as stream:
        assert stream.get_final_message().stop_reason == "end_turn"


@pytest.mark.rows("A12")
def test_access_log_tells_the_exchange_without_credentials(envoy: Gateway) -> None:
    model = "gpt-5-without-keys"
    envoy.anthropic().messages.create(model=model, max_tokens=99, messages=HI)
    entry = envoy.logged(model)
    assert (entry["upstream_api"], entry["model"]) == ("openai_chat", model)
    text = envoy.access_log.read_text()
    assert not [key for key in (CLIENT_KEY, *KEYS.values()) if key in text]


def test_sdk_lists_of_betas_do_not_disturb(envoy: Gateway) -> None:
    answer = envoy.anthropic().beta.messages.create(
        model="gpt-5", max_tokens=99, messages=HI, betas=["context-1m-2025-08-07"]
    )
    assert isinstance(answer, anthropic.types.beta.BetaMessage)
    assert envoy.openai_upstream.last.path == "/v1/chat/completions"


@pytest.mark.rows("F10")
def test_a_search_that_nobody_would_carry_out_is_refused_once(envoy: Gateway) -> None:
    """Claude Code asks for a search by a request of its own: told at once that there is none, it goes on without."""
    search: Any = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]
    asked: Any = [{"role": "user", "content": "Perform a web search for the query: weather in Paris"}]
    with pytest.raises(anthropic.BadRequestError, match="web search is not supported for this model"):
        envoy.anthropic(max_retries=2).messages.create(model="gpt-5", max_tokens=99, messages=asked, tools=search)
    assert envoy.openai_upstream.received == [], "no model was asked, and the SDK did not ask again"
    assert len(envoy.backends.anthropic.received) == 0
