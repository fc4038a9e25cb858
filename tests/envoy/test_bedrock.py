"""Amazon Bedrock through a real Envoy: boto3 as a client of other providers, other SDKs as clients of Converse and of
Claude by InvokeModel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import anthropic
import boto3
import openai
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from extproc.demo.processes import Envoy
from extproc.demo.provider import json_answer, sse_answer
from tests.support import as_bedrock
from tests.support.gateway import CLIENT_KEY, KEYS, Backends, Gateway, configured
from tests.support.placements import ANTHROPIC, OPENAI, add_cluster, lead
from tests.support.sigv4 import verified
from tests.support.upstream import ScriptedUpstream, events, message, message_events, text_block

BEARER = "auth: {header: {Authorization: 'Bearer ${OPENAI_API_KEY}'}}\nlosses: report\n"
SIGNED = (
    "auth: {aws: {access_key_id: '${OPENAI_API_KEY}', secret_access_key: '${ANTHROPIC_API_KEY}', region: eu-west-1}}\n"
)
HOST = "bedrock-runtime.eu-west-1.amazonaws.com"
ROUTES = {
    "/chat/": ("openai", OPENAI),
    "/messages/": ("anthropic", ANTHROPIC),
    "/invoke/": ("bedrock", f"provider: bedrock-anthropic\nupstream: anthropic_bedrock\n{BEARER}"),
    "/signed/": ("bedrock", f"provider: bedrock\nprovider_conf: {{region: eu-west-1}}\n{SIGNED}"),
    "/": ("bedrock", f"provider: bedrock\nupstream: bedrock_converse\n{BEARER}"),
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = {"tools": [{"toolSpec": {"name": "get_weather", "description": "W", "inputSchema": {"json": SCHEMA}}}]}
OPENAI_TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
ANTHROPIC_TOOL: Any = {"name": "get_weather", "description": "Weather", "input_schema": SCHEMA}
CLAUDE = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
IN_PATH = f"/model/{CLAUDE.replace(':', '%3A')}"
CITIES = "The weather in Paris and in Rome?"
HI: Any = [{"role": "user", "content": "hi"}]
Json = dict[str, Any]


@dataclass(frozen=True)
class World:
    gateway: Gateway
    bedrock: ScriptedUpstream

    def boto(self, prefix: str) -> Any:
        """AWS's SDK as a client, without its own retries."""
        config = Config(retries={"max_attempts": 0}, read_timeout=30)
        return boto3.client(
            "bedrock-runtime",
            endpoint_url=f"{self.gateway.url}{prefix}",
            region_name="eu-west-1",
            aws_access_key_id=CLIENT_KEY,
            aws_secret_access_key="the-clients-secret",
            config=config,
        )

    def openai(self, prefix: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.gateway.url}{prefix}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=30)

    def anthropic(self, prefix: str) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=f"{self.gateway.url}{prefix}", api_key=CLIENT_KEY, max_retries=0)

    def upstream(self, prefix: str) -> ScriptedUpstream:
        return self.gateway.openai_upstream if prefix == "/chat" else self.gateway.anthropic_upstream


@pytest.fixture(scope="module", params=["listener", "upstream"])
def _world(request: pytest.FixtureRequest, shared: Backends) -> Iterator[World]:
    folder = shared.new_folder(f"bedrock-{request.param}")
    with ExitStack() as stack:
        upstream = ScriptedUpstream(as_bedrock.answer)
        stack.enter_context(upstream)
        config = configured(shared, request.param, folder / "access.log")
        cluster = add_cluster(config, "bedrock", "openai", upstream.port)
        # The host that Envoy sends, which is signed.
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["hostname"] = HOST
        lead(config, [(prefix, *rest) for prefix, rest in ROUTES.items()])
        envoy = stack.enter_context(Envoy(folder, config))
        yield World(Gateway(request.param, envoy, shared, folder / "access.log"), upstream)


@pytest.fixture
def world(_world: World) -> Iterator[World]:
    _world.gateway.backends.reset()
    _world.bedrock.reset()
    yield _world
    assert _world.gateway.envoy.alive() and _world.gateway.backends.sidecar.alive()


def said(*blocks: Json, role: str = "user") -> Json:
    return {"role": role, "content": list(blocks)}


