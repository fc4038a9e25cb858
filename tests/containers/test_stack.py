"""``docker compose up`` as a user meets it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from .load import ASKS, Ask, exchange, load
from .stack import ROOT, Stack, docker, inspect, stack

PRINTED = re.findall(r"```(sh|python)\n(.*?)```", (ROOT / "docs" / "containers.md").read_text("utf-8"), re.DOTALL)
LINES = [text for kind, text in PRINTED if kind == "sh" and "curl" in text]
PROGRAMS = [text for kind, text in PRINTED if kind == "python"]
TRANSPORTS = {"tcp": "sidecar:50051", "socket": "/run/extproc/extproc.sock"}


@pytest.fixture(scope="module", params=TRANSPORTS)
def both(request: pytest.FixtureRequest, image: str) -> Iterator[Stack]:
    """The stack, with Envoy reaching the sidecar over TCP, then over the shared socket."""
    with stack(request.param, EXTPROC_SIDECAR=TRANSPORTS[request.param]) as made:
        yield made


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: f"{ask.path}{'-streamed' if ask.stream else ''}")
def test_both_directions_whole_and_streamed(both: Stack, ask: Ask) -> None:
    assert exchange(both.port, ask) == (200, "complete")


def test_the_socket_is_for_no_one_else(both: Stack) -> None:
    said = docker("exec", both.one("sidecar"), "stat", "-c", "%A %u", "/run/extproc", "/run/extproc/extproc.sock")
    folder, socket = said.splitlines()
    assert folder == "drwxr-x--- 65532" and socket.startswith("s") and socket.endswith(" 65532")


@pytest.mark.parametrize("number", range(2))
@pytest.mark.rows("F19")
def test_the_printed_curl_lines(both: Stack, number: int) -> None:
    line = LINES[number].replace("127.0.0.1:10000", f"127.0.0.1:{both.port}")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30, check=True)
    assert ('"type":"message"', "data: [DONE]")[number] in done.stdout


@pytest.mark.parametrize("number", range(2))
def test_the_printed_programs(both: Stack, number: int) -> None:
    program = PROGRAMS[number].replace("127.0.0.1:10000", f"127.0.0.1:{both.port}")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip().endswith("The sky is blue."), done.stderr


def test_only_loopback_is_opened(both: Stack) -> None:
    published = {}
    for service in ("envoy", "sidecar", "provider"):
        ports = inspect(both.one(service))["NetworkSettings"]["Ports"]
        published[service] = [(p, b["HostIp"]) for p, bindings in ports.items() for b in bindings or ()]
    assert published == {"envoy": [("10000/tcp", "127.0.0.1")], "sidecar": [], "provider": []}


@pytest.mark.parametrize("service", ["envoy", "sidecar", "provider"])
def test_every_container_is_hardened(both: Stack, service: str) -> None:
    found = inspect(both.one(service))
    host, user = found["HostConfig"], found["Config"]["User"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], user) == (True, ["ALL"], "65532:65532")
    assert host["SecurityOpt"] == ["no-new-privileges:true"]


def test_it_came_up_in_order(both: Stack) -> None:
    began = {s: inspect(both.one(s))["State"]["StartedAt"] for s in ("sidecar", "provider", "envoy")}
    (configuration,) = both.compose("ps", "-a", "-q", "configuration").split()
    assert inspect(configuration)["State"]["ExitCode"] == 0
    assert began["envoy"] > max(began["sidecar"], began["provider"], inspect(configuration)["State"]["FinishedAt"])


def test_envoy_waits_for_its_streams_before_it_ends(both: Stack) -> None:
    """What the Kubernetes manifest runs before it ends Envoy, in this Envoy. The last test of a stack: it drains it."""
    deployment = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "socket" / "deployment.yaml").read_text("utf-8"))
    (envoy,) = deployment["spec"]["template"]["spec"]["containers"]
    command = [part.replace("sleep 5", "sleep 0.2") for part in envoy["lifecycle"]["preStop"]["exec"]["command"]]
    with load(both.port) as seen:
        time.sleep(1)
        with ThreadPoolExecutor(1) as pool:
            hook = pool.submit(docker, "exec", both.one("envoy"), *command)
            time.sleep(1)
            assert not hook.done(), "it did not wait for what is open"
            seen.stop()
            hook.result(timeout=20)
    assert seen.seen["complete"] == seen.seen.total() > 0
