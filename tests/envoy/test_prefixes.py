"""Where on a host an API is served, through a real Envoy and with the APIs' own SDKs (F1, F2)."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import openai
import pytest

from extproc.demo.processes import Envoy
from tests.support.gateway import CLIENT_KEY, Backends, Gateway, configured
from tests.support.placements import ANTHROPIC, OPENAI, route, set_text

PREFIXES = "prefixes: {anthropic_messages: /anthropic, openai_chat: ''}\n"


def sdk(envoy: Gateway, prefix: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=f"{envoy.url}{prefix}", api_key=CLIENT_KEY, max_retries=0, timeout=30.0)


def say_hi(client: anthropic.Anthropic, model: str) -> str:
    answer = client.messages.create(model=model, max_tokens=99, messages=[{"role": "user", "content": "hi"}])
    return answer.content[0].type


@pytest.fixture(scope="module", params=["upstream", "listener", "router", "one-stream"])
def _mounted(request: pytest.FixtureRequest, shared: Backends) -> Iterator[Gateway]:
    """``prefixes`` on the routes that translate, in both placements; and on the route that Envoy matches first, for the
    router role."""
    folder = shared.new_folder(f"prefixes-{request.param}")
    placement = "upstream" if request.param == "router" else request.param
    config = configured(shared, placement, folder / "access.log")
    if request.param in ("router", "one-stream"):
        set_text(route(config, "no_such_model"), PREFIXES)
    else:
        own = {"openai": OPENAI, "anthropic": ANTHROPIC} if placement == "listener" else {}
        for name in ("openai", "anthropic"):
            set_text(route(config, name), own.get(name, "") + PREFIXES)
    with Envoy(folder, config) as process:
        yield Gateway(placement, process, shared, folder / "access.log")


@pytest.fixture
def mounted(_mounted: Gateway) -> Gateway:
    _mounted.backends.reset()
    return _mounted


@pytest.mark.rows("F1")
@pytest.mark.parametrize("prefix", ["", "/anthropic"])
@pytest.mark.parametrize("model", ["gpt-5", "claude-haiku-4-5"])
def test_by_default_messages_are_served_behind_any_prefix(envoy: Gateway, prefix: str, model: str) -> None:
    assert say_hi(sdk(envoy, prefix), model) == "text"
    upstream = envoy.openai_upstream if model == "gpt-5" else envoy.anthropic_upstream
    assert upstream.last.path == ("/v1/chat/completions" if model == "gpt-5" else "/v1/messages")


@pytest.mark.rows("F2")
@pytest.mark.parametrize("model", ["gpt-5", "claude-haiku-4-5"])
def test_a_prefix_is_where_its_api_is(mounted: Gateway, model: str) -> None:
    assert say_hi(sdk(mounted, "/anthropic"), model) == "text"
    upstream = mounted.openai_upstream if model == "gpt-5" else mounted.anthropic_upstream
    assert "/anthropic" not in upstream.last.path
    assert mounted.chat(model).status == 200, "an empty prefix is the host's root"


@pytest.mark.rows("F2")
@pytest.mark.parametrize("prefix", ["", "/elsewhere", "/anthropic/anthropic"])
def test_elsewhere_it_is_not_found(mounted: Gateway, prefix: str) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        say_hi(sdk(mounted, prefix), "gpt-5")
    assert caught.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    chat = openai.OpenAI(base_url=f"{mounted.url}/anthropic/v1", api_key=CLIENT_KEY, max_retries=0)
    with pytest.raises(openai.NotFoundError):
        chat.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "hi"}])
    assert not mounted.openai_upstream.received


def test_an_api_without_a_prefix_is_served_anywhere(mounted: Gateway) -> None:
    mounted.send("/any/where/v1/embeddings", {"input": "x", "model": "gpt-embedding"})
    assert mounted.openai_upstream.last.path == "/v1/embeddings"
