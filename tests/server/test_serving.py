"""``extproc serve`` as a process: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from extproc.server.service import PROCESS
from extproc.server.serving import admin_port
from extproc.settings import SettingError, Settings
from tests.server.test_grpcio import headers

QUIET = {"EXTPROC_SECRETS": "*"}
"""Without it the server warns at its start."""


@contextmanager
def sidecar(*flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running sidecar and its address."""
    command = [sys.executable, "-m", "extproc", "serve", "--listen", "127.0.0.1:0", *flags]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **QUIET})
    try:
        assert child.stderr is not None
        line = child.stderr.readline()
        assert line.startswith("extproc listens on 127.0.0.1:"), line + child.stderr.read()
        yield child, line.split()[-1]
    finally:
        child.kill()
        child.wait()
        assert child.stderr is not None
        child.stderr.close()


def test_it_warns_before_it_listens() -> None:
    command = [sys.executable, "-m", "extproc", "serve", "--listen", "0.0.0.0:0", "--drain-seconds", "0"]
    child = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **QUIET, "EXTPROC_WORKER": "2"}
    )
    try:
        assert child.stderr is not None
        first, second = child.stderr.readline(), child.stderr.readline()
        assert "EXTPROC_WORKER is no setting and has no effect; did you mean EXTPROC_WORKERS?" in first
        assert "0.0.0.0:0: whoever reaches this port" in second
    finally:
        child.kill()
        child.wait()
        assert child.stderr is not None
        child.stderr.close()


class Stream:
    """One stream of Process, from a synchronous client."""

    def __init__(self, address: str) -> None:
        self._more = threading.Event()
        self._channel = grpc.insecure_channel(address)
        method = self._channel.stream_stream(
            PROCESS, ProcessingRequest.SerializeToString, ProcessingResponse.FromString
        )
        self.call: Any = method(self._messages())

    def answered(self) -> str:
        """What the next answer is of, behind the word that it takes longer, where a process has to start for it."""
        said = next(each for each in self.call if not each.HasField("override_message_timeout"))
        return str(said.WhichOneof("response"))

    def _messages(self) -> Iterator[ProcessingRequest]:
        yield headers()
        self._more.wait(30)

    def finish(self) -> None:
        self._more.set()


def test_a_drain_waits_for_streams_and_ends_with_status_0() -> None:
    with sidecar("--drain-seconds", "20") as (child, address):
        stream = Stream(address)
        assert stream.answered() == "request_headers"
        child.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.5)
        stream.finish()
        assert list(stream.call) == []
        assert stream.call.code() is grpc.StatusCode.OK
        assert child.wait(10) == 0


@pytest.mark.parametrize("how", ["bound", "insisted"])
def test_a_drain_ends_at_its_bound_or_when_asked_again(how: str) -> None:
    with sidecar("--drain-seconds", "0.3" if how == "bound" else "60") as (child, address):
        stream = Stream(address)
        stream.answered()
        child.send_signal(signal.SIGTERM)
        if how == "insisted":
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.3)
            child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
        stream.finish()
        assert stream.call.code() is not grpc.StatusCode.OK


def test_during_the_delay_streams_are_still_taken() -> None:
    with sidecar("--drain-delay-seconds", "3") as (child, address):
        child.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.3)
        stream = Stream(address)
        assert stream.answered() == "request_headers"
        stream.finish()
        assert child.wait(10) == 0


def test_nothing_is_logged_for_an_exchange() -> None:
    with sidecar() as (child, address):
        for _ in range(3):
            stream = Stream(address)
            stream.answered()
            stream.finish()
            assert stream.call.code() is grpc.StatusCode.OK
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
        assert child.stderr is not None
        assert child.stderr.read() == ""


def test_the_process_imports_no_other_stubs_of_envoy_and_nothing_that_must_be_asked_for() -> None:
    code = (
        "import sys, extproc.server.grpcio, extproc.server.workers, extproc.commands as commands\n"
        "commands.every()\n"
        "print(sorted(n for n in sys.modules if n.split('.')[0] in ('envoy', 'udpa', 'xds', 'validate')\n"
        "             or n in ('extproc.captures', 'extproc.tracing', 'extproc.telemetry.admin')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_library_needs_neither_grpc_nor_protobuf() -> None:
    code = "import sys\nfrom extproc import *\nprint(sorted({'grpc', 'google.protobuf'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Quiet:
    async def metrics(self) -> str:
        return "m 1\n"

    async def exchanges(self, since: float) -> str:
        return "{}"

    async def config(self) -> str:
        return "{}"

    def unwell(self) -> str:
        return ""


def test_an_admin_token_is_a_reference(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def opened(**settings: str) -> None:
        async with admin_port(Settings(**settings), Quiet()):  # type: ignore[arg-type]
            pass

    monkeypatch.setenv("ADMIN_TOKEN", "hidden-from-all")
    asyncio.run(opened())
    asyncio.run(opened(admin="127.0.0.1:0", admin_token="${ADMIN_TOKEN}"))
    assert capfd.readouterr().err.count("extproc admin on 127.0.0.1:") == 1
    with pytest.raises(SettingError, match="--admin-token: refer to the secret") as raised:
        asyncio.run(opened(admin="127.0.0.1:0", admin_token="hidden-from-all"))
    assert "hidden" not in str(raised.value)
