"""The Gemini API through a real Envoy: Google's SDK as a client of other providers, other SDKs as clients of Gemini."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types

from extproc.demo.processes import Envoy
from extproc.demo.provider import json_answer, sse_answer
from tests.support import as_gemini
from tests.support.as_gemini import SIGNATURE
from tests.support.gateway import CLIENT_KEY, KEYS, Backends, Gateway, configured
from tests.support.placements import ANTHROPIC, OPENAI, add_cluster, lead
from tests.support.upstream import ScriptedUpstream, chat, events, message, message_events

GEMINI = "provider: gemini\nupstream: gemini\nauth: {header: {x-goog-api-key: '${OPENAI_API_KEY}'}}\nlosses: report\n"
VERTEX = (
    "provider: vertex-ai\nupstream: gemini\nprovider_conf: {project_id: p, region: r}\n"
    "auth: {header: {Authorization: 'Bearer ${OPENAI_API_KEY}'}}\n"
)
ROUTES = {
    "/chat/": ("openai", OPENAI),
    "/messages/": ("anthropic", ANTHROPIC),
    "/vertex/": ("gemini", VERTEX),
    "/": ("gemini", GEMINI),
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="get_weather",
            description="Weather",
            parameters=types.Schema(
                type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)}, required=["city"]
            ),
        )
    ]
)
CITIES = "The weather in Paris and in Rome?"
OFF = types.AutomaticFunctionCallingConfig(disable=True)


@dataclass(frozen=True)
class World:
    gateway: Gateway
    gemini: ScriptedUpstream
    clients: list[genai.Client]
    """They close when nobody holds them."""

    def client(self, prefix: str) -> genai.Client:
        """Google's SDK as a client."""
        where = types.HttpOptions(base_url=f"{self.gateway.url}{prefix}", timeout=30_000)
        self.clients.append(genai.Client(api_key=CLIENT_KEY, http_options=where))
        return self.clients[-1]

    @property
    def openai(self) -> openai.OpenAI:
        return self.gateway.openai()

    @property
    def anthropic(self) -> anthropic.Anthropic:
        return self.gateway.anthropic()


@pytest.fixture(scope="module", params=["listener", "upstream"])
def _world(request: pytest.FixtureRequest, shared: Backends) -> Iterator[World]:
    folder = shared.new_folder(f"gemini-{request.param}")
    with ExitStack() as stack:
        upstream = ScriptedUpstream(as_gemini.answer)
        stack.enter_context(upstream)
        config = configured(shared, request.param, folder / "access.log")
        add_cluster(config, "gemini", "openai", upstream.port)
        lead(config, [(prefix, *rest) for prefix, rest in ROUTES.items()])
        envoy = stack.enter_context(Envoy(folder, config))
        yield World(Gateway(request.param, envoy, shared, folder / "access.log"), upstream, [])


@pytest.fixture
def world(_world: World) -> Iterator[World]:
    _world.gateway.backends.reset()
    _world.gemini.reset()
    yield _world
    assert _world.gateway.envoy.alive() and _world.gateway.backends.sidecar.alive()


def text_of(response: types.GenerateContentResponse) -> str:
    return response.text or ""


# ---- Google's SDK, upstreams of other APIs

OTHERS = pytest.mark.parametrize("prefix", ["/chat", "/messages"])


@OTHERS
@pytest.mark.rows("F17")
def test_googles_client_gets_a_whole_answer(world: World, prefix: str) -> None:
    config = types.GenerateContentConfig(system_instruction="Be brief.", max_output_tokens=99, temperature=0.5)
    answer = world.client(prefix).models.generate_content(model="gpt-4o", contents="hi", config=config)
    assert "sky is blue" in text_of(answer)
    [candidate] = answer.candidates or []
    assert candidate.finish_reason is types.FinishReason.STOP
    assert answer.usage_metadata is not None and (answer.usage_metadata.prompt_token_count or 0) > 0
    assert answer.model_version == "gpt-4o" and answer.response_id
    upstream = world.gateway.openai_upstream if prefix == "/chat" else world.gateway.anthropic_upstream
    seen = upstream.last
    assert seen.json()["model"] == "gpt-4o" and "Be brief." in str(seen.json())
    assert CLIENT_KEY not in f"{seen.path} {seen.headers}" and not [n for n, _ in seen.headers if "goog" in n]


@OTHERS
def test_googles_client_gets_a_stream(world: World, prefix: str) -> None:
    chunks = list(world.client(prefix).models.generate_content_stream(model="gpt-4o", contents="hi"))
    assert len(chunks) > 2 and "sky is blue" in "".join(map(text_of, chunks))
    last = chunks[-1]
    assert last.candidates and last.candidates[0].finish_reason is types.FinishReason.STOP
    assert last.usage_metadata and (last.usage_metadata.candidates_token_count or 0) > 0


