"""``extproc health`` against servers that serve, drain, and are not there."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.cli import main
from extproc.demo.processes import Sidecar
from extproc.server import health


@pytest.fixture
def sidecar(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Sidecar]:
    with Sidecar(tmp_path, arguments=["--drain-delay-seconds", "20", "--transport", request.param]) as running:
        yield running
        # The second signal ends the wait.
        running.signal(signal.SIGTERM)


both = pytest.mark.parametrize("sidecar", ["grpcio", "h2"], indirect=True)


@both
def test_a_server_that_serves_and_then_drains(sidecar: Sidecar, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", sidecar.address]) == 0
    assert capsys.readouterr().out == f"{sidecar.address} SERVING\n"
    sidecar.signal(signal.SIGTERM)
    until = time.monotonic() + 5
    while main(["health", sidecar.address]) == 0 and time.monotonic() < until:
        time.sleep(0.05)
    assert capsys.readouterr().out.endswith(f"{sidecar.address} NOT_SERVING\n")


@pytest.mark.parametrize("sidecar", ["grpcio"], indirect=True)
def test_all_addresses_must_serve(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTPROC_LISTEN", sidecar.address)
    assert main(["health"]) == 0
    monkeypatch.setenv("EXTPROC_LISTEN", f"{sidecar.address},127.0.0.1:1")
    assert main(["health", "--timeout", "1"]) == 1


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "127.0.0.1:1", "--timeout", "1"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("127.0.0.1:1 UNAVAILABLE") and said.out.count("\n") == 1
    assert "`extproc serve --listen 127.0.0.1:1` starts one" in said.err


def test_a_server_that_hangs(tmp_path: Path) -> None:
    with Sidecar(tmp_path) as sidecar, stopped(sidecar.pid):
        assert health.check(sidecar.address, 0.5).startswith("DEADLINE_EXCEEDED")


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    subprocess.run(["kill", "-STOP", str(pid)], check=True)
    yield
    subprocess.run(["kill", "-CONT", str(pid)], check=True)


def test_a_wrong_setting_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTPROC_LISTEN", "nowhere")
    assert main(["health"]) == 2


@pytest.mark.parametrize(
    ("listening", "called"),
    [("0.0.0.0:50051", "127.0.0.1:50051"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1"), ("unix:/s", "unix:/s")],
)
def test_where_a_server_is_called(listening: str, called: str) -> None:
    assert health.target(listening) == called
