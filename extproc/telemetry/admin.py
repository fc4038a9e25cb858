"""The admin port: ``GET /metrics`` and ``GET /healthz``, HTTP/1.1, one request a connection. Not for the outside."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Awaitable, Callable
from http import HTTPStatus

MAX_HEAD_BYTES = 16 * 1024
MAX_CONNECTIONS = 32
"""Open at once. For the next one the oldest gives way whose request has not come; if there is none, it is heard still,
and told that the server is busy unless it asks for ``/healthz``: whoever watches the process must not take it for
dead."""
MAX_PAGES = 4
"""Answers of ``/metrics`` that are being sent at once: a page may be a megabyte, and a client may not read it."""
PATIENCE_SECONDS = 5.0
"""For a request to come, and for its answer to be taken."""
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"

Page = tuple[HTTPStatus, str, str]


class Admin:
    """``start`` once, ``close`` once. *metrics* makes the page; *unwell* says in a word why new streams are not
    welcome, and nothing when they are."""

    def __init__(self, metrics: Callable[[], Awaitable[str]], unwell: Callable[[], str]) -> None:
        self._metrics = metrics
        self._unwell = unwell
        self._server: asyncio.Server | None = None
        self._silent: dict[asyncio.StreamWriter, None] = {}
        """Connections whose request has not come, the oldest first."""
        self._open = 0
        self._pages = 0

    async def start(self, address: str) -> str:
        """Listen on ``host:port`` (port 0: any free one); returns the address with the real port. Raises OSError."""
        host, _, port = address.rpartition(":")
        try:
            self._server = await asyncio.start_server(self._serve, host.strip("[]"), int(port), limit=MAX_HEAD_BYTES)
        except OSError as error:
            raise OSError(f"cannot listen on {address}: {error}") from None
        return f"{host}:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        self._silent[writer] = None
        if self._open > MAX_CONNECTIONS:
            oldest = next(iter(self._silent))
            if oldest is not writer:
                oldest.transport.abort()
                self._silent.pop(oldest, None)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                self._silent.pop(writer, None)
                await self._say(head, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Whoever cannot say what they want, or does not take it, gets nothing.
            writer.transport.abort()
        finally:
            self._open -= 1
            self._silent.pop(writer, None)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _say(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        is_page = b" /metrics" in head.partition(b"\r\n")[0]
        if is_page and self._pages >= MAX_PAGES:
            writer.write(_whole(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, "busy\n", with_body=True))
            await writer.drain()
            return
        self._pages += is_page
        try:
            # All of it must be taken, not all but what the socket holds.
            writer.transport.set_write_buffer_limits(high=0)
            writer.write(await self.answer(head))
            await writer.drain()
        finally:
            self._pages -= is_page

    async def answer(self, head: bytes) -> bytes:
        """The whole answer to a request's *head*."""
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        named = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("host:")]
        if any(not _is_ours(host) for host in named):
            # A page of the web has its own name resolved to us, and would read what is here.
            return _whole(HTTPStatus.FORBIDDEN, _TEXT, "ask by an address, or by a name without dots\n", with_body=True)
        status, kind, body = await self._answer(method, rest.partition(" ")[0].partition("?")[0])
        return _whole(status, kind, body, with_body=method != "HEAD")

    async def _answer(self, method: str, path: str) -> Page:
        if path not in ("/metrics", "/healthz"):
            return HTTPStatus.NOT_FOUND, _TEXT, "there are /metrics and /healthz\n"
        if method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, "GET only\n"
        if path == "/metrics":
            return HTTPStatus.OK, _METRICS_TYPE, await self._metrics()
        if reason := self._unwell():
            return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, f"{reason}\n"
        return HTTPStatus.OK, _TEXT, "ok\n"


def _is_ours(host: str) -> bool:
    """Whether *host* (with or without a port) is an address, or a name that no stranger can own: one without dots, or
    of a cluster."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    name = name.strip("[]").rstrip(".").lower()
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return "." not in name or name.endswith((".svc", ".local", ".internal", ".localhost"))


def _whole(status: HTTPStatus, kind: str, body: str, *, with_body: bool) -> bytes:
    data = body.encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"content-type: {kind}",
        f"content-length: {len(data)}",
        "connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode() + (data if with_body else b"")
