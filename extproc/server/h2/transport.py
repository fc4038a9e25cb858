"""The lean transport: our own HTTP/2 under the sessions that every transport carries messages to."""

from __future__ import annotations

from collections.abc import Sequence

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

    def stop_advertising(self) -> None:
        """Say NOT_SERVING to who asks for health; streams are still taken."""
        self._health.stop()
        self._listener.flush()

    async def drain(self, seconds: float) -> None:
        """No new streams; those that are open may finish, for so long, and are failed then."""
        self.stop_advertising()
        await self._listener.drain(seconds)

    def _open(self, head: Head, outlet: Outlet) -> Answerer:
        return _Process(self._service.open(head.get(ROLE_HEADER)))


class _Process:
    """One stream; it alone knows both what a session and what a gRPC call fails with."""

    __slots__ = ("_session", "close")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.close = session.close

    def receive(self, message: bytes) -> Sequence[bytes]:
        try:
            return self._session.receive(message)
        except NotAMessage as error:
            raise CallFailed(Status.INTERNAL, str(error)) from None