def gathered(stream: Any) -> tuple[list[Json], str, Json]:
    """The blocks of a ConverseStream, why it stopped, the usage. Every block must be closed, in order."""
    blocks: dict[int, Json] = {}
    closed: list[int] = []
    stop, usage = "", {}
    for event in stream:
        ((kind, value),) = event.items()
        index = value.get("contentBlockIndex", -1)
        if kind == "contentBlockStart":
            blocks[index] = {"toolUse": {**value["start"]["toolUse"], "input": ""}}
        elif kind == "contentBlockDelta" and "toolUse" in value["delta"]:
            blocks[index]["toolUse"]["input"] += value["delta"]["toolUse"]["input"]
        elif kind == "contentBlockDelta" and "text" in value["delta"]:
            blocks.setdefault(index, {"text": ""})["text"] += value["delta"]["text"]
        elif kind == "contentBlockStop":
            closed.append(index)
        elif kind == "messageStop":
            stop = value["stopReason"]
        elif kind == "metadata":
            usage = value["usage"]
    assert closed == sorted(blocks)
    return list(blocks.values()), stop, usage


# ---- boto3, upstreams of other APIs

OTHERS = pytest.mark.parametrize("prefix", ["/chat", "/messages"])
STREAMED = pytest.mark.parametrize("streamed", [False, True])


@OTHERS
@pytest.mark.rows("B8")
def test_aws_client_gets_a_whole_answer(world: World, prefix: str) -> None:
    answer = world.boto(prefix).converse(
        modelId="gpt-4o",
        system=[{"text": "Be brief."}],
        messages=[said({"text": "hi"})],
        inferenceConfig={"maxTokens": 99, "temperature": 0.5},
    )
    assert answer["stopReason"] == "end_turn" and answer["usage"]["inputTokens"] > 0
    [block] = answer["output"]["message"]["content"]
    assert "sky is blue" in block["text"] and answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    seen = world.upstream(prefix).last
    assert seen.json()["model"] == "gpt-4o" and "Be brief." in str(seen.json())
    told = f"{seen.path} {seen.headers}"
    assert CLIENT_KEY not in told and "AWS4" not in told and not [n for n, _ in seen.headers if "amz" in n]


@OTHERS
def test_aws_client_gets_a_stream(world: World, prefix: str) -> None:
    stream = world.boto(prefix).converse_stream(modelId="gpt-4o", messages=[said({"text": "hi"})])["stream"]
    [block], stop, usage = gathered(stream)
    assert "sky is blue" in block["text"] and stop == "end_turn" and usage["outputTokens"] > 0


@OTHERS
@STREAMED
def test_aws_client_calls_tools_in_parallel_and_gives_results(world: World, prefix: str, streamed: bool) -> None:
    client = world.boto(prefix)
    turns = [said({"text": CITIES})]
    if streamed:
        stream = client.converse_stream(modelId="gpt-4o", messages=turns, toolConfig=TOOLS)["stream"]
        blocks, stop, _ = gathered(stream)
        calls = [block["toolUse"] for block in blocks]
        assert [call["input"] for call in calls] == ['{"city":"Paris"}', '{"city":"Rome"}']
        for call, city in zip(calls, ("Paris", "Rome"), strict=True):
            call["input"] = {"city": city}
    else:
        answer = client.converse(modelId="gpt-4o", messages=turns, toolConfig=TOOLS)
        stop = answer["stopReason"]
        calls = [block["toolUse"] for block in answer["output"]["message"]["content"]]
        assert [call["input"] for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert stop == "tool_use" and len({call["toolUseId"] for call in calls}) == 2
    turns.append(said(*({"toolUse": call} for call in calls), role="assistant"))
    results = [
        {"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": f"rain in {call['input']['city']}"}]}}
        for call in calls
    ]
    answer = client.converse(modelId="gpt-4o", messages=[*turns, said(*results)], toolConfig=TOOLS)
    assert "rain in Paris; rain in Rome" in answer["output"]["message"]["content"][0]["text"]


