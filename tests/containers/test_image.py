"""The image by itself: what is in it, what it may do, how it comes and goes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest

from .stack import Stack, docker, inspect, wait_healthy

MIB = 1024 * 1024
HARDENED: dict[str, Any] = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}


@contextmanager
def container(image: str, **options: Any) -> Iterator[Any]:
    """A hardened container of *image*, as testcontainers runs it."""
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    # Its reaper is one more image to fetch; the block ends the container.
    testcontainers_config.ryuk_disabled = True
    with DockerContainer(image).with_kwargs(**{**HARDENED, **options}) as made:
        yield made.get_wrapped_container()


@pytest.fixture(scope="module")
def hardened(image: str) -> Iterator[Any]:
    with container(image) as made:
        wait_healthy(made.id)
        yield made


def test_it_is_small_and_says_what_it_is(image: str) -> None:
    found = inspect(image)
    layers = found["Size"] - _size_of_base(found)
    # A fifth of it are the clients of Kafka and of OTLP, so that both work in the image as it is.
    assert layers < 170 * MIB, f"{layers / MIB:.0f} MiB of our own"
    labels = found["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "extproc" and labels["org.opencontainers.image.version"]


def test_it_can_sign_and_fetch_tokens(hardened: Any) -> None:
    """D8: a route with ``auth: {gcp: ...}`` or ``aws`` works in the image as it is."""
    needed = "import botocore.auth, google.oauth2.service_account"
    code, said = hardened.exec_run(["/opt/extproc/bin/python", "-c", needed])
    assert code == 0, said


def _size_of_base(found: Any) -> int:
    """The size of the image whose layers *found* begins with."""
    layers = found["RootFS"]["Layers"]
    images = {i for i in docker("images", "-q", "--no-trunc").split() if i != found["Id"]}
    bases = [other for other in map(inspect, images) if other["RootFS"]["Layers"] == layers[:-2]]
    return max((other["Size"] for other in bases), default=0)


def test_it_holds_no_build_tools(hardened: Any) -> None:
    _, said = hardened.exec_run(["sh", "-c", "command -v gcc cc make git; ls /opt/extproc/bin; ls / | grep -x src"])
    names = said.decode().split()
    assert "extproc" in names and not {"pip", "gcc", "cc", "make", "git", "src"} & set(names)


def test_it_runs_as_nobody_and_can_write_nothing(hardened: Any) -> None:
    script = "exec 2>&1; id -u; grep -E 'CapEff|NoNewPrivs' /proc/1/status; touch /run/extproc/x /opt/x /tmp/x"
    _, said = hardened.exec_run(["sh", "-c", script])
    text = said.decode()
    assert text.splitlines()[0] == "65532"
    assert "CapEff:\t0000000000000000" in text and "NoNewPrivs:\t1" in text
    assert text.count("Read-only file system") == 3


def test_health_turns_ready_and_is_asked_by_our_own_command(hardened: Any) -> None:
    assert inspect(hardened.id)["Config"]["Healthcheck"]["Test"] == ["CMD", "extproc", "health"]
    status, said = hardened.exec_run(["extproc", "health"])
    assert (status, said) == (0, b"0.0.0.0:50051 SERVING\n")


def test_it_ends_in_order_when_told_to(image: str) -> None:
    with container(image) as made:
        wait_healthy(made.id)
        began = time.monotonic()
        made.stop(timeout=30)
        assert time.monotonic() - began < 10
        assert inspect(made.id)["State"]["ExitCode"] == 0


def test_what_hangs_turns_unhealthy(image: str) -> None:
    seconds = 10**9
    command = ["CMD", "extproc", "health", "--timeout", "1"]
    check = {"test": command, "interval": seconds, "timeout": 4 * seconds, "retries": 1}
    with container(image, healthcheck=check) as made:
        wait_healthy(made.id)
        # The engine does not ask a paused container; a stopped process hangs as a program does.
        docker("kill", "--signal", "STOP", made.id)
        until = time.monotonic() + 30
        while inspect(made.id)["State"]["Health"]["Status"] != "unhealthy" and time.monotonic() < until:
            time.sleep(0.5)
        assert inspect(made.id)["State"]["Health"]["Status"] == "unhealthy"
        docker("kill", "--signal", "CONT", made.id)
        wait_healthy(made.id)


def test_limits_of_memory_and_cpu_hold(running: Stack, count: Callable[[str], None]) -> None:
    """The compose file's limits, the CPU's lowered to less than the load asks for."""
    sidecar = running.one("sidecar")
    limits = inspect(sidecar)["HostConfig"]
    assert (limits["Memory"], limits["NanoCpus"]) == (512 * MIB, 10**9)
    docker("update", "--cpus", "0.1", sidecar)
    before, began = usage(sidecar), time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda _: _large(running.port), range(12)))
    after, wall = usage(sidecar), time.monotonic() - began
    docker("update", "--cpus", "1", sidecar)
    state = inspect(sidecar)
    used = (after["cpu"] - before["cpu"]) / wall
    count(
        f"{statuses.count(200)} of {len(statuses)} requests of 8 MB answered by a sidecar of 512 MiB and a tenth of a "
        f"CPU; it used {used:.2f} CPU and at most {after['memory'] / MIB:.0f} MiB"
    )
    assert statuses == [200] * len(statuses)
    assert not state["State"]["OOMKilled"] and state["RestartCount"] == 0
    assert after["memory"] <= 512 * MIB
    assert used < 0.13


def usage(container_id: str) -> dict[str, float]:
    """CPU seconds so far, and bytes of memory now (or at their highest, where the engine knows)."""
    import docker as engine

    with closing(engine.from_env()) as client:
        stats: Any = client.containers.get(container_id).stats(stream=False)
    memory = stats["memory_stats"]
    return {
        "cpu": stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
        "memory": memory.get("max_usage", memory["usage"]),
    }


def _large(port: int) -> int:
    """The status of one request of 8 MB."""
    text = "All work and no play makes Jack a dull boy. " * (8_000_000 // 44)
    body = {"model": "gpt-5", "max_tokens": 99, "messages": [{"role": "user", "content": text}]}
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/v1/messages", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status
