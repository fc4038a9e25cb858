"""Starts what is measured and what it is measured with: the mock provider, sidecars, Envoys; ends them all."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import machine
import payloads
from extproc.demo.processes import Envoy, Process, Sidecar
from extproc.reference import config

HERE = Path(__file__).parent
TRANSPORTS = ("h2", "grpcio")
MODEL_HEADER = "x-extproc-model"
ROUTER, TRANSLATOR = "extproc.listener", "extproc.translate"
"""The filters of deploy/envoy.yaml."""
SHIPPED, TWO_STREAMS, WITHOUT_ROUTER = "as shipped", "two streams", "translator only"
"""What translates: the router's own stream, as in deploy/envoy.yaml for a provider that stands alone; a filter in the
cluster, behind the router, as there for providers that fail over; that filter alone."""


Started = TypeVar("Started", bound=Process)


class Noop(Sidecar):
    """In a sidecar's place, does nothing."""

    def command(self) -> Sequence[str]:
        (transport,) = (value for value in TRANSPORTS if value in self.arguments)
        return [sys.executable, str(HERE / "noop.py"), transport, self.address]


class MockProvider(Process):
    """provider.py; ``port`` is where it listens."""

    def __init__(self, folder: Path) -> None:
        super().__init__("provider", folder)
        self.port = 0

    def command(self) -> Sequence[str]:
        return [sys.executable, str(HERE / "provider.py")]

    def ready(self) -> bool:
        self.port = int(self.log.read_text().strip() or 0)
        return self.port > 0


class Rig:
    """A folder, and the processes that end with the ``with`` block."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._count = 0
        self._provider: MockProvider | None = None

    def __enter__(self) -> Rig:
        if threading.current_thread() is threading.main_thread():
            # What was started must end, however this is ended.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        self._root = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="extproc-bench-")))
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def enter(self, process: Started) -> Started:
        """*process*, started; it ends with the block."""
        started: Started = self._stack.enter_context(process)
        return started

    def folder(self) -> Path:
        """A new one: each process has its own."""
        self._count += 1
        made = self._root / str(self._count)
        made.mkdir()
        return made

    def provider(self) -> MockProvider:
        """The one of this rig."""
        if self._provider is None:
            self._provider = self._stack.enter_context(MockProvider(self.folder()))
        return self._provider

    def sidecar(
        self,
        transport: str,
        *,
        noop: bool = False,
        source: bool = False,
        environ: Mapping[str, str] = payloads.KEYS,
        arguments: Sequence[str] = (),
    ) -> Sidecar:
        """``extproc serve`` on a Unix socket, or what does nothing in its place; compiled, if it has been and *source*
        does not forbid it."""
        kind = Noop if noop else Sidecar
        runs = {**environ, **machine.code(source=source)}
        made = kind(self.folder(), environ=runs, arguments=["--transport", transport, *arguments])
        started: Sidecar = self._stack.enter_context(made)
        return started

    def envoy(self, sidecar: Sidecar | str | None, *, layout: str = SHIPPED) -> Envoy:
        """Envoy with deploy/envoy.yaml, one worker, in front of the provider. *sidecar*: it, or the path of its socket;
        None takes all ext_proc filters out: the client names the model, as it does where the router is left out."""
        folder = self.folder()
        where = sidecar.socket if isinstance(sidecar, Sidecar) else sidecar
        to = ("127.0.0.1", self.provider().port)
        made = config.rewrite(
            config.reference() if layout == SHIPPED and where else config.two_streams(config.reference()),
            sidecar=where or str(folder / "none.sock"),
            upstreams={"api.openai.com": to, "api.anthropic.com": to},
            access_log=str(folder / "access.log"),
        )
        needed = {ROUTER: bool(where) and layout != WITHOUT_ROUTER, TRANSLATOR: bool(where)}
        without_filters(made, *(name for name, is_needed in needed.items() if not is_needed))
        started: Envoy = self._stack.enter_context(Envoy(folder, made))
        return started


def without_filters(made: dict[str, Any], *names: str) -> None:
    """Take the filters of these names out of a configuration."""
    resources = made["static_resources"]
    holders = [item["typed_config"] for listener in resources["listeners"] for chain in listener["filter_chains"]
               for item in chain["filters"]]  # fmt: skip
    for cluster in resources["clusters"]:
        holders += cluster["typed_extension_protocol_options"].values()
    for holder in holders:
        if "http_filters" in holder:
            holder["http_filters"] = [each for each in holder["http_filters"] if each["name"] not in names]
