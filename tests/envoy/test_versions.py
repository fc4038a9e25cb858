"""A smoke tour of the placements on each supported version of Envoy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from extproc.demo import as_openai
from extproc.reference.config import REFERENCE, write
from tests.support.gateway import CLIENT_KEY, PLACEMENTS, Backends, Gateway, configured, gateway
from tests.support.upstream import chat

HI: Any = [{"role": "user", "content": "hi"}]
CITIES: Any = [{"role": "user", "content": "The weather in Paris and in Rome?"}]
ANTHROPIC_TOOL: Any = {"name": "get_weather", "input_schema": {"type": "object"}}
OPENAI_TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


@pytest.fixture(params=PLACEMENTS)
def envoy(request: pytest.FixtureRequest, version: Path, shared: Backends) -> Iterator[Gateway]:
    name = f"{version.parent.name.lstrip('_')}-{request.param}-smoke"
    shutil.rmtree(shared.folder / name, ignore_errors=True)
    with gateway(shared, request.param, binary=version, name=name) as made:
        shared.reset()
        yield made
        assert made.envoy.alive(), made.envoy.tail()


def test_smoke_tour(envoy: Gateway) -> None:
    """One test, because starting Envoy takes longer than the tour."""
    _both_directions_whole(envoy)
    _both_directions_streamed_with_tools(envoy)
    _long_bodies(envoy)
    _errors(envoy)
    if envoy.placement != "listener":
        _failover(envoy)


def _both_directions_whole(envoy: Gateway) -> None:
    answer = envoy.anthropic().messages.create(model="gpt-5", max_tokens=99, messages=HI)
    assert "sky is blue" in answer.content[0].text  # type: ignore[union-attr]
    other = envoy.openai().chat.completions.create(model="claude-haiku-4-5", messages=HI)
    assert "sky is blue" in (other.choices[0].message.content or "")
    for upstream in (envoy.openai_upstream, envoy.anthropic_upstream):
        assert CLIENT_KEY not in repr(upstream.last)


def _both_directions_streamed_with_tools(envoy: Gateway) -> None:
    with envoy.anthropic().messages.stream(
        model="gpt-5", max_tokens=99, messages=CITIES, tools=[ANTHROPIC_TOOL]
    ) as stream:
        blocks = stream.get_final_message().content
    assert [block.input for block in blocks if block.type == "tool_use"] == [{"city": "Paris"}, {"city": "Rome"}]
    with envoy.openai().chat.completions.stream(
        model="claude-haiku-4-5", messages=CITIES, tools=[OPENAI_TOOL]
    ) as other:
        calls = other.get_final_completion().choices[0].message.tool_calls or []
    assert [call.function.arguments for call in calls] == ['{"city":"Paris"}', '{"city":"Rome"}']


def _long_bodies(envoy: Gateway) -> None:
    """They go to Envoy in two parts of one message, which it must take for one, in either direction."""
    asked, said = "long question " * 30_000, "long answer " * 30_000
    envoy.openai_upstream.will(chat(said))
    reply = envoy.messages("gpt-5", messages=[{"role": "user", "content": asked}])
    assert reply.status == 200 and reply.json["content"][0]["text"] == said
    assert envoy.openai_upstream.last.json()["messages"][0]["content"] == asked


def _errors(envoy: Gateway) -> None:
    envoy.openai_upstream.will(as_openai.failure(400, "no such parameter"))
    reply = envoy.messages("gpt-5")
    assert (reply.status, reply.json["error"]["message"]) == (400, "no such parameter")
    assert envoy.messages("dead").json["type"] == "error"
    wrong = envoy.chat("bad-provider")
    assert wrong.status == 500 and "provider" in wrong.json["error"]["message"]
    with pytest.raises(openai.NotFoundError):
        envoy.openai().chat.completions.create(model="no-such-model", messages=HI)


def _failover(envoy: Gateway) -> None:
    before = len(envoy.anthropic_upstream.received)
    envoy.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    assert envoy.openai().chat.completions.create(model="best", messages=HI).choices[0].finish_reason == "stop"
    seen = envoy.anthropic_upstream.received[before:]
    assert len(seen) == 1 and seen[0].header("authorization") is None


@pytest.mark.parametrize("placement", ["reference", *PLACEMENTS])
def test_configuration_is_valid(version: Path, placement: str, shared: Backends, tmp_path: Path) -> None:
    path = REFERENCE
    if placement != "reference":
        path = write(configured(shared, placement, tmp_path / "access.log"), tmp_path / "envoy.json")
    command = [str(version), "--mode", "validate", "--use-dynamic-base-id", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
