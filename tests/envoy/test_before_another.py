"""Our filter on the listener before another gateway's, as in front of Envoy AI Gateway.

Our own router role stands in for the other: like it, it reads the model from the body that it gets, names it in a
header and has the route chosen anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from extproc.demo.processes import Envoy
from extproc.reference import config as envoy_config
from tests.support import placements
from tests.support.gateway import Backends, Gateway

ROUTE = "provider: anthropic\nauth: none\noptions: {model: claude-haiku-4-5}\nlosses: report\n"
"""The other gateway speaks to its Anthropic backend in that API alone, and adds the credential."""


def configured(shared: Backends) -> dict[str, Any]:
    upstreams = {
        "api.openai.com": ("127.0.0.1", shared.openai.port),
        "api.anthropic.com": ("127.0.0.1", shared.anthropic.port),
    }
    assert shared.sidecar.socket
    reference = envoy_config.rewrite(envoy_config.reference(), sidecar=shared.sidecar.socket, upstreams=upstreams)
    made, config = placements.on_listener(reference), placements.two_streams(reference)
    other, router = placements.manager(config)["http_filters"]
    ours = placements.manager(made)["http_filters"][1]
    placements.manager(made)["http_filters"] = [ours, other, router]
    # Its routes go by the header that it sets, and have nothing for us; without that header the last one matches.
    placements.manager(made)["route_config"] = placements.manager(config)["route_config"]
    for route in placements.routes(made):
        route.pop("metadata", None)
    placements.set_text(placements.routes(made)[-1], ROUTE)
    placements.routes(made)[:] = [item for item in placements.routes(made) if item["name"] != "any_provider"]
    return made


@pytest.fixture(scope="module")
def _running(shared: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("before")
    with Envoy(folder, configured(shared)) as envoy:
        yield Gateway("listener", envoy, shared, folder)


@pytest.fixture
def gateway(_running: Gateway) -> Gateway:
    _running.backends.reset()
    return _running


def test_the_other_sees_the_translated_request(gateway: Gateway) -> None:
    reply = gateway.chat("whatever the client calls it", n=1)
    assert reply.status == 200 and reply.json["object"] == "chat.completion", reply.body
    sent = gateway.anthropic_upstream.last
    # Its route was chosen by the model in our translation, not by the client's.
    assert sent.path == "/v1/messages" and sent.json()["model"] == "claude-haiku-4-5"
    assert sent.header("x-extproc-model") in (None, "", "claude-haiku-4-5")
    assert sent.header("anthropic-version") == "2023-06-01"
    # What it adds is its own; the client's key went nowhere.
    assert not sent.header("authorization") and not sent.header("x-api-key")


def test_streams_pass_through_both(gateway: Gateway) -> None:
    body = gateway.chat("any", stream=True).body
    assert body.endswith(b"data: [DONE]\n\n") and b"chat.completion.chunk" in body
