"""Claude where clouds host it, through Envoy: Anthropic's SDKs for Bedrock and Vertex AI (what Claude Code speaks in
those modes) as clients of other providers, and Vertex AI's rawPredict as the upstream of other clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest

from extproc.demo.processes import Envoy
from extproc.demo.provider import json_answer
from tests.support import as_vertex
from tests.support.gateway import CLIENT_KEY, KEYS, Backends, Gateway, configured
from tests.support.placements import ANTHROPIC, OPENAI, add_cluster, lead
from tests.support.sdks import claude_on_bedrock, claude_on_vertex
from tests.support.upstream import ScriptedUpstream

BEARER = "auth: {header: {Authorization: 'Bearer ${OPENAI_API_KEY}'}}\n"
VERTEX = f"provider: vertex-anthropic\nprovider_conf: {{project_id: ours, region: us-east5}}\n{BEARER}"
ROUTES = {
    "/chat/": ("openai", OPENAI),
    "/messages/": ("anthropic", f"{ANTHROPIC}options: {{model: claude-haiku-4-5}}\n"),
    "/": ("vertex", VERTEX),
}
HI: Any = [{"role": "user", "content": "hi"}]
CITIES: Any = [{"role": "user", "content": "The weather in Paris and in Rome?"}]
TOOL: Any = {
    "name": "get_weather",
    "description": "Weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CLIENTS = ("bedrock", "vertex")


@dataclass(frozen=True)
class World:
    gateway: Gateway
    vertex: ScriptedUpstream

    def cloud(self, kind: str, prefix: str) -> Any:
        """Anthropic's SDK for that cloud."""
        base = f"{self.gateway.url}{prefix}"
        return claude_on_vertex(base) if kind == "vertex" else claude_on_bedrock(base)

    def upstream(self, prefix: str) -> ScriptedUpstream:
        return {"/chat": self.gateway.openai_upstream, "/messages": self.gateway.anthropic_upstream}.get(
            prefix, self.vertex
        )


@pytest.fixture(scope="module", params=["listener", "upstream"])
def _world(request: pytest.FixtureRequest, shared: Backends) -> Iterator[World]:
    folder = shared.new_folder(f"hosted-{request.param}")
    with ExitStack() as stack:
        upstream = ScriptedUpstream(as_vertex.answer)
        stack.enter_context(upstream)
        config = configured(shared, request.param, folder / "access.log")
        add_cluster(config, "vertex", "openai", upstream.port)
        lead(config, [(prefix, *rest) for prefix, rest in ROUTES.items()])
        envoy = stack.enter_context(Envoy(folder, config))
        yield World(Gateway(request.param, envoy, shared, folder / "access.log"), upstream)


@pytest.fixture
def world(_world: World) -> Iterator[World]:
    _world.gateway.backends.reset()
    _world.vertex.reset()
    yield _world
    assert _world.gateway.envoy.alive() and _world.gateway.backends.sidecar.alive()


PREFIXES = {"bedrock": ("/chat", "/messages", ""), "vertex": ("/chat", "/messages", "")}
PAIRS = [(kind, prefix) for kind, prefixes in PREFIXES.items() for prefix in prefixes]


@pytest.mark.parametrize(("kind", "prefix"), PAIRS)
def test_a_clouds_client_gets_a_whole_answer(world: World, kind: str, prefix: str) -> None:
    client = world.cloud(kind, prefix)
    message = client.messages.create(model="claude-haiku-4-5", max_tokens=99, system="be brief", messages=HI)
    assert message.content[0].type == "text" and message.content[0].text and message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    got = world.upstream(prefix).last
    assert CLIENT_KEY not in f"{got.path} {got.headers}" and "theirs" not in got.path
    assert any(value in f"{got.headers}" for value in KEYS.values())


