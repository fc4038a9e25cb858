"""The admin port: ``GET /metrics`` and ``GET /healthz``, HTTP/1.1, one request a connection. Not for the outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus

MAX_HEAD_BYTES = 16 * 1024
MAX_CONNECTIONS = 32
"""Open at once; the next one is closed unheard."""
PATIENCE_SECONDS = 5.0
"""For a request to come, and for its answer to be taken."""
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"

Answer = tuple[HTTPStatus, str, str]


class Admin:
    """``start`` once, ``close`` once. *metrics* makes the page; *unwell* says in a word why new streams are not
    welcome, and nothing when they are."""

    def __init__(self, metrics: Callable[[], Awaitable[str]], unwell: Callable[[], str]) -> None:
        self._metrics = metrics
        self._unwell = unwell
        self._server: asyncio.Server | None = None
        self._open = 0

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
        try:
            if self._open <= MAX_CONNECTIONS:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self.answer(head))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Whoever cannot say what they want gets nothing.
            pass
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def answer(self, head: bytes) -> bytes:
        """The whole answer to a request's *head*."""
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        status, kind, body = await self._answer(method, rest.partition(" ")[0].partition("?")[0])
        data = body.encode()
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"content-type: {kind}",
            f"content-length: {len(data)}",
            "connection: close",
        ]
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            lines.append("allow: GET, HEAD")
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else data)

    async def _answer(self, method: str, path: str) -> Answer:
        if path not in ("/metrics", "/healthz"):
            return HTTPStatus.NOT_FOUND, _TEXT, "there are /metrics and /healthz\n"
        if method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, "GET only\n"
        if path == "/metrics":
            return HTTPStatus.OK, _METRICS_TYPE, await self._metrics()
        if reason := self._unwell():
            return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, f"{reason}\n"
        return HTTPStatus.OK, _TEXT, "ok\n"
