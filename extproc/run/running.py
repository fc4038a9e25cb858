"""A gateway as processes: the sidecar on a Unix socket, and Envoy before it."""

from __future__ import annotations

import os
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self, TypeVar

from ..credentials.aws import shared_file
from ..demo.processes import Envoy, NotStarted, Process, Sidecar, envoy_binary
from ..gateway import Layout
from ..reference import config

AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
)
"""Where systems keep the certificates of those that they trust."""
PASSED_ON = re.compile(r"PATH|HOME|TMPDIR|TZ|LANG|LC_.*|SSL_CERT_.*|LD_LIBRARY_PATH")
"""What of the environment Envoy has: no key is its business, before the sidecar puts one into a request."""


P = TypeVar("P", bound=Process)


class CannotRun(Exception):
    """What must be done first; the message says what."""


class NoEnvoy(CannotRun):
    """There is none on this machine."""


class Running:
    """A gateway between ``start`` and ``stop``, or in a ``with`` block. Raises CannotRun and NotStarted.

    *port* in place of the file's (0: any free one); *environ* is the sidecar's, with the keys.
    """

    def __init__(self, layout: Layout, environ: Mapping[str, str], port: int | None = None) -> None:
        self.layout = layout
        self.host, wanted = layout.listen
        self.port = wanted if port is None else port
        self._environ = environ
        self._stack = ExitStack()
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The base URL for clients on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.envoy.admin_port}"

    @property
    def view_url(self) -> str:
        """Where exchanges are shown as they happen."""
        return f"http://{self.sidecar.admin}/"

    def wait(self) -> None:
        """Until a process ends by itself, which raises NotStarted."""
        while all(process.alive() for process in self._processes):
            time.sleep(0.5)
        ended = [process for process in self._processes if not process.alive()]
        raise NotStarted("\n".join(process.ending() for process in ended))

    def _start(self) -> None:
        try:
            binary = envoy_binary()
        except FileNotFoundError as error:
            raise NoEnvoy(str(error)) from None
        if self.port:
            _free(self.host, self.port)
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="extproc-run-")))
        secrets = [*self.layout.secrets, shared_file(self._environ)]
        arguments = ["--secrets", ",".join(secrets)]
        if "EXTPROC_ADMIN" not in {**os.environ, **self._environ}:
            arguments += ["--admin", "127.0.0.1:0"]
        self.sidecar = self._started(Sidecar(self.folder, environ=self._environ, arguments=arguments))
        assert self.sidecar.socket is not None
        made = config.rewrite(
            trusting(self.layout.config), sidecar=self.sidecar.socket, upstreams={}, real=self.layout.hosts,
            listen=(self.host, self.port), access_log=str(self.folder / "access.log"),
        )  # fmt: skip
        own = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
        self.envoy = self._started(Envoy(self.folder, made, binary=binary, environ=own))
        self.port = self.envoy.port

    def _started(self, process: P) -> P:
        process.apart = True
        self._stack.enter_context(process)
        self._processes.append(process)
        return process


def _free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotRun(
                f"{host}:{port} cannot be had ({error.strerror}): --port 0 takes a free one; `extproc doctor "
                f"http://{host}:{port}` says whether another gateway has it"
            ) from None


def authorities() -> str | None:
    """The file of certificates that this system trusts."""
    usual = ssl.get_default_verify_paths()
    named = [os.environ.get("SSL_CERT_FILE"), usual.cafile, usual.openssl_cafile, *AUTHORITIES]
    return next((path for path in named if path and Path(path).is_file()), None)


def trusting(made: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration *made* with this system's authorities. Raises CannotRun where there are none, and TLS needs
    them."""
    copied: dict[str, Any] = config.copy_all(dict(made))
    contexts = list(_validations(copied))
    if contexts and not all(Path(context["trusted_ca"]["filename"]).is_file() for context in contexts):
        found = authorities()
        if found is None:
            raise CannotRun(
                "no certificates of authorities are on this system, and providers are asked over TLS: "
                "`apt-get install ca-certificates`, or name a file as SSL_CERT_FILE=/path/to/ca.pem"
            )
        for context in contexts:
            context["trusted_ca"]["filename"] = found
    return copied


def _validations(value: Any) -> Any:
    if isinstance(value, dict):
        if "trusted_ca" in value:
            yield value
        for item in value.values():
            yield from _validations(item)
    elif isinstance(value, list):
        for item in value:
            yield from _validations(item)
