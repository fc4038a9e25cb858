"""What a transport carries messages to: sessions that take and give bytes. Knows no gRPC library."""

from __future__ import annotations

import logging
import os
import random
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from .. import capabilities
from ..capabilities import CapabilityTable
from ..costs.prices import PriceTable
from ..credentials import gcp
from ..credentials.permitted import permitted
from ..effects import Ask, Effect, Result
from ..exchange import incoming, pieces
from ..exchange.handover import Handover
from ..exchange.machine import Exchange, Refusal, Shared, log_once
from ..exchange.outgoing import Encoded
from ..exchange.phases import Phase
from ..exchange.router import Router
from ..exchange.translator import Translator
from ..llm.failures import ErrorKind
from ..route.compile import compiled
from ..settings import Settings, patterns
from ..settings import as_values as shown_settings
from ..telemetry.metrics import Metrics
from ..telemetry.otlp import Observed
from ..telemetry.outcome import Ending
from ..telemetry.record import told
from ..telemetry.ring import Look, Ring, Telling
from ..telemetry.sinks import QueuedSink, Sinks
from ..telemetry.traceparent import Tracing
from .effects import Effects
from .memory import Budget
from .records import ToFile, exporter_of, of_records, prices_of, pusher_of, sinks_of, spans_to

log = logging.getLogger(__name__)

SERVICE: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
PROCESS: Final = f"/{SERVICE}/Process"
ROLE_HEADER: Final = "x-extproc-role"
ROLES: dict[str, type[Exchange]] = {Translator.role: Translator, Router.role: Router}
_OVERLOADED: Final[Refusal] = (ErrorKind.OVERLOADED, "the gateway is overloaded", "overloaded")


MAX_CONFIG_BYTES: Final = 2 * 1024 * 1024
"""Of the routes that are shown, those first that were used last."""
CLOSING_SECONDS = 5.0
"""For what waits to be written at an end. Workers have to answer a reload in three times as long."""
_NOTHING: Final = (0, 0.0)


def _nothing() -> bytes:
    return b'{"exchanges": [], "left_out": 0, "open": [], "open_count": 0, "cursor": ""}'


def _null() -> bytes:
    return b"null"


def _with_members(exchange: dict[str, Any]) -> bytes:
    from ..captures.members import with_members

    return msgspec.json.encode(with_members(exchange))


def _close(sinks: Sequence[QueuedSink]) -> None:
    """Have *sinks* write what waits, all at once: several that hang take as long as one."""
    until = time.monotonic() + CLOSING_SECONDS
    for sink in sinks:
        sink.close(max(0.0, until - time.monotonic()))


class NotAMessage(ValueError):
    """What came is no ProcessingRequest; the stream can only be failed."""


class TooMuchHeld(ValueError):
    """What came while an exchange waits is more than is kept; the stream can only be failed."""


class MessageSession(Protocol):
    """One stream of ``Process``, for a transport. ``receive`` each message, ``close`` once when the stream has ended,
    however it did.

    When ``asks`` is set, have it carried out and ``resume`` with what came of it. Messages may be received meanwhile.
    """

    __slots__ = ()

    @property
    def is_slow(self) -> bool:
        """The next message may take as long as the longest, however short it is."""

    @property
    def asks(self) -> Ask | None:
        """What this stream waits for."""

    def receive(self, message: bytes) -> Sequence[Encoded]:
        """The answers to one message, in their order. Raises NotAMessage, TooMuchHeld, and nothing else."""

    def receive_parts(self, parts: list[bytes]) -> Sequence[Encoded]:
        """The same for a message in the *parts* in which it came."""

    def expect(self, size: int) -> Sequence[Encoded]:
        """The answers to a long message of *size* bytes that begins to come: none, if it may. The stream ends with
        them."""

    def resume(self, ask: Ask, result: Result) -> Sequence[Encoded]:
        """The answers that come of *result*: those that were due, as far as nothing else is asked now. Raises
        NotAMessage."""

    def refuse(self, *, too_large: bool) -> Sequence[Encoded]:
        """What to answer to a message that is not taken, because it is larger than any may be or because there is no
        room for it now. The stream ends with it."""

    def close(self) -> None:
        """The stream has ended."""


