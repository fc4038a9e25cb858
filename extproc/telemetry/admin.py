"""The admin port: the live view at ``GET /``, ``/metrics``, ``/healthz``, ``/readyz``, ``/exchanges`` and ``/config``;
HTTP/1.1, one request a connection. Not for the outside."""

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

from ..version import version
from . import live
from .ring import Look

MAX_HEAD_BYTES = 16 * 1024
MAX_CONNECTIONS = 32
"""Open at once. For the next one the oldest gives way whose request has not come; if there is none, it is heard still,
and told that the server is busy unless it asks for one of ``WATCHED``: whoever watches the process must not take it for
dead."""
MAX_PAGES = 4
"""Answers, but for those of ``WATCHED``, that are being sent at once: one may be megabytes, and a client may not read
it."""
PATIENCE_SECONDS = 5.0
"""For a request to come, and for its answer to be taken."""
MAX_WAITING = 8
"""Who waits at once for something to happen; the next one is answered with what there is."""
MAX_WAIT_SECONDS = 25.0
"""How long ``wait`` may be."""
LOOK_SECONDS = 0.25
"""Between two looks whether something has happened."""
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_HTML = "text/html; charset=utf-8"
_JSON = "application/json"
_SERVER = f"extproc/{version()}"
"""What `extproc doctor` compares with its own."""
_EXCHANGE = "/exchanges/"
WATCHED = ("/healthz", "/readyz")
"""What whoever watches the process asks: whether to start it anew, and whether to send it more."""
_WELL = frozenset({"starting", "draining"})
"""Words of ``unwell`` for a process that only is not to be sent more."""
_PATHS = ("/", "/metrics", *WATCHED, "/exchanges", "/config")
_THERE_ARE = f"there are {', '.join(_PATHS)} and {_EXCHANGE}ID\n"
NOT_YOU = "ask from this machine, or set --admin-token\n"
NO_TOKEN = "authorization: Bearer ... with the admin token is needed\n"

Page = tuple[HTTPStatus, str, str]


class HttpRequest:
    """What is asked, of whatever *head* a request has, by the address *peer*."""

    def __init__(self, head: bytes, peer: str) -> None:
        first, *self.lines = head.decode("latin-1").split("\r\n")
        self.method, _, rest = first.partition(" ")
        self.path, _, query = rest.partition(" ")[0].partition("?")
        self.peer = peer
        self._given = parse_qs(query)

    def values(self, name: str) -> list[str]:
        """Those of the headers of that name."""
        return [line.partition(":")[2].strip() for line in self.lines if line.lower().startswith(f"{name}:")]

    def parameter(self, name: str) -> str:
        """The last one of that name, else nothing."""
        return self._given.get(name, [""])[-1]

    def seconds(self, name: str) -> float:
        """A parameter that is a number of seconds; nought if it is none."""
        try:
            found = float(self.parameter(name))
        except ValueError:
            return 0.0
        return found if isfinite(found) else 0.0

    @property
    def asked(self) -> Look:
        return Look(self.seconds("since"), self.parameter("cursor"), self.parameter("bodies") != "no")


