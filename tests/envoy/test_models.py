"""The models that a gateway has: told to the vendors' SDKs, asked for by other names, refused by name."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from tests.support.gateway import Gateway

HI: Any = [{"role": "user", "content": "hi"}]
# The tests' own routes, where they are listed, come behind.
LISTED = ["gpt-5", "claude-haiku-4-5", "best", "fast"]


def test_openais_sdk_lists_the_models(reference: Gateway) -> None:
    client = reference.openai()
    assert [model.id for model in client.models.list()][: len(LISTED)] == LISTED
    assert client.models.retrieve("gpt-5").owned_by == "openai"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("llama")
    assert caught.value.code == "model_not_found" and "gpt-5, claude-haiku-4-5" in caught.value.message


def test_anthropics_sdk_lists_the_models_page_by_page(reference: Gateway) -> None:
    client = reference.anthropic()
    assert [model.id for model in client.models.list(limit=3)][: len(LISTED)] == LISTED
    found = client.models.retrieve("claude-haiku-4-5")
    assert (found.display_name, found.created_at.year) == ("Claude Haiku 4.5", 2025)
    assert client.models.retrieve("claude/opus-4-8").id == "claude/opus-4-8"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("llama")


def test_another_name_is_sent_as_the_model_by_any_client(reference: Gateway) -> None:
    reference.openai().chat.completions.create(model="fast", messages=HI)
    assert reference.openai_upstream.last.json()["model"] == "gpt-5.4-mini", "the same API passes through, renamed"
    with reference.anthropic().messages.stream(model="fast", max_tokens=99, messages=HI) as stream:
        assert stream.get_final_text()
    assert reference.openai_upstream.last.json()["model"] == "gpt-5.4-mini"
    reference.anthropic().messages.create(model="claude/haiku-4-5", max_tokens=99, messages=HI)
    assert reference.anthropic_upstream.last.json()["model"] == "claude-haiku-4-5"
    reference.openai().chat.completions.create(model="claude/haiku-4-5", messages=HI)
    assert reference.anthropic_upstream.last.json()["model"] == "claude-haiku-4-5"


def test_a_model_that_no_route_serves_is_a_404_that_lists_the_models(reference: Gateway) -> None:
    for reply in (reference.chat("llama"), reference.messages("llama")):
        assert reply.status == 404
        assert "`llama`" in reply.json["error"]["message"]
        assert "there are gpt-5, claude-haiku-4-5, best, fast, " in reply.json["error"]["message"]


def test_a_clients_own_header_does_not_hide_the_list(reference: Gateway) -> None:
    reply = reference.send("/v1/models", headers={"x-extproc-model": "gpt-5"}, method="GET")
    assert [model["id"] for model in reply.json["data"]][: len(LISTED)] == LISTED