@OTHERS
def test_aws_client_gets_the_providers_error(world: World, prefix: str) -> None:
    refused = json_answer({"error": {"type": "rate_limit_error", "message": "slow down"}}, 429)
    world.upstream(prefix).will(refused, refused, refused)  # Envoy asks again
    client = world.boto(prefix)
    with pytest.raises(client.exceptions.ThrottlingException) as failed:
        client.converse(modelId="gpt-4o", messages=[said({"text": "hi"})])
    assert failed.value.response["Error"]["Message"] == "slow down"


@pytest.mark.rows("B8")
def test_aws_client_counts_a_conversation_in_its_own_words(world: World) -> None:
    world.upstream("/messages").will(json_answer({"input_tokens": 12}))
    asked = {"converse": {"messages": [said({"text": "hi"})], "system": [{"text": "Be brief."}]}}
    assert world.boto("/messages").count_tokens(modelId=CLAUDE, input=asked)["inputTokens"] == 12
    seen = world.upstream("/messages").last
    assert seen.path == "/v1/messages/count_tokens" and "Be brief." in str(seen.json()["system"])
    assert world.boto("/chat").count_tokens(modelId="gpt-4o", input=asked)["inputTokens"] > 1


def test_a_stream_that_is_cut_ends_in_an_exception(world: World) -> None:
    world.upstream("/messages").will(sse_answer(events(*message_events(text_block("Once upon"), stop=None))))
    stream = world.boto("/messages").converse_stream(modelId=CLAUDE, messages=[said({"text": "hi"})])["stream"]
    with pytest.raises(EventStreamError, match=r"modelStreamErrorException.*ended prematurely"):
        list(stream)


def test_claudes_thinking_comes_back_through_aws_client(world: World) -> None:
    thinking = {"type": "thinking", "thinking": "Let me see.", "signature": "EqQB+/=="}
    call = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}
    world.upstream("/messages").will(json_answer(message(thinking, call, stop="tool_use")))
    more = {"thinking": {"type": "enabled", "budget_tokens": 2048}}
    asked: Json = {"modelId": "claude-haiku-4-5", "toolConfig": TOOLS, "additionalModelRequestFields": more}
    client, turns = world.boto("/messages"), [said({"text": "Oslo?"})]
    turns.append(client.converse(messages=turns, **asked)["output"]["message"])
    turns.append(said({"toolResult": {"toolUseId": "toolu_1", "content": [{"text": "snow"}]}}))
    client.converse(messages=turns, **asked)
    body = world.upstream("/messages").last.json()
    assert body["messages"][1] == {"role": "assistant", "content": [thinking, call]}
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2048}


# ---- boto3, Bedrock itself


@pytest.mark.rows("B8")
def test_one_api_on_both_sides_passes(world: World) -> None:
    client = world.boto("")
    asked: Json = {"modelId": CLAUDE, "messages": [said({"text": "hi"})]}
    answer = client.converse(**asked)
    assert answer["usage"]["cacheReadInputTokens"] == 3
    seen = world.bedrock.last
    assert seen.path == f"{IN_PATH}/converse" and seen.json() == {"messages": asked["messages"]}
    assert seen.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"
    assert CLIENT_KEY not in str(seen.headers)
    [block], stop, _ = gathered(client.converse_stream(**asked)["stream"])
    assert "sky is blue" in block["text"] and stop == "end_turn"
    assert world.bedrock.last.path == f"{IN_PATH}/converse-stream"


def test_what_is_sent_is_signed(world: World) -> None:
    world.openai("/signed").chat.completions.create(model=CLAUDE, messages=HI)
    seen = world.bedrock.last
    headers = dict(seen.headers)
    assert (seen.path, headers["host"]) == (f"{IN_PATH}/converse", HOST)
    assert re.search(r"Credential=key-of-openai/\d{8}/eu-west-1/bedrock/aws4_request", headers["authorization"])
    assert verified(seen.method, seen.path, headers, seen.body, KEYS["ANTHROPIC_API_KEY"])


# ---- OpenAI's and Anthropic's SDKs, Bedrock behind

BEHIND = pytest.mark.parametrize(("prefix", "verbs"), [
    ("", ("converse", "converse-stream")), ("/invoke", ("invoke", "invoke-with-response-stream")),
])  # fmt: skip


