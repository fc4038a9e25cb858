"""Models by other names through a real Envoy: whole and streamed, in both APIs, over a failover; and names that no one
knows (F14)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from extproc.demo import as_openai
from extproc.demo.processes import Envoy
from tests.support.gateway import CLIENT_KEY, Backends, Gateway, configured
from tests.support.placements import add_route, manager

HI: Any = [{"role": "user", "content": "hi"}]
LORA = "org/llama-3/lora-a"
LED = f"""
gpt-5: {{route: openai}}
fast: {{model: gpt-5.4-mini, route: openai}}
clever: {{model: claude-haiku-4-5, route: anthropic}}
anyone: {{model: best, name: Whoever can}}
"vllm/*": {{model: "gpt-*", route: openai}}
"v/*": {{model: "*", route: openai}}
{LORA}: {{route: openai}}
"""
"""The same where the router's stream translates."""
MODELS = f"""
gpt-5:
fast: {{model: gpt-5.4-mini}}
clever: {{model: claude-haiku-4-5}}
anyone: {{model: best, name: Whoever can}}
"vllm/*": {{model: "gpt-*"}}
"v/*": {{model: "*"}}
{LORA}:
"""


def _gateway(shared: Backends, name: str, models: str | None, placement: str = "upstream") -> Iterator[Gateway]:
    folder = shared.new_folder(name)
    config = configured(shared, placement, folder / "access.log")
    add_route(config, LORA, "openai") if placement == "upstream" else None
    host = manager(config)["route_config"]["virtual_hosts"][0]
    if models is None:
        host.pop("metadata")
    else:
        host["metadata"]["filter_metadata"]["extproc"]["models"] = models
    with Envoy(folder, config) as process:
        yield Gateway(placement, process, shared, folder / "access.log")


@pytest.fixture(scope="module", params=["upstream", "one-stream"])
def _named(request: pytest.FixtureRequest, shared: Backends) -> Iterator[Gateway]:
    yield from _gateway(shared, "names", MODELS if request.param == "upstream" else LED, request.param)


@pytest.fixture
def named(_named: Gateway) -> Gateway:
    _named.backends.reset()
    return _named


@pytest.fixture
def bare(shared: Backends) -> Iterator[Gateway]:
    """No models are configured."""
    yield from _gateway(shared, "names-none", None)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("name", "sent"),
    [("fast", "gpt-5.4-mini"), ("clever", "claude-haiku-4-5"), ("vllm/5", "gpt-5"), ("v/gpt-5", "gpt-5")],
)
def test_by_either_api_whole_and_streamed(named: Gateway, name: str, sent: str, streamed: bool) -> None:
    upstream = named.anthropic_upstream if sent.startswith("claude") else named.openai_upstream
    for reply in (named.chat(name, stream=streamed), named.messages(name, stream=streamed)):
        assert reply.status == 200 and not reply.broken
        assert reply.headers["content-type"].startswith("text/event-stream" if streamed else "application/json")
        assert upstream.last.json()["model"] == sent
    assert len(upstream.received) == 2


def test_a_name_for_two_providers_fails_over(named: Gateway) -> None:
    named.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    assert named.messages("anyone").status == 200
    assert named.openai_upstream.last.json()["model"] == "gpt-5"
    assert named.anthropic_upstream.last.json()["model"] == "claude-haiku-4-5"


@pytest.mark.rows("F14")
def test_a_name_with_slashes_is_untouched_to_the_byte(named: Gateway) -> None:
    body = b'{"messages": [{"role": "user",  "content": "hi"}],  "model": "%s"}' % LORA.encode()
    assert named.send("/v1/chat/completions", body, {"authorization": f"Bearer {CLIENT_KEY}"}).status == 200
    assert named.openai_upstream.last.body == body


@pytest.mark.parametrize("name", ["gpt-5.4-mini", "llama", "v/"])
def test_what_is_not_listed_is_not_served_although_a_route_would_match(named: Gateway, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as chat:
        named.openai().chat.completions.create(model=name, messages=HI)
    assert chat.value.code == "model_not_found" and "fast" in chat.value.message
    with pytest.raises(anthropic.NotFoundError) as message:
        named.anthropic().messages.create(model=name, max_tokens=9, messages=HI)
    assert message.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    assert "fast" in message.value.message
    assert not named.openai_upstream.received


def test_a_list_is_there_for_a_head_request(named: Gateway) -> None:
    reply = named.send("/v1/models", method="HEAD")
    assert (reply.status, reply.body) == (200, b"")


def test_without_models_the_404_says_how_to_have_a_list(bare: Gateway) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        bare.openai().models.list()
    assert "filter_metadata['extproc']['models']" in caught.value.message
    assert bare.chat("gpt-5").status == 200
