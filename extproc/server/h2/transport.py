"""The lean transport: our own HTTP/2 under the sessions that every transport carries messages to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Future

from ...credentials.gcp import FIRST_TOKEN_SECONDS
from ...settings import Settings
from ..service import PROCESS, ROLE_HEADER, SERVICE, NotAMessage, Service, Session
from .heads import Head
from .health import Health
from .limits import Counters, H2Limits
from .messages import CallFailed, Status
from .session import Answerer, Outlet
from .shell import H2Listener

log = logging.getLogger(__name__)

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
        methods = {PROCESS: self._open, **self._health.methods()}
        self._listener = H2Listener(methods, limits, self.counters, settings.max_connections)
        self._max_held_bytes = settings.max_message_bytes

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
        session = self._service.open(head.get(ROLE_HEADER))
        return _Process(session, outlet, self._listener, self._max_held_bytes)


class _Process:
    """One stream; it alone knows both what a session and what a gRPC call fails with."""

    __slots__ = ("_held", "_held_bytes", "_listener", "_max_held_bytes", "_outlet", "_over", "_session", "_task")

    def __init__(self, session: Session, outlet: Outlet, listener: H2Listener, max_held_bytes: int) -> None:
        self._session = session
        self._outlet = outlet
        self._listener = listener
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._max_held_bytes = max_held_bytes
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def receive(self, message: bytes) -> Sequence[bytes]:
        waits = self._session.waits
        if self._held or (waits is not None and not waits.done()):
            self._held.append(message)
            # An empty message costs as well.
            self._held_bytes += len(message) + 64
            if self._held_bytes > self._max_held_bytes:
                raise CallFailed(Status.RESOURCE_EXHAUSTED, "too many bytes wait to be handled")
            self._outlet.stay()
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
        held, self._held, self._held_bytes, self._task = self._held, [], 0, None
        try:
            for message in held:
                if self._over:
                    break
                for answer in self._session.receive(message):
                    self._outlet.send(answer)
            self._outlet.settle()
        except NotAMessage as error:
            self._outlet.end(Status.INTERNAL, str(error))
        except Exception:
            log.exception("a bug in a stream's handler")
            self._outlet.end(Status.INTERNAL, "internal error")
        self._listener.flush()

    def close(self) -> None:
        self._over = True
        self._session.close()
