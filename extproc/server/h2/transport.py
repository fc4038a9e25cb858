"""The lean transport: our own HTTP/2 under the sessions that every transport carries messages to."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...settings import Settings
from ..service import PROCESS, ROLE_HEADER, SERVICE, Service
from .heads import Head
from .health import Health
from .limits import Counters, H2Limits, of_our_own
from .messages import InParts
from .process import ProcessCall
from .session import Answerer, Outlet
from .shell import H2Listener

if TYPE_CHECKING:
    from ..long_calls import LongCalls
    from .passing import PassedOn

SPARE_STREAMS = 1024
"""Streams of one connection beyond those that the service takes: it refuses them in the client's own words, and health
is asked on streams too."""


class H2Server:
    """``start`` once, then ``drain`` once."""

    def __init__(
        self,
        settings: Settings,
        service: Service,
        long_calls: LongCalls | None = None,
        connected: socket.socket | None = None,
    ) -> None:
        """*long_calls*: who takes those that may become long. *connected*: where a process of our own is the client, in
        place of addresses."""
        self._settings = settings
        self._service = service
        self._long_calls = long_calls
        self._connected = connected
        self._health = Health(("", SERVICE))
        self.counters = Counters()
        limits = H2Limits(
            max_concurrent_streams=settings.max_concurrent_streams + SPARE_STREAMS,
            max_message_bytes=settings.max_message_bytes,
        )
        if connected is not None:
            limits = of_our_own(limits)
        methods = {PROCESS: self._open, **self._health.methods()}
        self._listener = H2Listener(methods, limits, self.counters, settings.max_connections, service.budget)
        if long_calls is not None:
            long_calls.flush = self._listener.flush

    async def start(self) -> list[str]:
        """Listen; returns the addresses, with the real port where 0 was asked. Raises OSError."""
        if self._connected is not None:
            await self._listener.take(self._connected)
            return [self._settings.listen]
        return [await self._listener.listen(address) for address in self._settings.listen.split(",")]

    def counts(self) -> dict[str, int | dict[str, int]]:
        """What is counted of connections, by name; of bounds that were met, by theirs."""
        return self.counters.read()

    def stop_advertising(self) -> None:
        """Say NOT_SERVING to who asks for health; streams are still taken."""
        self._health.stop()
        self._listener.flush()

    async def drain(self, seconds: float) -> None:
        """No new streams; those that are open may finish, for so long, and are failed then."""
        self.stop_advertising()
        await self._listener.drain(seconds)
        await self._service.effects.close()

    def _open(self, head: Head, outlet: Outlet) -> Answerer:
        role = head.get(ROLE_HEADER)
        if self._long_calls is not None:
            return _Undecided(role, outlet, self, self._long_calls)
        return self.answerer(role, outlet)

    def answerer(self, role: str, outlet: Outlet, *, overloaded: bool = False) -> ProcessCall:
        """What answers a call here."""
        session = self._service.open(role, overloaded=overloaded)
        return ProcessCall(session, outlet, self._listener, self._service.effects)

    @property
    def has_room(self) -> bool:
        """For what may come of one more call while it waits."""
        return self._service.budget.has_room(self._listener.limits.stream_window)


class _Undecided:
    """One stream, of which the first message says who answers it."""

    __slots__ = ("_long_calls", "_outlet", "_passed", "_role", "_server", "is_slow")

    def __init__(self, role: str, outlet: Outlet, server: H2Server, long_calls: LongCalls) -> None:
        self._role = role
        self._outlet = outlet
        self._server = server
        self._long_calls = long_calls
        self._passed: PassedOn | None = None
        self.is_slow = False

    def receive_parts(self, parts: list[bytes]) -> Sequence[InParts]:
        return self.receive(b"".join(parts))

    def receive(self, message: bytes) -> Sequence[InParts]:
        length = self._long_calls.length(message)
        has_room = not length or (self._server.has_room and self._long_calls.has_room(length))
        if length and has_room:
            self._passed = self._long_calls.begin(self._role, message, length, self._outlet)
            if self._passed is not None:
                return ()
        answerer = self._server.answerer(self._role, self._outlet, overloaded=not has_room)
        self._outlet.leave_to(answerer)
        return answerer.receive(message)

    def expect(self, size: int) -> Sequence[InParts]:
        return ()

    def refuse(self, *, too_large: bool) -> Sequence[InParts]:
        return ()

    def close(self) -> None:
        if self._passed is not None:
            self._passed.close()
