"""What clients see when something beside Envoy comes and goes under load. Each case prints its count."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .load import ASKS, exchange, load
from .stack import Stack, docker, inspect, kill_process, stack, wait_healthy

Count = Callable[[str], None]
ADDRESS = "0.0.0.0:50051"
DRAIN_DELAY = 8
"""Seconds; longer than Envoy's health check (5 s) takes to notice that an instance is about to go."""


@pytest.fixture(scope="module")
def pair(image: str) -> Iterator[Stack]:
    """Two sidecars behind one Envoy cluster. TCP alone: they share a volume, and one socket would hide the other."""
    options = ["--scale", "sidecar=2"]
    with stack("pair", options=options, EXTPROC_LISTEN=ADDRESS, EXTPROC_DRAIN_DELAY_SECONDS=str(DRAIN_DELAY)) as made:
        yield made


def test_a_killed_sidecar_comes_back(running: Stack, count: Count) -> None:
    sidecar = running.one("sidecar")
    with load(running.port) as seen:
        time.sleep(3)
        before = seen.after(0)
        kill_process(sidecar)
        killed = time.monotonic()
        back = _first_complete(running, killed)
        time.sleep(4)
        calm = seen.after(time.monotonic() - 2)
    count(f"{seen}; the first answer came {back:.1f} s after the kill")
    assert before["complete"] == before.total() > 0
    assert inspect(sidecar)["RestartCount"] == 1
    assert seen.seen["wrong"] == 0
    assert seen.seen["refused"] + seen.seen["broken"] > 0, "no exchange met the kill: nothing was tested"
    assert calm["complete"] == calm.total() > 0


def _first_complete(made: Stack, since: float) -> float:
    """Seconds from *since* until an exchange is whole again."""
    while exchange(made.port, ASKS[0]) != (200, "complete"):
        assert time.monotonic() - since < 40, "it did not come back"
        time.sleep(0.05)
    return time.monotonic() - since


def test_two_replicas_share_the_load(pair: Stack, count: Count) -> None:
    before = pair.served()
    assert len(before) == 2
    with load(pair.port, clients=8) as seen:
        time.sleep(4)
    after = pair.served()
    shares = [after[address] - before[address] for address in before]
    count(f"{seen}; streams to each replica: {shares}")
    assert seen.seen["complete"] == seen.seen.total()
    assert min(shares) > 0.25 * sum(shares)


def test_a_replica_that_is_told_to_go_drops_no_stream(pair: Stack, count: Count) -> None:
    """A rolling upgrade: each replica in turn is told to end and its successor comes up, under load."""
    replaced = pair.containers("sidecar")
    statuses = []
    with load(pair.port, clients=8) as seen:
        time.sleep(1)
        for container in replaced:
            # Else the engine would call the end an end that was asked for, and the compose file's restart would not.
            docker("stop", "--time", "60", container)
            statuses.append(inspect(container)["State"]["ExitCode"])
            docker("start", container)
            wait_healthy(container)
            # Envoy's health check must take it in again before the other goes.
            _until_all_are_healthy(pair)
    count(f"{seen}; exit statuses of the replaced: {statuses}")
    assert statuses == [0, 0]
    assert seen.seen["complete"] == seen.seen.total()


def _until_all_are_healthy(made: Stack) -> None:
    until = time.monotonic() + 30
    while [flags for flags in made.health().values() if flags != "healthy"] or len(made.health()) < 2:
        assert time.monotonic() < until, made.health()
        time.sleep(0.3)


def test_the_loss_of_a_replica_is_survived(pair: Stack, count: Count) -> None:
    lost, left = pair.containers("sidecar")
    with load(pair.port, clients=8) as seen:
        time.sleep(2)
        before = seen.after(0)
        killed = time.monotonic()
        docker("kill", lost)
        time.sleep(18)
        calm = seen.after(time.monotonic() - 4)
        worst = seen.after(killed)
    docker("start", lost)
    wait_healthy(lost)
    count(f"{seen}; {worst['complete']} of {worst.total()} since the kill were complete")
    # Clients' own exchanges of the moment, and what met the lost one before it was left out.
    assert worst.total() - worst["complete"] < 30
    assert before["complete"] == before.total() > 0
    assert inspect(left)["State"]["Running"] and inspect(left)["RestartCount"] == 0
    assert seen.seen["wrong"] == 0
    assert calm["complete"] == calm.total() > 0


@pytest.fixture(scope="module")
def rotating(image: str) -> Iterator[Stack]:
    with stack("rotated", files=[Path(__file__).with_name("rotated.yaml")], EXTPROC_LISTEN=ADDRESS) as made:
        yield made


def _put(made: Stack, key: str) -> None:
    """Replace the key as Kubernetes and careful people do: a new file takes the old one's name."""
    script = f"cd /run/keys && printf '%s\\n' '{key}' > .new && mv .new openai"
    docker("exec", made.one("provider"), "sh", "-c", script)


def test_a_rotated_secret_needs_no_restart(rotating: Stack, count: Count) -> None:
    sidecar = rotating.one("sidecar")
    ask = ASKS[0]
    answers = []
    for key, turns in (("demo-key-of-openai", 10), ("revoked", 10), ("demo-key-of-openai", 10)):
        _put(rotating, key)
        answers.append([exchange(rotating.port, ask)[0] for _ in range(turns)])
    with load(rotating.port) as seen:
        for _ in range(5):
            _put(rotating, "demo-key-of-openai")
            time.sleep(0.3)
    count(f"statuses under the right key, a wrong one, the right one: {answers}; five rotations under load: {seen}")
    assert answers == [[200] * 10, [401] * 10, [200] * 10]
    assert seen.seen["complete"] == seen.seen.total()
    assert inspect(sidecar)["RestartCount"] == 0 and rotating.one("sidecar") == sidecar
