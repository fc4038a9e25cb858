"""Policies on a real Envoy: a service that takes its time, and one that never answers."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy, Sidecar
from tests.support import placements
from tests.support.gateway import KEYS, PLACEMENTS, Backends, Gateway, configured
from tests.support.side_service import SideService
from tests.support.upstream import ScriptedUpstream, eventually

ROOT = Path(__file__).parent.parent.parent
GUARDED = "policies: [{{service: {{url: '{url}', answers: {answers}}}}}]\n"


class PolicySidecar(Sidecar):
    """The sidecar, with the tests' policies."""

    def command(self) -> Sequence[str]:
        start = f"import sys, runpy; sys.path.append({str(ROOT)!r}); runpy.run_module('tests.support.with_policies', "
        start += "run_name='__main__', alter_sys=True)"
        return [sys.executable, "-c", start, *super().command()[3:]]


@pytest.fixture(scope="module")
def side() -> Iterator[SideService]:
    service = SideService()
    yield service
    service.close()


@pytest.fixture(scope="module", params=PLACEMENTS)
def _gateway(request: pytest.FixtureRequest, side: SideService, tmp_path_factory: Any) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("p")
    with ExitStack() as stack:
        first, second = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_anthropic.answer)
        stack.enter_context(first)
        stack.enter_context(second)
        sidecar = stack.enter_context(PolicySidecar(folder, environ=KEYS, arguments=("--admin", "127.0.0.1:0")))
        shared = Backends(folder, sidecar, first, second)
        config = configured(shared, request.param, folder / "access.log")
        for name, answers in (("guarded", "false"), ("watched", "true")):
            placements.add_alike(config, name, GUARDED.format(url=side.url, answers=answers))
        _hurry(config)
        yield Gateway(request.param, stack.enter_context(Envoy(folder, config)), shared, folder / "access.log")


def _hurry(node: Any) -> None:
    """A message of Envoy's has a second."""
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, (dict, list)):
            _hurry(value)
    if isinstance(node, dict) and "message_timeout" in node:
        node["message_timeout"] = "1s"


@pytest.fixture
def gateway(_gateway: Gateway, side: SideService) -> Iterator[Gateway]:
    side.status, side.seconds = 200, 0.0
    side.gate.set()
    side.asked.clear()
    _gateway.backends.reset()
    yield _gateway
    assert _gateway.envoy.alive(), _gateway.envoy.tail()
    assert _gateway.backends.sidecar.alive(), _gateway.backends.sidecar.tail()


def test_envoy_waits_longer_than_its_message_timeout(gateway: Gateway, side: SideService) -> None:
    side.seconds = 2.0
    began = time.monotonic()
    reply = gateway.messages("guarded")
    assert reply.status == 200 and reply.json["type"] == "message", reply.body
    assert time.monotonic() - began >= 2 and len(side.asked) == 1


def test_a_stream_is_held_by_its_policy(gateway: Gateway, side: SideService) -> None:
    side.seconds = 0.3
    reply = gateway.messages("watched", stream=True)
    assert reply.status == 200 and b"message_stop" in reply.body and not reply.broken, reply.body
    assert side.asked[0].body == b"request" and side.asked[-1].body == b"last"


def test_what_is_denied_never_reaches_the_provider(gateway: Gateway, side: SideService) -> None:
    side.status = 451
    reply = gateway.messages("guarded")
    assert reply.status == 200 and reply.json["stop_reason"] == "refusal", reply.body
    assert gateway.openai_upstream.received == []
    # It is counted when Envoy has ended the stream, which may be after the client has its answer.
    counted = 'extproc_denied_total{policy="service",client="anthropic_messages"}'
    assert eventually(lambda: counted in gateway.backends.metrics())


def test_a_service_that_hangs_costs_other_streams_nothing(gateway: Gateway, side: SideService) -> None:
    side.gate.clear()
    got: list[int] = []
    stuck = threading.Thread(target=lambda: got.append(gateway.messages("guarded").status))
    stuck.start()
    deadline = time.monotonic() + 10
    while not side.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    replies: list[bytes] = []

    def others() -> None:
        for _ in range(10):
            replies.append(gateway.messages("gpt-5", stream=True).body)

    threads = [threading.Thread(target=others) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(replies) == 200 and all(b"message_stop" in body for body in replies)
    assert stuck.is_alive(), "it waits for its service still"
    side.gate.set()
    stuck.join(30)
    assert got == [200]
