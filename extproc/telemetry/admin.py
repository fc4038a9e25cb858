"""The admin port: ``GET /metrics``, ``/healthz``, ``/exchanges`` and ``/config``, HTTP/1.1, one request a connection.
Not for the outside."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
from collections.abc import Callable
from http import HTTPStatus
from math import isfinite
from typing import Protocol
from urllib.parse import parse_qs

MAX_HEAD_BYTES = 16 * 1024
MAX_CONNECTIONS = 32
"""Open at once. For the next one the oldest gives way whose request has not come; if there is none, it is heard still,
and told that the server is busy unless it asks for ``/healthz``: whoever watches the process must not take it for
dead."""
MAX_PAGES = 4
"""Answers, but for ``/healthz``, that are being sent at once: one may be megabytes, and a client may not read it."""
PATIENCE_SECONDS = 5.0
"""For a request to come, and for its answer to be taken."""
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"

_JSON = "application/json"
_PATHS = ("/metrics", "/healthz", "/exchanges", "/config")
_THERE_ARE = "there are /metrics, /healthz, /exchanges and /config\n"
NOT_YOU = "ask from this machine, or set --admin-token\n"
NO_TOKEN = "authorization: Bearer ... with the admin token is needed\n"

Page = tuple[HTTPStatus, str, str]


class Pages(Protocol):
    """What the admin port shows."""

    async def metrics(self) -> str:
        """The page of Prometheus."""
        ...

    async def exchanges(self, since: float) -> str:
        """Those that ended after *since* (Unix seconds), and those that go on: JSON."""
        ...

    async def config(self) -> str:
        """Settings and compiled routes: JSON."""
        ...

    def unwell(self) -> str:
        """In a word why new streams are not welcome, and nothing when they are."""
        ...


class Admin:
    """``start`` once, ``close`` once. *token* is asked for what shows exchanges and routes; without one only who is on
    this machine sees them."""

    def __init__(self, pages: Pages, token: Callable[[], str] | None = None) -> None:
        self._says = pages
        self._token = token
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
        is_page = b" /healthz" not in head.partition(b"\r\n")[0]
        if is_page and self._pages >= MAX_PAGES:
            writer.write(_whole(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, "busy\n", with_body=True))
            await writer.drain()
            return
        self._pages += is_page
        try:
            # All of it must be taken, not all but what the socket holds.
            writer.transport.set_write_buffer_limits(high=0)
            peer = writer.get_extra_info("peername")
            writer.write(await self.answer(head, str(peer[0]) if peer else ""))
            await writer.drain()
        finally:
            self._pages -= is_page

    async def answer(self, head: bytes, peer: str = "127.0.0.1") -> bytes:
        """The whole answer to a request's *head* from the address *peer*."""
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        named = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("host:")]
        if any(not _is_ours(host) for host in named):
            # A page of the web has its own name resolved to us, and would read what is here.
            return _whole(HTTPStatus.FORBIDDEN, _TEXT, "ask by an address, or by a name without dots\n", with_body=True)
        path, _, query = rest.partition(" ")[0].partition("?")
        status, kind, body = await self._answer(method, path, query, lines, peer)
        return _whole(status, kind, body, with_body=method != "HEAD")

    async def _answer(self, method: str, path: str, query: str, lines: list[str], peer: str) -> Page:
        if path not in _PATHS:
            return HTTPStatus.NOT_FOUND, _TEXT, _THERE_ARE
        if method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, "GET only\n"
        if path == "/metrics":
            return HTTPStatus.OK, _METRICS_TYPE, await self._says.metrics()
        if path == "/healthz":
            if reason := self._says.unwell():
                return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, f"{reason}\n"
            return HTTPStatus.OK, _TEXT, "ok\n"
        if (refused := self._refused(lines, peer)) is not None:
            return refused
        if path == "/config":
            return HTTPStatus.OK, _JSON, await self._says.config()
        return HTTPStatus.OK, _JSON, await self._says.exchanges(_since(query))

    def _refused(self, lines: list[str], peer: str) -> Page | None:
        """Why *peer* may not see what people have said."""
        if self._token is None:
            return None if _is_here(peer) else (HTTPStatus.FORBIDDEN, _TEXT, NOT_YOU)
        given = next((line.partition(":")[2] for line in lines if line.lower().startswith("authorization:")), "")
        scheme, _, word = given.strip().partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(word.strip().encode(), self._token().encode()):
            return None
        return HTTPStatus.UNAUTHORIZED, _TEXT, NO_TOKEN


def _since(query: str) -> float:
    """The parameter ``since``; nought if there is none that is a number."""
    try:
        found = float(parse_qs(query).get("since", ["0"])[-1])
    except ValueError:
        return 0.0
    return found if isfinite(found) else 0.0


def _is_here(peer: str) -> bool:
    """Whether it is an address of this machine's loopback."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


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
    if status is HTTPStatus.UNAUTHORIZED:
        lines.append("www-authenticate: Bearer")
    if kind == _JSON:
        lines += ["cache-control: no-store", "x-content-type-options: nosniff"]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode() + (data if with_body else b"")
