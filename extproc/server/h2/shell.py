"""The asyncio side: sockets in, sockets out. All decisions are the machines'."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import cast

from .heads import Head
from .limits import Counters, H2Limits
from .session import Method, Session

WRITE_BUFFER = 256 * 1024
"""Unsent bytes of one connection at which we stop reading from it."""

TICK_SECONDS = 1.0
"""How often the bounds on time are looked at."""

LINGER_SECONDS = 1.0
"""How long a connection that we ended is still read (and what comes discarded): closing a socket that holds unread
bytes would take our GOAWAY from the peer."""


class H2Protocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, owner: H2Listener) -> None:
        self._owner = owner
        self._loop = owner.loop
        self._transport: asyncio.Transport
        self._session: Session
        self._paused = False
        self._closing = False
        self._unsent = 0
        self._moved_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        owner = self._owner
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._session = Session(owner.methods, owner.limits, owner.counters, self._loop.time(), owner.cache)
        owner.counters.connections += 1
        owner.made(self)
        self.flush()

    def data_received(self, data: bytes) -> None:
        if not self._closing:
            self._session.receive(data, self._loop.time())
            self.flush()

    def flush(self) -> None:
        """Write what the machine has to say, while the socket takes it."""
        session = self._session
        if self._closing:
            return
        now = self._loop.time()
        while not self._paused and (out := session.output(now)):
            self._transport.write(out)
        if session.over and not self._paused:
            self._closing = True
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._loop.call_later(LINGER_SECONDS, self._transport.abort)

    def pause_writing(self) -> None:
        self._paused = True
        self._moved_at = self._loop.time()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        self._transport.resume_reading()
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._session.abandon()
        self._owner.lost(self)

    def tick(self, now: float) -> None:
        """Once a second."""
        if self._paused:
            self._check_socket(now)
        else:
            self._session.tick(now)
            self.flush()

    def _check_socket(self, now: float) -> None:
        unsent = self._transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._moved_at = unsent, now
        elif now - self._moved_at >= self._owner.limits.stall_seconds:
            self._owner.counters.met("stall_seconds")
            self._transport.abort()

    def drain(self) -> None:
        """Say goodbye; the connection closes when its last call has ended."""
        self._session.drain(self._loop.time())
        self.flush()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()


class H2Listener:
    """Listens on addresses and keeps the connections."""

    def __init__(self, methods: Mapping[str, Method], limits: H2Limits, counters: Counters) -> None:
        self.methods = methods
        self.limits = limits
        self.counters = counters
        self.cache: dict[bytes, Head] = {}
        self.connections: dict[H2Protocol, None] = {}
        self.loop: asyncio.AbstractEventLoop
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    async def listen(self, address: str) -> str:
        """Listen on ``host:port`` or ``unix:/path``; returns the address with the real port. Raises OSError."""
        self.loop = asyncio.get_running_loop()
        try:
            server = await self._bound(address)
        except (OSError, ValueError) as error:
            raise OSError(f"cannot listen on {address}: {error}") from None
        self._servers.append(server)
        if self._timer is None:
            self._timer = self.loop.call_later(TICK_SECONDS, self._tick)
        if address.startswith("unix:"):
            return address
        return f"{address.rpartition(':')[0]}:{server.sockets[0].getsockname()[1]}"

    async def _bound(self, address: str) -> asyncio.Server:
        if address.startswith("unix:"):
            path = address.removeprefix("unix:")
            # gRPC's two spellings: unix:path and unix:///absolute/path.
            return await self.loop.create_unix_server(self._connection, path[2:] if path.startswith("///") else path)
        host, _, port = address.rpartition(":")
        return await self.loop.create_server(self._connection, host.strip("[]"), int(port))

    def _connection(self) -> H2Protocol:
        return H2Protocol(self)

    def _tick(self) -> None:
        now = self.loop.time()
        for connection in list(self.connections):
            connection.tick(now)
        self._timer = self.loop.call_later(TICK_SECONDS, self._tick)

    def made(self, connection: H2Protocol) -> None:
        """Keep a new connection."""
        self.connections[connection] = None
        self._empty.clear()

    def lost(self, connection: H2Protocol) -> None:
        """Forget one that is closed."""
        self.connections.pop(connection, None)
        if not self.connections:
            self._empty.set()

    def flush(self) -> None:
        """Write what answerers said without being asked."""
        for connection in list(self.connections):
            connection.flush()

    async def drain(self, seconds: float) -> None:
        """Take no new connections and calls; wait for the open ones, for so long; then cut what is left. May be called
        again, to wait no longer."""
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.drain()
        await self._emptied(seconds)
        for connection in list(self.connections):
            connection.abort()
        await self._emptied(1)
        if self._timer:
            self._timer.cancel()

    async def _emptied(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds)
