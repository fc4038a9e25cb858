"""Several workers as endpoints of one cluster: Envoy spreads streams over them, and none of them is missed for long."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.processes import Envoy, Sidecar
from extproc.reference import config as envoy_config
from tests.support.gateway import KEYS, Backends, Gateway, Reply
from tests.support.placements import clusters, two_streams
from tests.support.upstream import ScriptedUpstream, eventually
from tests.support.workers import Workers

COUNT = 3
CLIENTS = 4
DRAIN = ("--drain-delay-seconds", "1.5", "--drain-seconds", "10")
"""Longer than Envoy's health checks here take to notice."""


def placed(made: Workers, placement: str, openai: int, anthropic: int, log: Path) -> dict[str, Any]:
    """The reference configuration with every worker as an endpoint."""
    upstreams = {"api.openai.com": ("127.0.0.1", openai), "api.anthropic.com": ("127.0.0.1", anthropic)}
    sockets = [address.removeprefix("unix:") for address in made.addresses]
    reference = envoy_config.reference()
    config = envoy_config.rewrite(
        two_streams(reference) if placement == "upstream" else reference,
        sidecar=sockets[0],
        upstreams=upstreams,
        access_log=str(log),
    )
    cluster = clusters(config)["extproc"]
    endpoints = [{"endpoint": {"address": {"pipe": {"path": path}}}} for path in sockets]
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]
    cluster["health_checks"][0].update(interval="0.3s", no_traffic_interval="0.3s", timeout="0.3s")
    return config


@contextmanager
def running(folder: Path, placement: str) -> Iterator[tuple[Gateway, Workers]]:
    openai, anthropic = ScriptedUpstream(as_openai.answer), ScriptedUpstream(as_anthropic.answer)
    with openai, anthropic, Workers(folder, COUNT, *DRAIN, environ=KEYS) as made:
        log = folder / "access.log"
        with Envoy(folder, placed(made, placement, openai.port, anthropic.port, log)) as envoy:
            yield Gateway(placement, envoy, Backends(folder, cast(Sidecar, made), openai, anthropic), log), made
            assert envoy.alive(), envoy.tail()


@pytest.fixture(params=["one-stream", "upstream"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Gateway, Workers]]:
    with running(tmp_path, request.param) as made:
        yield made


class Load:
    """Clients that ask all the time, each in turn one API and the other, whole and as a stream."""

    def __init__(self, gateway: Gateway) -> None:
        self.replies: list[Reply] = []
        self._gateway = gateway
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def _ask(self) -> None:
        turn = 0
        while not self._over.is_set():
            turn += 1
            ask = self._gateway.chat if turn % 2 else self._gateway.messages
            self.replies.append(ask("claude-haiku-4-5" if turn % 2 else "gpt-5", stream=turn % 4 < 2))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client waits for ever"


def is_whole(reply: Reply) -> bool:
    """Whether it is an answer with its end; else it must not look like one."""
    if reply.headers.get("content-type", "").startswith("text/event-stream"):
        ended = b"data: [DONE]" in reply.body or b"message_stop" in reply.body
    else:
        ended = reply.status == 200 and not reply.broken and ("choices" in reply.json or "content" in reply.json)
    assert not (ended and reply.broken) or reply.status != 200
    return ended and reply.status == 200


def test_streams_are_spread_over_all(pair: tuple[Gateway, Workers]) -> None:
    gateway, made = pair
    before, each = gateway.streams("rq_total"), 2 if gateway.placement == "upstream" else 1
    with Load(gateway) as load:
        assert eventually(lambda: len(load.replies) >= 180 // each, 30)
    assert all(map(is_whole, load.replies))
    got = gateway.streams("rq_total")
    got.subtract(before)
    assert sum(got.values()) >= each * len(load.replies), "the router's, and the translator's if it has its own"
    assert len(got) == COUNT
    assert min(got.values()) > 0.5 * max(got.values()), got
    assert len(made.pids()) == COUNT


def test_one_that_dies_takes_its_own_streams_with_it_and_no_more(pair: tuple[Gateway, Workers]) -> None:
    gateway, made = pair
    before = made.pids()
    with Load(gateway) as load:
        assert eventually(lambda: len(load.replies) >= 20, 30)
        os.kill(before[0], signal.SIGKILL)
        assert eventually(lambda: " serves on " in made.text, 10)
        seen = len(load.replies)
        assert eventually(lambda: len(load.replies) >= seen + 60, 30)
    # What it was working on; the others were answered, and by the end so was everyone.
    lost = [reply for reply in load.replies if not is_whole(reply)]
    assert len(lost) <= 4 * CLIENTS, [(reply.status, reply.body[:200]) for reply in lost]
    assert all(reply.broken or reply.status >= 500 or b"error" in reply.body for reply in lost)
    assert all(map(is_whole, load.replies[-20:]))
    assert len(made.pids()) == COUNT and made.pids()[1:] == before[1:]


def test_reloaded_and_replaced_under_load_they_lose_nothing(pair: tuple[Gateway, Workers]) -> None:
    gateway, made = pair
    before = made.pids()
    with Load(gateway) as load:
        assert eventually(lambda: len(load.replies) >= 20, 30)
        made.signal(signal.SIGHUP)
        assert eventually(lambda: made.text.endswith(" reloaded\n"), 60)
        assert made.pids() == before
        made.signal(signal.SIGUSR2)
        assert eventually(lambda: made.text.endswith(" all workers are replaced\n"), 60)
        seen = len(load.replies)
        assert eventually(lambda: len(load.replies) >= seen + 20, 30)
    lost = [reply for reply in load.replies if not is_whole(reply)]
    assert not lost, [(reply.status, reply.body[:200]) for reply in lost]
    assert made.others(before)


def test_told_to_end_all_finish_what_they_have(pair: tuple[Gateway, Workers]) -> None:
    gateway, made = pair
    gateway.openai_upstream.always(lambda request: as_openai.answer(request, pause=0.3))
    replies: list[Reply] = []
    asking = [threading.Thread(target=lambda: replies.append(gateway.messages("gpt-5", stream=True))) for _ in range(6)]
    for thread in asking:
        thread.start()
    assert eventually(lambda: gateway.openai_upstream.open == 6)
    time.sleep(0.3)
    made.signal(signal.SIGTERM)
    for thread in asking:
        thread.join(30)
    assert len(replies) == 6 and all(map(is_whole, replies))
    assert eventually(lambda: not made.alive(), 15) and made.gone()
    assert made.stop() == 0