class ExchangeSession(MessageSession):
    """That of an exchange. Messages that come while it waits are kept, in their order, *max_held* bytes of them at
    most."""

    __slots__ = ("_budget", "_carried", "_closed", "_exchange", "_held", "_held_bytes", "_kept", "_max_held", "_spent")

    def __init__(
        self,
        exchange: Exchange,
        closed: Callable[[Exchange], None],
        max_held: int,
        budget: Budget,
        spent: dict[str, tuple[int, float]] | None = None,
    ) -> None:
        self._spent = spent
        self._exchange = exchange
        self._closed = closed
        self._held: deque[bytes] | None = None
        self._held_bytes = 0
        self._max_held = max_held
        self._budget = budget
        self._kept = 0
        self._carried = 0

    @property
    def is_slow(self) -> bool:
        return self._exchange.is_compressed

    @property
    def asks(self) -> Ask | None:
        return self._exchange.asks

    def receive(self, message: bytes) -> list[Encoded]:
        return self.receive_parts([message])

    def receive_parts(self, parts: list[bytes]) -> list[Encoded]:
        if self._spent is None:
            return self._received(parts)
        began = time.perf_counter()
        answers = self._received(parts)
        kind = self._exchange.handled
        count, before = self._spent.get(kind, _NOTHING)
        self._spent[kind] = (count + 1, before + (time.perf_counter() - began))
        return answers

    def _received(self, parts: list[bytes]) -> list[Encoded]:
        exchange = self._exchange
        if exchange.asks is not None:
            return self._hold(b"".join(parts))
        if exchange.phase is Phase.STREAMING and exchange.plain:
            message = parts[0] if len(parts) == 1 else b"".join(parts)
            if (chunk := pieces.read(message)) is not None:
                # What a long one came in is let go: what is made of it is as long, and several streams wait meanwhile.
                parts.clear()
                message = b""
                return [exchange.receive_piece(chunk)]
            parts = [message]
        try:
            request = incoming.read(parts[0]) if len(parts) == 1 else incoming.read_long(parts)
        except incoming.Malformed:
            raise NotAMessage("not a ProcessingRequest") from None
        return self._kept_within([answer.parts() for answer in exchange.receive(request)])

    def _kept_within(self, answers: list[Encoded]) -> list[Encoded]:
        """*answers*, if there is room for what the exchange keeps now, and Envoy for it."""
        budget, exchange = self._budget, self._exchange
        more, carried = exchange.kept - self._kept, exchange.carried - self._carried
        if not more and not carried:
            return answers
        self._kept += more
        self._carried += carried
        has_room, is_carried = budget.keep(more), budget.carry(carried)
        if has_room and is_carried:
            return answers
        # What no room would ever be enough for is not to come again. An exchange that is answered, or is none of ours,
        # says nothing more: Envoy waits for what it said.
        return self.refuse(too_large=self._carried > budget.most_carried) or answers

    def expect(self, size: int) -> list[Encoded]:
        self._exchange.announce(size)
        return self._kept_within([])

    def _hold(self, message: bytes) -> list[Encoded]:
        if self._held is None:
            self._held = deque()
        self._held.append(message)
        # An empty message costs as well.
        self._held_bytes += len(message) + 64
        self._budget.change(len(message) + 64)
        if self._held_bytes > self._max_held or self._budget.exceeded:
            raise TooMuchHeld("too many bytes wait to be handled")
        # Envoy's patience begins anew with each message.
        return [self._exchange.patience().encoded()]

    def resume(self, ask: Ask, result: Result) -> list[Encoded]:
        answers = self._kept_within([answer.parts() for answer in self._exchange.resume(ask, result)])
        held = self._held
        while held and self._exchange.asks is None:
            message = held.popleft()
            self._held_bytes -= len(message) + 64
            self._budget.change(-len(message) - 64)
            answers += self.receive(message)
        return answers

    def refuse(self, *, too_large: bool) -> list[Encoded]:
        answers = [answer.parts() for answer in self._exchange.turn_away(too_large=too_large)]
        # Nor is what it had come with kept.
        kept, self._kept = self._kept, self._exchange.kept
        self._budget.keep(self._kept - kept)
        # Whatever length it has announced, nothing of it comes any more: others have that room at once.
        carried, self._carried = self._carried, self._exchange.carried
        self._budget.carry(self._carried - carried)
        return answers

    def close(self) -> None:
        self._held = None
        self._budget.change(-self._held_bytes)
        self._budget.keep(-self._kept)
        self._budget.carry(-self._carried)
        self._held_bytes = self._kept = self._carried = 0
        self._closed(self._exchange)


