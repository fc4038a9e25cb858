"""The lean transport: an Exchange for each ext_proc stream, on our own HTTP/2."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import DecodeError

from ...envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from ...exchange import ROLE_HEADER, Context, Exchange, Machine
from ...settings import Settings
from .heads import Head
from .health import Health
from .limits import Counters, H2Limits
from .messages import CallFailed, Status
from .session import Answerer, Outlet
from .shell import H2Listener

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
PROCESS = f"/{SERVICE}/Process"


class H2Server:
    """``start`` once, ``drain`` once."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._health = Health(("", SERVICE))
        self.counters = Counters()
        limits = H2Limits(
            max_concurrent_streams=settings.max_concurrent_streams, max_message_bytes=settings.max_message_bytes
        )
        self._listener = H2Listener({PROCESS: self._process, **self._health.methods()}, limits, self.counters)

    async def start(self) -> list[str]:
        """Listen; returns the addresses, with the real port where 0 was asked. Raises OSError."""
        return [await self._listener.listen(address) for address in self._settings.listen.split(",")]

    async def drain(self, seconds: float) -> None:
        """No new streams; those that are open may finish, for so long."""
        self._health.stop()
        self._health.end_watches()
        await self._listener.drain(seconds)

    def _process(self, head: Head, outlet: Outlet) -> Answerer:
        return _Process(Exchange(self._context, head.get(ROLE_HEADER) or "translator"))


class _Process:
    def __init__(self, exchange: Machine) -> None:
        self._exchange = exchange
        self.close = exchange.close

    def receive(self, message: bytes) -> Sequence[bytes]:
        try:
            request = ProcessingRequest.FromString(message)
        except DecodeError:
            raise CallFailed(Status.INTERNAL, "not a ProcessingRequest") from None
        answer = self._exchange.receive(request)
        if answer is None:
            raise CallFailed(Status.INTERNAL, "the exchange cannot go on")
        return (answer.SerializeToString(),)