@pytest.mark.parametrize(("kind", "prefix"), PAIRS)
def test_a_clouds_client_streams_and_calls_tools(world: World, kind: str, prefix: str) -> None:
    client = world.cloud(kind, prefix)
    with client.messages.stream(model="claude-haiku-4-5", max_tokens=99, messages=CITIES, tools=[TOOL]) as stream:
        message = stream.get_final_message()
    calls: Any = [block for block in message.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    assert message.stop_reason == "tool_use"
    results: Any = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
    history = [*CITIES, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    final = client.messages.create(model="claude-haiku-4-5", max_tokens=99, messages=history, tools=[TOOL])
    assert final.stop_reason == "end_turn"


@pytest.mark.parametrize(("kind", "prefix"), PAIRS)
def test_a_clouds_client_gets_the_providers_error(world: World, kind: str, prefix: str) -> None:
    error = {"type": "error", "error": {"type": "permission_error", "message": "not yours"}}
    world.upstream(prefix).will(json_answer(error, 403))
    with pytest.raises(anthropic.PermissionDeniedError, match="not yours"):
        world.cloud(kind, prefix).messages.create(model="claude-haiku-4-5", max_tokens=9, messages=HI)


@pytest.mark.parametrize("prefix", ["/chat", "/messages", ""])
def test_vertex_client_counts_tokens(world: World, prefix: str) -> None:
    if prefix == "/messages":
        world.upstream(prefix).will(json_answer({"input_tokens": 17}))
    counted = world.cloud("vertex", prefix).messages.with_raw_response.count_tokens(
        model="claude-haiku-4-5", messages=HI, system="be brief"
    )
    assert counted.parse().input_tokens > 0
    assert "x-llm-translation" not in counted.headers
    if prefix == "/chat":
        assert world.upstream(prefix).last.path == "/v1/responses/input_tokens"
    if not prefix:
        assert (counted.parse().input_tokens, world.vertex.last.json()["model"]) == (31, "claude-haiku-4-5")


# ---- rawPredict as an upstream


@pytest.mark.parametrize("streamed", [False, True])
def test_openais_client_on_vertex(world: World, streamed: bool) -> None:
    client = openai.OpenAI(base_url=f"{world.gateway.url}/v1", api_key=CLIENT_KEY, max_retries=0)
    tool: Any = {"type": "function", "function": {"name": "get_weather", "parameters": TOOL["input_schema"]}}
    asked: dict[str, Any] = {"model": "claude-haiku-4-5@20251001", "messages": CITIES, "tools": [tool]}
    if streamed:
        with client.chat.completions.stream(**asked) as stream:
            choice: Any = stream.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(**asked).choices[0]
    assert choice.finish_reason == "tool_calls" and len(choice.message.tool_calls) == 2
    got = world.vertex.last
    verb = "streamRawPredict" if streamed else "rawPredict"
    assert got.path == f"{as_vertex.PLACE}/claude-haiku-4-5%4020251001:{verb}"
    assert got.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"
    assert got.header("x-api-key") is None and got.header("anthropic-version") is None


@pytest.mark.parametrize("streamed", [False, True])
def test_anthropics_client_on_vertex(world: World, streamed: bool) -> None:
    client = world.gateway.anthropic()
    asked: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": CITIES, "tools": [TOOL]}
    betas: dict[str, Any] = {"extra_headers": {"anthropic-beta": "interleaved-thinking-2025-05-14"}}
    if streamed:
        with client.messages.stream(**asked, **betas) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**asked, **betas)
    assert message.stop_reason == "tool_use"
    assert world.vertex.last.header("anthropic-beta") == "interleaved-thinking-2025-05-14"
    assert client.messages.count_tokens(model="claude-haiku-4-5", messages=HI).input_tokens == 31


def test_googles_own_error_is_the_clients(world: World) -> None:
    error = {"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}
    world.vertex.will(json_answer([error], 403), json_answer(error, 403))
    with pytest.raises(anthropic.PermissionDeniedError, match="Quota exceeded"):
        world.gateway.anthropic().messages.create(model="claude-haiku-4-5", max_tokens=9, messages=HI)