class Prepared:
    """What other settings make of a process, ready to be used."""

    def __init__(
        self,
        settings: Settings,
        table: CapabilityTable,
        prices: PriceTable,
        records: tuple[ToFile | None, list[QueuedSink]] | None,
    ) -> None:
        self.settings = settings
        self.table = table
        self.prices = prices
        self.records = records
        """``None``: those that there are go on."""


class Service:
    """The sessions of a process. Raises CapabilityError when the operator's file is wrong."""

    def __init__(self, settings: Settings) -> None:
        self._bound = settings.max_concurrent_streams
        self._max_held = settings.max_message_bytes
        self.budget = Budget(settings.max_held_bytes, settings.limits.max_decoded_bytes, settings.max_carried_bytes)
        """What is held and kept for all streams together."""
        self.effects = Effects(settings, self.budget)
        self.metrics = Metrics(patterns(settings.metrics_off)) if settings.admin else None
        """What the admin port shows; kept only if there is one."""
        self.spent: dict[str, tuple[int, float]] | None = {} if settings.admin or settings.otlp_metrics else None
        """Of each kind of message how many there were, and the seconds that answering them took."""
        self.ring = Ring(settings.recent_exchanges, settings.recent_bytes) if settings.admin else None
        """What the admin port shows of exchanges; kept only if there is one."""
        self._settings = settings
        self.lines, self._records = sinks_of(settings)
        """Where records go that are lines of a file; and all places to which they go."""
        pusher = pusher_of(settings, self._observed())
        self._pusher = pusher
        self._pushing = [QueuedSink("otlp", pusher.write)] if pusher is not None else []
        exporter = exporter_of(settings)
        self._exporter = exporter
        self._tracing = Tracing(settings.trace_ratio, random.getrandbits) if exporter is not None else None
        self._pushing += [spans_to(exporter, settings)] if exporter is not None else []
        self._sinks = Sinks()
        self._handover = (
            Handover(time.monotonic, settings.handover_bytes, settings.handover_seconds)
            if settings.handover_seconds
            else None
        )
        self._shared = self._sharing(settings, capabilities.load(settings.capabilities or None), prices_of(settings))
        self.open_sessions = 0
        self.endings: Counter[tuple[str, Ending]] = Counter()
        """How exchanges ended, by role."""

    @property
    def queued(self) -> list[QueuedSink]:
        """What must be closed in the end."""
        return [*self._records, *self._pushing]

    def _sharing(self, settings: Settings, table: CapabilityTable, prices: PriceTable) -> Shared:
        """What the next exchanges share. All sinks are told of them, and of those that go on."""
        self._sinks.become([each for each in (self.metrics, self.ring, *self.queued) if each is not None])
        return Shared(
            now=time.time,
            ticks=time.perf_counter,
            new_id=lambda: uuid.uuid4().hex,
            limits=settings.limits,
            capabilities=table,
            prices=prices,
            permitted=permitted(settings.secrets),
            sinks=self._sinks,
            records=self.ring is not None or bool(self._records),
            tracing=self._tracing,
            payload_bytes=settings.records_payload_bytes,
            room=lambda: self.budget.room,
            handover=self._handover,
        )

    def prepare(self, settings: Settings) -> Prepared:
        """What ``adopt`` takes, on any thread; may block. *settings* differ from those of this process in what is taken
        LIVE alone. Raises CapabilityError, SettingError, OSError; nothing has changed then."""
        table = capabilities.load(settings.capabilities or None)
        same = of_records(settings) == of_records(self._settings)
        return Prepared(settings, table, prices_of(settings), None if same else sinks_of(settings))

    def adopt(self, prepared: Prepared) -> list[tuple[QueuedSink, int]]:
        """Use *prepared* for all exchanges that begin from now on; those that go on keep what they have, and are told
        to the new sinks. Returns the sinks that nobody tells any more, and what of their drops is counted by those in
        their place: hand them to ``retire``."""
        settings = prepared.settings
        before: list[tuple[QueuedSink, int]] = []
        if prepared.records is None:
            self.reopen()
        else:
            before = [(sink, sink.dropped) for sink in self._records]
            self.lines, self._records = prepared.records
            for sink, dropped in before:
                self._count_on(sink.name, dropped)
        self._settings = settings
        self._shared = self._sharing(settings, prepared.table, prepared.prices)
        return before

    def retire(self, sinks: list[tuple[QueuedSink, int]]) -> None:
        """Have *sinks* write what waits. Blocks for a moment."""
        _close([sink for sink, _ in sinks])
        for sink, counted in sinks:
            self._count_on(sink.name, sink.dropped - counted)

    def _count_on(self, name: str, dropped: int) -> None:
        for sink in self._records:
            if sink.name == name:
                sink.count_on(dropped)

    def open(self, role: str = "", *, overloaded: bool = False) -> ExchangeSession:
        """A session for a stream whose initial metadata says *role* under ROLE_HEADER; empty if it says nothing.
        *overloaded*: there is no room for it, and its client is told so."""
        kind = ROLES.get(role or Translator.role)
        refusal: Refusal | None = None
        if kind is None:
            kind = Translator
            message = f"gateway configuration: {ROLE_HEADER} must be one of {', '.join(ROLES)}"
            log_once(message)
            refusal = (ErrorKind.API, message, "misconfigured")
        elif overloaded or self.open_sessions >= self._bound:
            refusal = _OVERLOADED
        self.open_sessions += 1
        exchange = kind(self._shared, refusal)
        return ExchangeSession(exchange, self._closed, self._max_held, self.budget, self.spent)

    def ahead(self) -> Effect | None:
        """What this process had better wait for before it takes streams."""
        return gcp.ahead(os.environ)

    def page(self, of_transport: Mapping[str, int | Mapping[str, int]]) -> str:
        """The metrics as they are now, with what the transport counts; empty if none are kept."""
        metrics = self.metrics
        return (
            ""
            if metrics is None
            else metrics.text(self.open_sessions, of_transport, self.effects.results, self.queued, self.spent)
        )

    @property
    def cursor(self) -> str:
        """Where the last exchanges are: see ``Ring.cursor``."""
        return self.ring.cursor if self.ring is not None else ""

    def exchanges(self, asked: Look) -> Telling:
        """The last exchanges, as JSON: see ``Ring.look``."""
        return self.ring.look(asked) if self.ring is not None else _nothing

    def exchange(self, number: int) -> Telling:
        """All that is kept of one of them, and what became of its members, as JSON; ``null`` where it has left."""
        one = self.ring.one(number) if self.ring is not None else None
        return (lambda: _with_members(one())) if one is not None else _null

    def config(self) -> bytes:
        """The settings and the routes that are compiled, without secrets: JSON."""
        routes: list[msgspec.Raw] = []
        room = MAX_CONFIG_BYTES
        for route in compiled()[::-1]:
            data = msgspec.json.encode(route)
            room -= len(data)
            if room < 0:
                break
            routes.append(msgspec.Raw(data))
        return msgspec.json.encode({"settings": shown_settings(self._settings), "routes": routes})

    def reopen(self) -> None:
        """Open files of records anew: somebody has moved them."""
        if self.lines is not None:
            self.lines.reopen_soon()

    def close(self) -> None:
        """Write what waits to be logged. Blocks for a moment: nothing is served any more."""
        _close(self.queued)
        if self._pusher is not None:
            self._pusher.close()
        if self._exporter is not None:
            self._exporter.close()

    def _observed(self) -> list[Observed]:
        spent = self.spent if self.spent is not None else {}
        return [
            Observed("extproc.open_streams", lambda: {"": self.open_sessions}, grows=False),
            Observed("extproc.sink_dropped", lambda: {sink.name: sink.dropped for sink in self.queued}, "sink"),
            Observed("extproc.side_calls", lambda: self.effects.results, "result"),
            Observed("extproc.messages", lambda: {k: count for k, (count, _) in list(spent.items())}, "phase"),
            Observed("extproc.processing", lambda: {k: s for k, (_, s) in list(spent.items())}, "phase", unit="s"),
        ]

    def _closed(self, exchange: Exchange) -> None:
        self.open_sessions -= 1
        try:
            is_told = log.isEnabledFor(logging.DEBUG)
            outcome = exchange.close(wanted=is_told)
            self.endings[outcome.role, outcome.ending] += 1
            if is_told:
                log.debug("%s", told(exchange.began, outcome))
        except Exception:
            log.exception("a bug in closing an exchange")
