"""What a transport carries messages to: sessions that take and give bytes. Knows no gRPC library."""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from google.protobuf.message import DecodeError

from .. import capabilities
from ..envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from ..exchange import pieces
from ..exchange.machine import Exchange, Refusal, Shared, log_once
from ..exchange.phases import Phase
from ..exchange.router import Router
from ..exchange.translator import Translator
from ..llm.failures import ErrorKind
from ..settings import Settings
from ..telemetry.metrics import Metrics
from ..telemetry.outcome import Ending
from ..telemetry.sinks import Sinks

log = logging.getLogger(__name__)

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
PROCESS = f"/{SERVICE}/Process"
ROLE_HEADER = "x-extproc-role"
ROLES: dict[str, type[Exchange]] = {Translator.role: Translator, Router.role: Router}
_OVERLOADED: Refusal = (ErrorKind.OVERLOADED, "the gateway is overloaded", "overloaded")


class NotAMessage(ValueError):
    """What came is no ProcessingRequest; the stream can only be failed."""


class Session:
    """One stream of ``Process``. ``receive`` each message, ``close`` once when the stream has ended, however it did."""

    __slots__ = ("_closed", "_exchange")

    def __init__(self, exchange: Exchange, closed: Callable[[Exchange], None]) -> None:
        self._exchange = exchange
        self._closed = closed

    def receive(self, message: bytes) -> list[bytes]:
        """The answers to one message, in their order. Raises NotAMessage, and nothing else."""
        if self._exchange.phase is Phase.STREAMING and (chunk := pieces.read(message)) is not None:
            return [self._exchange.receive_piece(chunk)]
        try:
            request = ProcessingRequest.FromString(message)
        except DecodeError:
            raise NotAMessage("not a ProcessingRequest") from None
        return [answer.SerializeToString() for answer in self._exchange.receive(request)]

    @property
    def waits(self) -> Future[None] | None:
        """What a transport lets the next message wait for, ``FIRST_TOKEN_SECONDS`` at most. It need not: a message that
        comes too early is refused."""
        return self._exchange.waits

    def close(self) -> None:
        self._closed(self._exchange)


class Service:
    """The sessions of a process. Raises CapabilityError when the operator's file is wrong."""

    def __init__(self, settings: Settings) -> None:
        self._bound = settings.max_concurrent_streams
        self.metrics = Metrics() if settings.admin else None
        """What the admin port shows; kept only if there is one."""
        self._shared = Shared(
            now=time.time,
            new_id=lambda: uuid.uuid4().hex,
            limits=settings.limits,
            capabilities=capabilities.load(settings.capabilities or None),
            sinks=Sinks([] if self.metrics is None else [self.metrics]),
        )
        self.open_sessions = 0
        self.endings: Counter[tuple[str, Ending]] = Counter()
        """How exchanges ended, by role."""

    def open(self, role: str = "") -> Session:
        """A session for a stream whose initial metadata says *role* under ROLE_HEADER; empty if it says nothing."""
        kind = ROLES.get(role or Translator.role)
        refusal: Refusal | None = None
        if kind is None:
            kind = Translator
            message = f"gateway configuration: {ROLE_HEADER} must be one of {', '.join(ROLES)}"
            log_once(message)
            refusal = (ErrorKind.API, message, "misconfigured")
        elif self.open_sessions >= self._bound:
            refusal = _OVERLOADED
        self.open_sessions += 1
        return Session(kind(self._shared, refusal), self._closed)

    def page(self, of_transport: Mapping[str, int | Mapping[str, int]]) -> str:
        """The metrics as they are now, with what the transport counts; empty if none are kept."""
        return self.metrics.text(self.open_sessions, of_transport) if self.metrics is not None else ""

    def _closed(self, exchange: Exchange) -> None:
        self.open_sessions -= 1
        try:
            outcome = exchange.close()
            self.endings[outcome.role, outcome.ending] += 1
            log.debug("%s", outcome)
        except Exception:
            log.exception("a bug in closing an exchange")
