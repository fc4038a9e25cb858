"""The asyncio side: sockets in, sockets out. All decisions are the machines'."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from ..memory import Budget
from .heads import Head
from .limits import Counters, H2Limits
from .protocol import H2Protocol
from .session import Method

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
"""How often the bounds on time are looked at."""

SLOW_TURN = 0.02
"""Seconds of a long message's turn from which the next one waits."""

REST_SHARE = 0.25
"""How long that is: a share of what the turn took. Exchanges are several messages each way: those of others come to
their end between two long ones, and do not wait for each of them anew."""

EVERYWHERE = frozenset({"0.0.0.0", "[::]", "::"})
"""Hosts that mean all addresses, of IPv4 and of IPv6, however they are spelt: as gRPC's own library takes them."""


class H2Listener:
    """Listens on addresses and keeps the connections."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        limits: H2Limits,
        counters: Counters,
        max_connections: int = 1024,
        budget: Budget | None = None,
    ) -> None:
        """``max_connections`` are open at once, over all addresses; for the next one the idle one gives way on which
        nothing has come for longest, and where none is idle it is closed unheard. ``budget``: what all of them may
        hold."""
        self.methods = methods
        self.limits = limits
        self.max_connections = max_connections
        self.draining = False
        self.budget = budget or Budget(limits.max_buffered_bytes)
        self.budget.on_room = self._on_room
        self._turns: dict[H2Protocol, None] = {}
        """Connections that have more to do, in the order of their turns."""
        self._is_turning = False
        self._resting: dict[H2Protocol, None] = {}
        """Connections on which nothing but long messages waits, while those rest."""
        self._rests_until = 0.0
        self._quiet_from = 0.0
        """When whoever waited for the last long message has been heard."""
        self._admitting = False
        self.counters = counters
        self.cache: dict[bytes, Head] = {}
        self.connections: dict[H2Protocol, None] = {}
        self.loop: asyncio.AbstractEventLoop
        self._servers: list[asyncio.Server] = []
        self._files: dict[str, int] = {}
        """Our Unix sockets: the inode at each path."""

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

    async def take(self, connected: socket.socket) -> None:
        """Serve on a socket that is connected."""
        self.loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = self.loop.call_later(TICK_SECONDS, self._tick)
        await self.loop.create_unix_connection(self._connection, sock=connected)

    async def _bound(self, address: str) -> asyncio.Server:
        if address.startswith("unix:"):
            path = address.removeprefix("unix:")
            # gRPC's two spellings: unix:path and unix:///absolute/path.
            return await self._bound_unix(path[2:] if path.startswith("///") else path)
        host, _, port = address.rpartition(":")
        if host not in EVERYWHERE:
            return await self.loop.create_server(self._connection, host.strip("[]"), int(port))
        if socket.has_dualstack_ipv6():
            try:
                both = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
                return await self.loop.create_server(self._connection, sock=both)
            except OSError as error:
                # A container may have the protocol and no address of it.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
        return await self.loop.create_server(self._connection, "0.0.0.0", int(port))

    async def _bound_unix(self, path: str) -> asyncio.Server:
        # asyncio replaces the file that a dead process left, but it would as soon replace that of a living one.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            if probe.connect_ex(path) in (0, errno.EAGAIN):
                raise OSError(errno.EADDRINUSE, "another process listens there")
        server = await self.loop.create_unix_server(self._connection, path)
        self._files[path] = os.stat(path).st_ino
        return server

    def _remove_files(self) -> None:
        for path, inode in self._files.items():
            # What another process has put there meanwhile is not ours.
            with contextlib.suppress(OSError):
                if os.stat(path).st_ino == inode:
                    Path(path).unlink()
        self._files.clear()

    def _connection(self) -> asyncio.BaseProtocol:
        # By what it has, not by its class.
        return cast(asyncio.BaseProtocol, H2Protocol(self))

    def _tick(self) -> None:
        now = self.loop.time()
        self._timer = self.loop.call_later(TICK_SECONDS, self._tick)
        for connection in list(self.connections):
            try:
                connection.tick(now)
            except Exception:
                # The other connections' bounds on time hang on this timer too.
                log.exception("a bug in a connection")
                connection.abort()
        if self.budget.waiting:
            # Another process may have let go of something.
            self._on_room()

    def queue(self, connection: H2Protocol, *, is_behind: bool) -> None:
        """Give a connection a turn: one in each round of the loop, so that all the others are heard in between. Not
        *is_behind*: all that waits on it is long."""
        if not is_behind and self.loop.time() < self._rests_until:
            if not self._resting:
                self.loop.call_at(self._rests_until, self._rested)
            self._resting[connection] = None
            return
        self._turns[connection] = None
        if not self._is_turning:
            self._soon()

    def _rested(self) -> None:
        resting, self._resting = self._resting, {}
        self._turns.update(resting)
        if self._turns and not self._is_turning:
            self._soon()

    def _soon(self) -> None:
        """Take a turn behind whatever is readable now: in the next round of the loop but one."""
        self._is_turning = True
        self.loop.call_soon(self.loop.call_soon, self._take_turn)

    def _take_turn(self) -> None:
        self._is_turning = False
        connection = next(iter(self._turns), None)
        if connection is None:
            return
        # It may queue up again, behind the others.
        del self._turns[connection]
        began = self.loop.time()
        try:
            if connection.take_turn(short=began < self._rests_until):
                self.had_long_turn(began)
        except Exception:
            log.exception("a bug in a connection")
            connection.abort()
        if self._turns and not self._is_turning:
            self._soon()

    def is_quiet(self, now: float) -> bool:
        """Nobody waits for a turn, nor would have to: what is long may have one at once."""
        return not self._turns and not self._resting and now >= self._quiet_from

    def had_long_turn(self, began: float) -> None:
        """What is long has had a turn since *began*."""
        ended = self.loop.time()
        self._quiet_from = ended + REST_SHARE * (ended - began)
        if ended - began >= SLOW_TURN:
            self._rests_until = self._quiet_from

    def _on_room(self) -> None:
        if not self._admitting:
            self._admitting = True
            self.loop.call_soon(self._admit)

    def _admit(self) -> None:
        self._admitting = False
        if self.budget.admit():
            self.flush()

    def least_active(self) -> H2Protocol | None:
        """The connection without calls on which nothing has come for longest."""
        idle = [(since, each) for each in self.connections if (since := each.idle_since) is not None]
        return min(idle, key=_since)[1] if idle else None

    def made(self, connection: H2Protocol) -> None:
        """Keep a new connection."""
        self.connections[connection] = None
        self._empty.clear()

    def lost(self, connection: H2Protocol) -> None:
        """Forget one that is closed."""
        self.connections.pop(connection, None)
        self._turns.pop(connection, None)
        self._resting.pop(connection, None)
        if not self.connections:
            self._empty.set()

    def flush(self) -> None:
        """Write what answerers said without being asked."""
        for connection in list(self.connections):
            connection.flush()

    async def drain(self, seconds: float) -> None:
        """Take no new connections and calls; wait for the open ones, for so long; then cut what is left. May be called
        again, to wait no longer."""
        self.draining = True
        self._remove_files()
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


def _since(each: tuple[float, H2Protocol]) -> float:
    return each[0]