class Pages(Protocol):
    """What the admin port shows."""

    async def metrics(self) -> str:
        """The page of Prometheus."""
        ...

    async def cursor(self) -> str:
        """Where the exchanges are now: something else once anything has happened."""
        ...

    async def exchanges(self, asked: Look) -> str:
        """Those that ended, as far as they are asked for, and those that go on: JSON."""
        ...

    async def exchange(self, process: int, number: int) -> str:
        """All that is kept of one of them: JSON, ``null`` if nothing is."""
        ...

    async def config(self) -> str:
        """Settings and compiled routes: JSON."""
        ...

    def unwell(self) -> str:
        """In a word why new streams are not welcome (``starting``, ``draining``, what is wrong), and nothing when they
        are."""
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
        self._waiting = 0

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
            async with asyncio.timeout(PATIENCE_SECONDS) as patience:
                head = await reader.readuntil(b"\r\n\r\n")
                self._silent.pop(writer, None)
                peer = writer.get_extra_info("peername")
                request = HttpRequest(head, str(peer[0]) if peer else "")
                if (seconds := self._may_wait(request)) > 0:
                    patience.reschedule(asyncio.get_running_loop().time() + seconds + PATIENCE_SECONDS)
                    await self._until_news(request.parameter("cursor"), seconds, reader)
                await self._say(request, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Whoever cannot say what they want, or does not take it, gets nothing.
            writer.transport.abort()
        except asyncio.CancelledError:
            # The process ends, and nobody waits for this: Python 3.11 would log it as an error.
            writer.transport.abort()
        finally:
            self._open -= 1
            self._silent.pop(writer, None)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _may_wait(self, request: HttpRequest) -> float:
        """For how many seconds *request* asks to be answered when something has happened, if it may."""
        if request.path != "/exchanges" or self._waiting >= MAX_WAITING or self._refused(request) is not None:
            return 0.0
        return min(request.seconds("wait"), MAX_WAIT_SECONDS)

    async def _until_news(self, cursor: str, seconds: float, reader: asyncio.StreamReader) -> None:
        """Wait until something has happened since *cursor*, for so long at most, and not for one who has gone."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        self._waiting += 1
        try:
            while loop.time() < until and not reader.at_eof() and await self._says.cursor() == cursor:
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._waiting -= 1

    async def _say(self, request: HttpRequest, writer: asyncio.StreamWriter) -> None:
        is_page = request.path not in WATCHED
        if is_page and self._pages >= MAX_PAGES:
            writer.write(_whole(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, "busy\n", with_body=True))
            await writer.drain()
            return
        self._pages += is_page
        try:
            # All of it must be taken, not all but what the socket holds.
            writer.transport.set_write_buffer_limits(high=0)
            writer.write(await self.answer(request))
            await writer.drain()
        finally:
            self._pages -= is_page

    async def answer(self, request: HttpRequest) -> bytes:
        """The whole answer to *request*."""
        refused = self._refused(request)
        status, kind, body = refused if refused is not None else await self._answer(request)
        return _whole(status, kind, body, with_body=request.method != "HEAD")

    async def _answer(self, request: HttpRequest) -> Page:
        path = request.path
        if path == "/":
            return HTTPStatus.OK, _HTML, live.PAGE
        if path == "/metrics":
            return HTTPStatus.OK, _METRICS_TYPE, await self._says.metrics()
        if path in WATCHED:
            reason = self._says.unwell()
            if reason and (path == "/readyz" or reason not in _WELL):
                return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, f"{reason}\n"
            return HTTPStatus.OK, _TEXT, f"{reason or 'ok'}\n"
        if path == "/config":
            return HTTPStatus.OK, _JSON, await self._says.config()
        if path == "/exchanges":
            return HTTPStatus.OK, _JSON, await self._says.exchanges(request.asked)
        process, _, number = path.removeprefix(_EXCHANGE).partition("-")
        told = "null"
        if process.isdecimal() and number.isdecimal() and len(path) < 64:
            told = await self._says.exchange(int(process), int(number))
        if told == "null":
            return HTTPStatus.NOT_FOUND, _TEXT, "it is not kept any more, or never was\n"
        return HTTPStatus.OK, _JSON, told

    def _refused(self, request: HttpRequest) -> Page | None:
        """Why this is not answered."""
        if any(not _is_ours(host) for host in request.values("host")):
            # A page of the web has its own name resolved to us, and would read what is here.
            return HTTPStatus.FORBIDDEN, _TEXT, "ask by an address, or by a name without dots\n"
        if request.path not in _PATHS and not request.path.startswith(_EXCHANGE):
            return HTTPStatus.NOT_FOUND, _TEXT, _THERE_ARE
        if request.method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, "GET only\n"
        if request.path in ("/metrics", *WATCHED):
            return None
        if self._token is None:
            return None if _is_here(request.peer) else (HTTPStatus.FORBIDDEN, _TEXT, NOT_YOU)
        # The page itself shows nothing, and asks for the token.
        return None if request.path == "/" else self._without_token(request)

    def _without_token(self, request: HttpRequest) -> Page | None:
        assert self._token is not None
        scheme, _, word = next(iter(request.values("authorization")), "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(word.strip().encode(), self._token().encode()):
            return None
        return HTTPStatus.UNAUTHORIZED, _TEXT, NO_TOKEN


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
        f"server: {_SERVER}",
    ]
    if status is HTTPStatus.UNAUTHORIZED:
        lines.append("www-authenticate: Bearer")
    if kind in (_JSON, _HTML):
        lines += ["cache-control: no-store", "x-content-type-options: nosniff"]
    if kind == _HTML:
        lines += [f"content-security-policy: {live.POLICY}", "referrer-policy: no-referrer", "x-frame-options: DENY"]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode() + (data if with_body else b"")