@BEHIND
@STREAMED
@pytest.mark.rows("B8")
def test_openais_client_calls_tools(world: World, prefix: str, verbs: tuple[str, str], streamed: bool) -> None:
    turns: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": CITIES}]
    asked: Any = {"model": CLAUDE, "messages": turns, "tools": [OPENAI_TOOL]}
    chat = world.openai(prefix).chat.completions
    first: Any
    if streamed:
        with chat.stream(**asked, stream_options={"include_usage": True}) as stream:
            first = stream.get_final_completion()
    else:
        first = chat.create(**asked)
    assert world.bedrock.last.path == f"{IN_PATH}/{verbs[streamed]}"
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls" and first.usage is not None and first.usage.completion_tokens > 0
    if not prefix:
        assert (first.usage.prompt_tokens, first.usage.prompt_tokens_details.cached_tokens) == (14, 3)
    calls = choice.message.tool_calls or []
    kept = [{"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}}
            for c in calls]  # fmt: skip
    turns += [{"role": "assistant", "content": None, "tool_calls": kept}]
    turns += [{"role": "tool", "tool_call_id": call["id"], "content": "rain"} for call in kept]
    second = chat.create(**asked)
    assert "rain; rain" in (second.choices[0].message.content or "")
    assert "Be brief." in str(world.bedrock.last.json()["system"])


@BEHIND
@STREAMED
def test_anthropics_client_calls_tools(world: World, prefix: str, verbs: tuple[str, str], streamed: bool) -> None:
    turns: Any = [{"role": "user", "content": CITIES}]
    asked: Any = {"model": CLAUDE, "max_tokens": 99, "tools": [ANTHROPIC_TOOL]}
    messages = world.anthropic(prefix).messages
    if streamed:
        with messages.stream(messages=turns, **asked) as stream:
            first = stream.get_final_message()
    else:
        first = messages.create(messages=turns, **asked)
    assert world.bedrock.last.path == f"{IN_PATH}/{verbs[streamed]}"
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"city": "Paris"}, {"city": "Rome"}] and first.stop_reason == "tool_use"
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"} for call in calls]
    turns += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = messages.create(messages=turns, **asked)
    assert "rain; rain" in second.content[0].text
    if not prefix:  # the reasoning's signature with it, or Bedrock had refused
        thought = world.bedrock.last.json()["messages"][1]["content"][0]["reasoningContent"]
        assert thought == {"reasoningText": {"text": "Let me look.", "signature": as_bedrock.SIGNATURE}}


@BEHIND
def test_an_exception_is_told_before_the_answer_and_within(world: World, prefix: str, verbs: tuple[str, str]) -> None:
    throttled = as_bedrock.failure(429, "ThrottlingException", "Too many tokens")
    world.bedrock.will(*[throttled] * 3)
    with pytest.raises(openai.RateLimitError, match="Too many tokens"):
        world.openai(prefix).chat.completions.create(model=CLAUDE, messages=HI)
    began = ("messageStart", {"role": "assistant"})
    if prefix:
        began = as_bedrock.chunk(events(message_events()[0])[0].partition(b"data: ")[2].strip())
    broken = as_bedrock.stream(began, ("modelStreamErrorException", {"message": "the model broke"}))
    world.bedrock.will(broken)
    with pytest.raises(openai.APIError, match="the model broke"):
        list(world.openai(prefix).chat.completions.create(model=CLAUDE, messages=HI, stream=True))
    world.bedrock.will(broken)
    with pytest.raises(anthropic.APIStatusError, match="the model broke"):
        list(world.anthropic(prefix).messages.create(model=CLAUDE, max_tokens=9, messages=HI, stream=True))


@BEHIND
def test_a_stream_without_its_end_is_an_error(world: World, prefix: str, verbs: tuple[str, str]) -> None:
    world.bedrock.will(as_bedrock.stream(("messageStart", {"role": "assistant"})))
    with pytest.raises(openai.APIError, match="ended prematurely"):
        list(world.openai(prefix).chat.completions.create(model=CLAUDE, messages=HI, stream=True))


def test_what_bedrock_refuses_is_a_client_error(world: World) -> None:
    with pytest.raises(ClientError, match="alternate"):
        world.boto("").converse(modelId=CLAUDE, messages=[said({"text": "a"}), said({"text": "b"})])
