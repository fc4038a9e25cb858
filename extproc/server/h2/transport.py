"""The lean transport: our own HTTP/2 under the sessions that every transport carries messages to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future

from ...credentials_gcp import FIRST_TOKEN_SECONDS
from ...settings import Settings
from ..service import PROCESS, ROLE_HEADER, SERVICE, NotAMessage, Service, Session
from .heads import Head
from .health import Health
from .limits import Counters, H2Limits
from .messages import CallFailed, Status
from .session import Answerer, Outlet
from .shell import H2Listener

SPARE_STREAMS = 1024
"""Streams of one connection beyond those that the service takes: it refuses them in the client's own words, and health
is asked on streams too."""


class H2Server:
    """``start`` once, then ``drain`` once."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self._settings = settings
        self._service = service
        self._health = Health(("", SERVICE))
        self.counters = Counters()
        limits = H2Limits(
            max_concurrent_streams=settings.max_concurrent_streams + SPARE_STREAMS,
            max_message_bytes=settings.max_message_bytes,
        )
        self._listener = H2Listener({PROCESS: self._open, **self._health.methods()}, limits, self.counters)

    async def start(self) -> list[str]:
        """Listen; returns the addresses, with the real port where 0 was asked. Raises OSError."""
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

    def _open(self, head: Head, outlet: Outlet) -> Answerer:
        return _Process(self._service.open(head.get(ROLE_HEADER)), outlet, self._listener)


class _Process:
    """One stream; it alone knows both what a session and what a gRPC call fails with."""

    __slots__ = ("_held", "_listener", "_outlet", "_over", "_session", "_task")

    def __init__(self, session: Session, outlet: Outlet, listener: H2Listener) -> None:
        self._session = session
        self._outlet = outlet
        self._listener = listener
        self._held: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def receive(self, message: bytes) -> Sequence[bytes]:
        waits = self._session.waits
        if self._held or (waits is not None and not waits.done()):
            self._held.append(message)
            if self._task is None and waits is not None:
                self._task = self._listener.loop.create_task(self._later(waits))
            return ()
        try:
            return self._session.receive(message)
        except NotAMessage as error:
            raise CallFailed(Status.INTERNAL, str(error)) from None

    async def _later(self, waits: Future[None]) -> None:
        """Handle what is held back, when it need not wait any more."""
        # Not ``wait_for``: that would cancel what others wait for too.
        await asyncio.wait([asyncio.wrap_future(waits)], timeout=FIRST_TOKEN_SECONDS)
        held, self._held, self._task = self._held, [], None
        try:
            for message in [] if self._over else held:
                for answer in self._session.receive(message):
                    self._outlet.send(answer)
        except NotAMessage as error:
            self._outlet.end(Status.INTERNAL, str(error))
        self._listener.flush()

    def close(self) -> None:
        self._over = True
        self._session.close()
