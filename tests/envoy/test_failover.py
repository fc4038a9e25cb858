"""Failing over from one provider to another, as deploy/envoy.yaml has it: each attempt is its own provider's."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy
from extproc.demo.provider import json_answer
from tests.support.gateway import CLIENT_KEY, DEAD_PORT, KEYS, Backends, Gateway, configured
from tests.support.placements import clusters

HI: Any = [{"role": "user", "content": "hi"}]
OPENAI_KEY, ANTHROPIC_KEY = KEYS["OPENAI_API_KEY"], KEYS["ANTHROPIC_API_KEY"]


def check_separation(envoy: Gateway) -> None:
    """No provider saw the other's key or the client's, nor a header that is the other's alone."""
    for upstream, own, others in (
        (envoy.openai_upstream, OPENAI_KEY, (ANTHROPIC_KEY, CLIENT_KEY)),
        (envoy.anthropic_upstream, ANTHROPIC_KEY, (OPENAI_KEY, CLIENT_KEY)),
    ):
        for seen in upstream.received:
            text = repr(seen)
            assert own in text
            assert not [key for key in others if key in text]
    for seen in envoy.openai_upstream.received:
        assert (seen.path, seen.header("host")) == ("/v1/chat/completions", "api.openai.com")
        assert seen.header("x-api-key") is None and seen.header("anthropic-version") is None
        assert seen.json()["model"].startswith("gpt")
    for seen in envoy.anthropic_upstream.received:
        assert (seen.path, seen.header("host")) == ("/v1/messages", "api.anthropic.com")
        assert seen.header("authorization") is None and seen.header("anthropic-version") is not None
        assert seen.json()["model"].startswith("claude")


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.rows("C9")
def test_an_openai_client_is_answered_by_anthropic(reference: Gateway, status: int) -> None:
    reference.openai_upstream.will(as_openai.failure(status, "not now", "server_error"))
    answer = reference.openai().chat.completions.create(model="best", messages=HI)
    assert "sky is blue" in (answer.choices[0].message.content or "")
    assert len(reference.openai_upstream.received) == len(reference.anthropic_upstream.received) == 1
    check_separation(reference)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_anthropic_client_is_answered_by_anthropic(reference: Gateway, status: int) -> None:
    reference.openai_upstream.will(as_openai.failure(status, "not now", "server_error"))
    client = reference.anthropic(default_headers={"anthropic-beta": "context-1m-2025-08-07"})
    with client.messages.stream(model="best", max_tokens=99, messages=HI) as stream:
        assert "sky is blue" in stream.get_final_text()
    seen = reference.anthropic_upstream.last
    # The first attempt removed these from the headers that the second one finds.
    assert seen.header("anthropic-beta") == "context-1m-2025-08-07"
    assert seen.json()["messages"] == HI and seen.json()["max_tokens"] == 99
    check_separation(reference)


def test_a_200_with_an_error_in_it_fails_over_too(reference: Gateway) -> None:
    reference.openai_upstream.will(json_answer({"error": {"message": "overloaded", "code": 503}}))
    answer = reference.anthropic().messages.create(model="best", max_tokens=99, messages=HI)
    assert answer.stop_reason == "end_turn"
    check_separation(reference)


def test_tools_survive_the_failover(reference: Gateway) -> None:
    tool: Any = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    reference.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    with reference.openai().chat.completions.stream(
        model="best", messages=[{"role": "user", "content": "Rome?"}], tools=[tool]
    ) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls or []
    assert [call.function.arguments for call in calls] == ['{"city":"Rome"}']
    check_separation(reference)


def test_when_both_fail_the_last_error_is_the_clients(reference: Gateway) -> None:
    reference.openai_upstream.will(as_openai.failure(429, "slow down", "rate_limit"))
    reference.anthropic_upstream.will(as_anthropic.failure(529, "Overloaded", "overloaded_error"))
    with pytest.raises(anthropic.APIStatusError, match="Overloaded") as raised:
        reference.anthropic().messages.create(model="best", max_tokens=99, messages=HI)
    assert raised.value.status_code == 529
    check_separation(reference)


def test_the_clients_fault_does_not_fail_over(reference: Gateway) -> None:
    reference.openai_upstream.will(as_openai.failure(400, "no such parameter"))
    with pytest.raises(openai.BadRequestError, match="no such parameter"):
        reference.openai().chat.completions.create(model="best", messages=HI)
    assert reference.anthropic_upstream.received == []


def test_without_failure_the_second_provider_is_left_alone(reference: Gateway) -> None:
    reference.openai().chat.completions.create(model="best", messages=HI)
    assert reference.openai_upstream.last.json()["model"] == "gpt-5"
    assert reference.anthropic_upstream.received == []
    check_separation(reference)


@pytest.mark.parametrize("placement", ["one-stream", "upstream"])
def test_a_dead_first_provider_fails_over(shared: Backends, tmp_path: Any, placement: str) -> None:
    shared.reset()
    log = tmp_path / "access.log"
    config = configured(shared, placement, log)
    first = clusters(config)["any_provider"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    first["address"]["socket_address"]["port_value"] = DEAD_PORT
    with Envoy(tmp_path, config) as process:
        gateway = Gateway(placement, process, shared, log)
        client = gateway.anthropic(default_headers={"anthropic-beta": "context-1m-2025-08-07"})
        answer = client.messages.create(model="best", max_tokens=99, messages=HI)
        assert answer.stop_reason == "end_turn"
        assert shared.anthropic.last.header("anthropic-beta") == "context-1m-2025-08-07"
        check_separation(gateway)
