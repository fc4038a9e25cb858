"""What a real Envoy's access log shows of usage, and who answers for the number of tokens."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.demo.provider import json_answer
from tests.support.gateway import Gateway

HI: Any = [{"role": "user", "content": "hi"}]


@pytest.mark.rows("A12")
def test_a_streams_tokens_are_in_the_log(envoy: Gateway) -> None:
    envoy.messages("gpt-5-in-the-log", stream=True)
    entry = envoy.logged("gpt-5-in-the-log")
    assert (entry["client_api"], entry["upstream_api"]) == ("anthropic_messages", "openai_chat")
    assert int(entry["input_tokens"]) > 0 and int(entry["output_tokens"]) > 0


@pytest.mark.rows("A12")
def test_a_stream_that_did_not_ask_for_its_counts_is_in_the_log_as_well(envoy: Gateway) -> None:
    reply = envoy.chat("gpt-5-not-asked", stream=True)
    assert envoy.openai_upstream.last.json()["stream_options"] == {"include_usage": True}
    assert b'"choices":[]' not in reply.body.replace(b" ", b"") and b"[DONE]" in reply.body
    entry = envoy.logged("gpt-5-not-asked")
    assert (entry["client_api"], entry["upstream_api"]) == ("openai_chat", "openai_chat")
    assert int(entry["input_tokens"]) > 0 and int(entry["output_tokens"]) > 0


def test_tokens_are_estimated_where_the_upstream_cannot_count(envoy: Gateway) -> None:
    """A server that passes for OpenAI's, and has no such endpoint."""
    envoy.openai_upstream.will(json_answer({"error": {"message": "unknown path"}}, 404))
    reply = envoy.send("/v1/messages/count_tokens", {"model": "gpt-5", "messages": HI})
    assert (reply.status, reply.headers["x-llm-translation"]) == (200, "input_tokens:estimated")
    assert 3 <= reply.json["input_tokens"] <= 9


def test_an_upstream_that_can_count_is_asked(envoy: Gateway) -> None:
    reply = envoy.send("/v1/messages/count_tokens", {"model": "gpt-5", "messages": HI})
    assert envoy.openai_upstream.last.path == "/v1/responses/input_tokens"
    assert reply.json["input_tokens"] > 0 and "x-llm-translation" not in reply.headers
    envoy.send("/v1/messages/count_tokens", {"model": "claude-haiku-4-5", "messages": HI})
    assert envoy.anthropic_upstream.last.path == "/v1/messages/count_tokens"


def test_a_malformed_count_is_refused_in_anthropics_shape(envoy: Gateway) -> None:
    reply = envoy.send("/v1/messages/count_tokens", {"model": "gpt-5", "messages": 3})
    assert reply.status == 400 and reply.json["type"] == "error"