@OTHERS
@pytest.mark.parametrize("streamed", [False, True])
def test_googles_client_calls_tools_in_parallel_and_gives_results(world: World, prefix: str, streamed: bool) -> None:
    config = types.GenerateContentConfig(tools=[TOOL], automatic_function_calling=OFF)
    talk = world.client(prefix).chats.create(model="gpt-4o", config=config)
    if streamed:
        calls = [call for chunk in talk.send_message_stream(CITIES) for call in chunk.function_calls or []]
    else:
        calls = list(talk.send_message(CITIES).function_calls or [])
    assert [call.args for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert len({call.id for call in calls}) == 2
    results = [
        types.Part(
            function_response=types.FunctionResponse(
                id=call.id, name=call.name, response={"output": f"rain in {(call.args or {})['city']}"}
            )
        )
        for call in calls
    ]
    assert "rain in Paris; rain in Rome" in text_of(talk.send_message(results))


def test_claudes_thinking_comes_back_through_googles_client(world: World) -> None:
    thinking = {"type": "thinking", "thinking": "Let me see.", "signature": "EqQB+/=="}
    call = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}
    world.gateway.anthropic_upstream.will(json_answer(message(thinking, call, stop="tool_use")))
    config = types.GenerateContentConfig(
        tools=[TOOL], automatic_function_calling=OFF, thinking_config=types.ThinkingConfig(thinking_budget=2048)
    )
    talk = world.client("/messages").chats.create(model="claude-haiku-4-5", config=config)
    [asked] = talk.send_message("Oslo?").function_calls or []
    answered = types.FunctionResponse(id=asked.id, name=asked.name, response={"output": "snow"})
    talk.send_message(types.Part(function_response=answered))
    turn = world.gateway.anthropic_upstream.last.json()["messages"][1]
    assert turn == {"role": "assistant", "content": [thinking, call]}


@OTHERS
def test_googles_client_gets_the_providers_error(world: World, prefix: str) -> None:
    upstream = world.gateway.openai_upstream if prefix == "/chat" else world.gateway.anthropic_upstream
    refused = json_answer({"error": {"type": "rate_limit_error", "message": "slow down"}}, 429)
    upstream.will(refused, refused, refused)  # Envoy asks again
    with pytest.raises(errors.ClientError) as failed:
        world.client(prefix).models.generate_content(model="gpt-4o", contents="hi")
    assert (failed.value.code, failed.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert failed.value.message == "slow down"


def test_a_stream_that_is_cut_ends_in_an_error(world: World) -> None:
    world.gateway.anthropic_upstream.will(sse_answer(events(*message_events(text("Once upon"), stop=None))))
    with pytest.raises(errors.APIError, match="ended prematurely"):
        list(world.client("/messages").models.generate_content_stream(model="claude-haiku-4-5", contents="hi"))


def text(said: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": ""}, {"type": "text_delta", "text": said}]


def test_a_stream_without_events_is_one_array(world: World) -> None:
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    reply = world.gateway.send(f"/chat/v1beta/models/gpt-4o:streamGenerateContent?key={CLIENT_KEY}", body)
    assert reply.status == 200 and reply.headers["content-type"].startswith("application/json")
    texts = [part["text"] for each in reply.json for part in each["candidates"][0]["content"]["parts"]]
    assert "sky is blue" in "".join(texts) and len(reply.json) > 2
    assert CLIENT_KEY not in world.gateway.openai_upstream.last.path


def test_googles_client_gets_structured_output(world: World) -> None:
    world.gateway.openai_upstream.will(chat('{"city": "Oslo"}'))
    config = types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=SCHEMA)
    answer = world.client("/chat").models.generate_content(model="gpt-4o", contents="hi", config=config)
    assert json.loads(text_of(answer)) == {"city": "Oslo"}
    assert world.gateway.openai_upstream.last.json()["response_format"]["json_schema"]["schema"] == SCHEMA


def test_googles_client_counts_tokens_where_nobody_else_does(world: World) -> None:
    world.gateway.openai_upstream.will(json_answer({"error": {"message": "unknown path"}}, 404))
    counted = world.client("/chat").models.count_tokens(model="gpt-4o", contents="hello " * 100)
    assert 90 <= (counted.total_tokens or 0) <= 130


# ---- Google's SDK, Gemini itself


@pytest.mark.rows("B8")
def test_one_api_on_both_sides_passes(world: World) -> None:
    client = world.client("")
    assert "sky is blue" in text_of(client.models.generate_content(model="gemini-3-pro", contents="hi"))
    seen = world.gemini.last
    assert seen.path == "/v1beta/models/gemini-3-pro:generateContent"
    assert seen.header("x-goog-api-key") == KEYS["OPENAI_API_KEY"] and CLIENT_KEY not in str(seen.headers)
    chunks = list(client.models.generate_content_stream(model="gemini-3-pro", contents="hi"))
    assert "sky is blue" in "".join(map(text_of, chunks))
    assert world.gemini.last.path == "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse"
    assert client.models.count_tokens(model="gemini-3-pro", contents="hi").total_tokens == 31
    assert world.gemini.last.path == "/v1beta/models/gemini-3-pro:countTokens"


def test_an_array_passes_as_one(world: World) -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    reply = world.gateway.send(f"/v1beta/models/gemini-3-pro:streamGenerateContent?key={CLIENT_KEY}", body)
    assert reply.json[-1]["candidates"][0]["finishReason"] == "STOP"
    assert world.gemini.last.path == "/v1beta/models/gemini-3-pro:streamGenerateContent"


# ---- OpenAI's and Anthropic's SDKs, Gemini behind

OPENAI_TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
ANTHROPIC_TOOL: Any = {"name": "get_weather", "description": "Weather", "input_schema": SCHEMA}


@pytest.mark.rows("B8")
@pytest.mark.parametrize("streamed", [False, True])
def test_openais_client_calls_tools_and_the_signature_comes_back(world: World, streamed: bool) -> None:
    turns: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": CITIES}]
    asked: Any = {"model": "gemini-3-pro", "messages": turns, "tools": [OPENAI_TOOL]}
    first: Any
    if streamed:
        with world.openai.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
            first = stream.get_final_completion()
    else:
        first = world.openai.chat.completions.create(**asked)
    said = first.choices[0]
    assert said.finish_reason == "tool_calls" and first.usage is not None
    assert (first.usage.prompt_tokens, first.usage.completion_tokens) == (11, 7)
    calls = said.message.tool_calls or []
    # What clients keep that know nothing of signatures.
    kept = [{"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}}
            for c in calls]  # fmt: skip
    turns += [{"role": "assistant", "content": None, "tool_calls": kept}]
    turns += [{"role": "tool", "tool_call_id": call["id"], "content": "rain"} for call in kept]
    second = world.openai.chat.completions.create(model="gemini-3-pro", messages=turns, tools=[OPENAI_TOOL])
    assert "rain; rain" in (second.choices[0].message.content or "")
    body = world.gemini.last.json()
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user"]
    first_part, second_part = body["contents"][1]["parts"]
    assert first_part["thoughtSignature"] == SIGNATURE and "thoughtSignature" not in second_part
    assert [first_part["functionCall"]["id"], second_part["functionCall"]["id"]] == ["fc-1", "fc-2"]
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}


@pytest.mark.parametrize("streamed", [False, True])
def test_anthropics_client_calls_tools_and_the_signature_comes_back(world: World, streamed: bool) -> None:
    turns: Any = [{"role": "user", "content": CITIES}]
    asked: Any = {"model": "gemini-3-pro", "max_tokens": 99, "tools": [ANTHROPIC_TOOL]}
    if streamed:
        with world.anthropic.messages.stream(messages=turns, **asked) as stream:
            first = stream.get_final_message()
    else:
        first = world.anthropic.messages.create(messages=turns, **asked)
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"city": "Paris"}, {"city": "Rome"}] and first.stop_reason == "tool_use"
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"} for call in calls]
    turns += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = world.anthropic.messages.create(messages=turns, **asked)
    assert "rain; rain" in second.content[0].text
    [call, other] = world.gemini.last.json()["contents"][1]["parts"]
    assert call["thoughtSignature"] == SIGNATURE and "thoughtSignature" not in other


def test_vertex_gets_its_own_path(world: World) -> None:
    client = openai.OpenAI(base_url=f"{world.gateway.url}/vertex/v1", api_key=CLIENT_KEY, max_retries=0)
    turns: Any = [{"role": "user", "content": "hi"}]
    client.chat.completions.create(model="google/gemini-2.5-flash", messages=turns)
    where = "/v1/projects/p/locations/r/publishers/google/models/gemini-2.5-flash"
    assert world.gemini.last.path == f"{where}:generateContent"
    list(client.chat.completions.create(model="gemini-2.5-flash", messages=turns, stream=True))
    assert world.gemini.last.path == f"{where}:streamGenerateContent?alt=sse"


def test_a_blocked_prompt_and_an_error_are_told(world: World) -> None:
    turns: Any = [{"role": "user", "content": "hi"}]
    world.gemini.will(json_answer({"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "no"}}))
    refused = world.openai.chat.completions.create(model="gemini-3-pro", messages=turns).choices[0]
    assert (refused.finish_reason, refused.message.refusal) == ("content_filter", "no")
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.5s"}
    world.gemini.will(*[as_gemini.failure(429, "Quota exceeded", "RESOURCE_EXHAUSTED", retry)] * 3)
    with pytest.raises(openai.RateLimitError, match="Quota exceeded") as limited:
        world.openai.chat.completions.create(model="gemini-3-pro", messages=turns)
    assert limited.value.response.headers["retry-after"] == "13"
