"""One ext_proc stream: one HTTP exchange, or in an upstream filter one attempt of it.

A pure machine: Envoy's messages in, the answers out; no gRPC, no clock, no I/O. It never raises, and what goes wrong
inside becomes an error in the client's own shape. ``translator.py`` and ``router.py`` say what each role does in each
phase; here is what they share.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from typing import Any, ClassVar, Final

from ..capabilities import CapabilityTable
from ..costs.prices import Price, PriceTable, packaged
from ..credentials.permitted import EVERYTHING, Permitted
from ..dialects import registry
from ..dialects.base import Operation
from ..effects import Ask, Awaited, Effect, Result
from ..framing.inflate import InflateError
from ..frozen import Frozen, same
from ..headers import Headers, value_of
from ..llm.events import NO_USAGE, ResponseFailed
from ..llm.failures import STATUS_OF, ErrorKind, kind_of_status
from ..llm.weight import NO_BOUND, is_heavier, kept
from ..route import RouteError
from ..settings import Limits
from ..telemetry.outcome import Began, Ending, Outcome
from ..telemetry.payloads import Payloads
from ..telemetry.sinks import Sinks
from ..telemetry.traceparent import Traced, Tracing
from ..translation.calls import ENCODING, TOO_HEAVY, Refused, not_inflated, plain_body, render_error
from ..translation.carried import UnreadMedia, found
from ..translation.translation import Translation
from .attributes import BY_UPSTREAM, CODE_DETAILS, METHOD, OURS, PATH, Attributes
from .ending import ending, ending_of_ours
from .handover import Handover
from .incoming import Incoming
from .mutations import (
    diff,
    immediate,
    let_by,
    proceed,
    set_after_all,
    set_header,
    with_metadata,
)
from .outgoing import BUFFERED, Encoded, Mutation, Outgoing, delayed
from .phases import Kind, Phase, Unexpected, expect
from .variables import Times, between, first

log = logging.getLogger(__name__)

MAX_METADATA_TEXT: Final = 1024
"""Characters of one text in the dynamic metadata, and in the record of an exchange."""
MAX_LOGGED: Final = 1024
"""Distinct complaints that are remembered as logged."""

Refusal = tuple[ErrorKind, str, str]
Reply = tuple[Outgoing, Phase]
"""What a phase answers, and where it leads."""
Steps = Generator[Effect, Result, Reply]
"""A phase that cannot answer at once: it yields what it needs, is sent what came of it, and answers at its end."""

EXCHANGE_BYTES: Final = 16 * 1024
"""Bytes of memory that an exchange takes beside what it keeps: measured with streams in their middle."""
HEAD_COPIES: Final = 6
"""What Envoy takes for a long head, to the head's length: 0.3 MB for 50 KB."""
HEADER_BYTES: Final = 160
"""What a header takes beside its text."""
LONG_BODY: Final = 1024 * 1024
"""Bytes of a body up to which it does not matter what Envoy holds of it."""
DURATION: Final = "x-extproc-duration"
"""Milliseconds that were ours until a client's head was written; a request asks for it so, where its route lets it."""

MARGIN_SECONDS: Final = 1.0
"""Envoy is asked to wait so much longer than we do: our own answer comes first then."""


class Shared(Frozen):
    """What all exchanges of a process share. *now* gives Unix seconds, and is asked once for each; *ticks*, the seconds
    of a clock that nobody sets, tell what passes since. *new_id* names an exchange that came without an
    ``x-request-id``; *sinks* are told what becomes of each."""

    now: Callable[[], float]
    ticks: Callable[[], float]
    new_id: Callable[[], str]
    limits: Limits = Limits()
    capabilities: CapabilityTable | None = None
    prices: PriceTable | None = None
    """What models cost; ``None``: as shipped."""
    sinks: Sinks = Sinks()
    permitted: Permitted = EVERYTHING
    """The secrets that a route's text may name."""
    records: bool = False
    """Somebody logs what routes have logged."""
    payload_bytes: int = 0
    """What of each body is kept for whom a route has it logged."""
    room: Callable[[], int] = lambda: NO_BOUND
    """Bytes that a body may take now, while it is translated: of ``max_decoded_bytes`` what no exchange keeps."""
    tracing: Tracing | None = None
    """How traces are sampled, where somebody records them."""
    handover: Handover | None = None
    """Where the router's streams leave bodies for translators; ``None``: Envoy carries each of them twice."""


_OPERATIONS: Final = {Operation.ANSWER: "chat", Operation.EMBED: "embeddings", Operation.COUNT: "count_tokens"}
"""As OpenTelemetry's conventions for generative AI name them."""
_HANDLERS: Final = {
    Kind.REQUEST_HEADERS: "_on_request_headers",
    Kind.REQUEST_BODY: "on_request_body",
    Kind.REQUEST_TRAILERS: "on_request_trailers",
    Kind.RESPONSE_HEADERS: "on_response_headers",
    Kind.RESPONSE_BODY: "on_response_body",
    Kind.RESPONSE_TRAILERS: "on_response_trailers",
}
"""By name: an exchange that held its methods would be a cycle, and its bodies would stay until Python looks for one."""


class Clock:
    """That of one exchange: Unix seconds as they were at its beginning, and on by a clock that nobody sets. No exchange
    took an hour because the machine's clock was put right meanwhile."""

    __slots__ = ("_since", "_ticks", "at")

    def __init__(self, at: float, ticks: Callable[[], float]) -> None:
        self.at = at
        self._ticks = ticks
        self._since = ticks()

    def now(self) -> float:
        """Unix seconds."""
        return self.at + (self._ticks() - self._since)


class Misconfigured(Exception):
    """The filter is configured in a way in which nothing can be translated: the operator's fault."""


class Answered(Exception):
    """The exchange is answered by us, here and now."""

    def __init__(self, response: Outgoing, status: int, error: str) -> None:
        super().__init__(error)
        self.response = response
        self.status = status
        self.error = error


class Exchange:
    """One stream. ``receive`` each message, then ``close`` once.

    *refusal*: why nothing can be done for it, whatever it asks: the kind of error, a sentence, a word for the log.
    """

    role: ClassVar[str]

    def __init__(self, shared: Shared, refusal: Refusal | None = None) -> None:
        self.shared = shared
        self.clock = Clock(shared.now(), shared.ticks)
        self.began = Began(self.role, self.clock.at)
        self.translation: Translation | None = None
        """What is made of the exchange, where it is our role to make something of it."""
        self.route_name = ""
        """Envoy's name of the route, where it was asked for it."""
        self.times = Times()
        self.payloads: Payloads | None = None
        """The bodies, where they are logged."""
        self.content: Payloads | None = None
        """What the span shows of the exchange's content, where it does."""
        self.trace: Traced | None = None
        """The span of this exchange, where traces are recorded."""
        self.phase = Phase.OPEN
        self.client: str | None = None
        self.method = ""
        self.path = ""
        self.authority = ""
        self.came: Headers = []
        """The headers of the message that is held: the request's, then the response's."""
        self.original: Headers = []
        """The client's own, as they were before anything was set."""
        self.status = 0
        self.error = ""
        self.attempt: int | None = None
        self.asks: Ask | None = None
        """What must be carried out before this message is answered, and any that comes meanwhile: see ``resume``."""
        self.is_compressed = False
        """The body that is to come is, and may be any length."""
        self.sends = 0
        """Bytes of the body that the upstream gets, if it is long."""
        self.media: UnreadMedia | None = None
        """What can be carried of the request's body, until that is translated."""
        self.weighed = b""
        """The body in which it was looked for, for as long."""
        self.response_mode: int | None = None
        """In which body mode responses come unless we ask for another; ``None`` if Envoy did not say."""
        self.timed = True
        """What we take is measured: until the route is known, then if that wants it, or by its leave the client."""
        self._taken = 0.0
        """Seconds for the messages before this one."""
        self._begun_at = 0.0
        self._refusal = refusal
        self._over_as = Ending.CANCELLED
        self._kind = Kind.REQUEST_HEADERS
        self._leads: frozenset[Phase] = frozenset()
        """Where the message that is handled may lead."""
        self._steps: Steps | None = None
        self._key = 0
        self._waits: list[tuple[str, float]] = []
        self._asked_at = 0.0
        self._until = 0.0
        """Unix seconds at which the message that waits has waited long enough."""
        self._waits_with = 0
        """Bytes that are kept of the message that waits."""
        self._announced = 0
        """Bytes of the body that Envoy waits for, if it is long."""
        self._heads = 0
        """Bytes that paths and headers take, if they are many."""

    # ---- what a role says

    def on_request(self, message: Incoming) -> Reply | Steps:
        """The request's headers have been read, and a body is to come."""
        raise NotImplementedError

    def on_request_body(self, message: Incoming) -> Reply | Steps:
        raise NotImplementedError

    def on_response_headers(self, message: Incoming) -> Reply:
        raise NotImplementedError

    def on_response_body(self, message: Incoming) -> Reply | Steps:
        raise NotImplementedError

    def on_piece(self, chunk: bytes) -> Encoded:
        raise NotImplementedError

    def on_response_trailers(self, message: Incoming) -> Reply | Steps:
        raise NotImplementedError

    def on_request_trailers(self, message: Incoming) -> Reply:
        if self.phase is Phase.REQUEST:
            raise self.refuse(ErrorKind.INVALID_REQUEST, "the request has no body")
        return proceed(Kind.REQUEST_TRAILERS), self.phase

    def facts(self) -> dict[str, Any]:
        """What is known of the exchange by now, for dynamic metadata."""
        return {"client": self.client} if self.client else {}

    def since(self, then: float) -> float:
        """Seconds from the beginning to *then*."""
        return then - self.began.at

    # ---- the course

    def receive(self, message: Incoming) -> list[Outgoing]:
        """What to answer to *message*; nothing once the exchange has been answered by us. If ``asks`` is set then, this
        is not the answer but the word to Envoy that it takes longer: the answer comes from ``resume``, and nothing is
        to be received before."""
        if not self.timed:
            return self._received(message)
        self._begun_at = self.shared.ticks()
        answers = self._received(message)
        self._taken += self.shared.ticks() - self._begun_at
        return answers

    def _received(self, message: Incoming) -> list[Outgoing]:
        kind = message.kind
        if kind is None or self.phase is Phase.OVER:
            return []
        self._kind = kind
        try:
            self._leads = expect(self.phase, kind)
            if self.phase is Phase.PASSING or self.phase is Phase.ENDED:
                return [proceed(kind)]
            if self.phase is Phase.LET_BY and kind is not Kind.RESPONSE_HEADERS:
                return [proceed(kind)]
            made = getattr(self, _HANDLERS[kind])(message)
            if isinstance(made, tuple):
                return [self._led(made[0], made[1])]
            self._steps = made
            self._until = self.clock.now() + self.shared.limits.max_wait_seconds
            answers = self._step(None)
            if answers:
                return answers
            self._waits_with = kept(message.body, self.shared.limits.max_decoded_bytes)
            return [self.patience()]
        except Exception as error:
            return [self._wrong(error)]

    def resume(self, ask: Ask, result: Result) -> list[Outgoing]:
        """Go on with what came of *ask*: the answer that was due, or nothing if ``asks`` is set again. Nothing happens
        if it is not what this exchange asks, or not any more."""
        if ask is not self.asks:
            return []
        self.asks = None
        what = "credential" if isinstance(ask.effect, Awaited) else "policy"
        self._waits.append((what, self.clock.now() - self._asked_at))
        self._begun_at = self.shared.ticks()
        try:
            return self._step(result)
        except Exception as error:
            self._steps = None
            return [self._wrong(error)]
        finally:
            self._taken += self.shared.ticks() - self._begun_at
            if not self._is_asking():
                self._waits_with = 0

    def _is_asking(self) -> bool:
        """Asked by name: to the compiler what was set to ``None`` above stays so, whatever a step asks meanwhile."""
        return self.asks is not None

    def tell_duration(self, mutation: Mutation) -> None:
        """Say in a client's head what we took until now, where that is wanted."""
        if self.timed and self.translation is not None:
            taken = self._taken + self.shared.ticks() - self._begun_at
            set_after_all(mutation, DURATION, f"{taken * 1000:.3f}")

    @property
    def kept(self) -> int:
        """Bytes that this exchange keeps, about: what its answer is written by, and what it waits with."""
        translation = self.translation
        return EXCHANGE_BYTES + self._heads + self._waits_with + (translation.kept if translation is not None else 0)

    @property
    def carried(self) -> int:
        """Bytes that Envoy holds of what is long for this exchange: of a body twice what it is until it is here, once
        to keep and once to send, then what the upstream gets until it answers; of a head, while its body is waited for,
        several times what it is."""
        phase = self.phase
        if phase is Phase.REQUEST:
            return 2 * self._announced + HEAD_COPIES * self._heads
        return self.sends if phase is Phase.SENT else 0

    def announce(self, size: int) -> None:
        """So many bytes of the body are coming, all of which Envoy has, whether its head has said so or not."""
        if self.phase is Phase.REQUEST and not self._announced and size > LONG_BODY:
            self._announced = size

    def patience(self) -> Outgoing:
        """The word to Envoy that the answer to its latest message takes longer."""
        return delayed(max(0.0, self._until - self.clock.now()) + MARGIN_SECONDS)

    def _step(self, result: Result | None) -> list[Outgoing]:
        steps = self._steps
        assert steps is not None
        try:
            effect = steps.send(result)  # type: ignore[arg-type]
        except StopIteration as ended:
            self._steps = None
            answer, phase = ended.value
            return [self._led(answer, phase)]
        self._key += 1
        self._asked_at = self.clock.now()
        self.asks = Ask(effect, self._key, max(0.0, self._until - self._asked_at))
        return []

    def _led(self, answer: Outgoing, phase: Phase) -> Outgoing:
        """*answer*, now that the exchange is in *phase*."""
        assert phase in self._leads, f"{self._kind} led from {self.phase} to {phase}"
        self.phase = phase
        return answer

    def _wrong(self, error: Exception) -> Outgoing:
        """The answer when *error* came instead of one."""
        if isinstance(error, Answered):
            return self._over(error)
        if isinstance(error, Refused):
            return self._over(self._answered(error.status, error.headers, error.body, "refused"))
        if isinstance(error, (RouteError, Misconfigured)):
            log_once(str(error))
            return self._over(self.failure(ErrorKind.API, f"gateway configuration: {error}", "route_error"))
        if isinstance(error, Unexpected):
            log_once(f"{error}: {_advice(self._kind)}")
            message = f"gateway configuration: {_advice(self._kind)}"
            return self._over(self.failure(ErrorKind.API, message, "misconfigured"))
        return self._bug(self._kind.value)

    @property
    def handled(self) -> str:
        """The kind of the message that was received last."""
        return self._kind.value

    @property
    def plain(self) -> bool:
        """Pieces are answered at once: see ``receive_piece``."""
        return self.translation is None or not self.translation.policed

    def receive_piece(self, chunk: bytes) -> Encoded:
        """What to answer to a piece of a streamed answer's middle, in the phase STREAMING; both as ``pieces`` has them.
        The same as ``receive``, for by far the most messages."""
        self._kind = Kind.RESPONSE_BODY
        try:
            return self.on_piece(chunk)
        except Answered as answered:
            over = self._over(answered)
        except Exception:
            over = self._bug("a piece")
        return over.encoded()

    def close(self, *, wanted: bool = True) -> Outcome:
        """The stream has ended, and what it asked for is of no use any more. What became of the exchange; the sinks are
        told, too. Where there are none, and it is not *wanted* either, it says how the exchange ended and no more."""
        self._steps = self.asks = None
        if not self.began.method:
            self.shared.sinks.started(self.began)
        ended = self._over_as if self.phase is Phase.OVER else ending(self.phase, self.translation)
        sinks = self.shared.sinks
        if not wanted and not sinks.any:
            return Outcome(self.role, ended)
        outcome = self._outcome(ended)
        sinks.ended(self.began, outcome)
        return outcome

    def _outcome(self, ended: Ending) -> Outcome:
        """The record, filled here and nowhere else. It outlives the exchange: it has a length."""
        seconds = self.since(self.clock.now())
        translation = self.translation
        if translation is None:
            who = (self.role, ended, self.attempt, self.client or "")
            return Outcome(*who, status=self.status, error=self.error, seconds=seconds, trace=self._sampled())
        times = self.times
        logging = translation.route.logging
        usd = self.cost_usd(translation)
        return Outcome(
            role=self.role,
            ending=ended,
            attempt=self.attempt,
            client=translation.client or "",
            upstream=translation.upstream or "",
            provider=translation.route.provider.name,
            operation=_OPERATIONS[translation.operation],
            route=self.route_name,
            model_asked=clipped(translation.model_asked),
            model_sent=clipped(translation.model_sent),
            model_answered=clipped(translation.model_answered),
            stream=translation.streamed,
            stream_asked=translation.stream_asked,
            tools=translation.traits.tools,
            tool_calls=translation.tool_calls,
            end_user=clipped(translation.traits.end_user),
            status=self.status,
            error=clipped(self.error),
            finish=translation.ended.stop.value if translation.ended is not None else "",
            usage=translation.usage,
            cost_usd=usd,
            unpriced=usd is None and translation.route.prices is not None and not same(translation.usage, NO_USAGE),
            losses=tuple(f"{clipped(loss.path)}:{loss.action.value}" for loss in translation.losses),
            request_losses=len(translation.request_losses),
            denied_by=translation.denied_by,
            seconds=seconds,
            sent_seconds=self.since(times.sent) if times.sent is not None else None,
            first_content_seconds=self.first_content_seconds(translation),
            first_token_seconds=between(times.sent, first(translation, times)),
            upstream_seconds=between(times.sent, times.done),
            waits=tuple(self._waits),
            summary=logging is not None and logging.summaries,
            payloads=self.payloads,
            trace=self._sampled(),
            content=self.content,
        )

    def _sampled(self) -> Traced | None:
        return self.trace if self.trace is not None and self.trace.sampled else None

    def cost_usd(self, translation: Translation) -> float | None:
        """What the exchange has cost so far in USD, where the route has that told and it is known."""
        prices = translation.route.prices
        if prices is None or same(translation.usage, NO_USAGE):
            return None
        price = prices if isinstance(prices, Price) else self._price(translation)
        return price.usd(translation.usage) if price is not None else None

    def _price(self, translation: Translation) -> Price | None:
        """By the table. What was answered is what is billed; a deployment may be called anything."""
        models = (translation.model_answered, translation.model_sent)
        provider = translation.route.provider.name
        found = (self.shared.prices or packaged()).find(provider, *models)
        if found is None:
            log_once(f"no price is known of the model {models[1][:64]!r} at {provider}: give it a row by --prices")
        return found

    def first_content_seconds(self, translation: Translation) -> float | None:
        """Of a stream: of a whole answer it would only say when it came."""
        at = translation.first_content_at
        return self.since(at) if at is not None and translation.streamed else None

    def turn_away(self, *, too_large: bool) -> list[Outgoing]:
        """What to answer to a message that is not taken: larger than any may be, or no room for it now."""
        self._steps = self.asks = None
        if self.phase in (Phase.OVER, Phase.PASSING, Phase.ENDED):
            return []
        if too_large:
            over = self.failure(ErrorKind.TOO_LARGE, "the body is larger than the gateway takes", "too_large")
        else:
            over = self.failure(ErrorKind.OVERLOADED, "the gateway is overloaded", "overloaded")
        return [self._over(over)]

    def _bug(self, asked: str) -> Outgoing:
        """The answer to what was *asked* when an exception came of it, which is logged."""
        log.exception("a bug in the %s's answer to %s", self.role, asked)
        return self._over(self.failure(ErrorKind.API, "internal error", "internal_error"))

    def _over(self, answered: Answered) -> Outgoing:
        self._over_as = ending_of_ours(self.phase, answered.status)
        self.media, self.weighed = None, b""
        response = answered.response
        if self.payloads is not None and response.status:
            self.payloads.got(response.body or b"")
        if self.phase is not Phase.STREAMING:
            self.status = answered.status
            if response.status and response.headers is not None:
                self.tell_duration(response.headers)
        self.phase = Phase.OVER
        self.error = answered.error
        try:
            facts = {**self.facts(), "error": answered.error, "ending": self._over_as.value}
            return with_metadata(response, facts)
        except Exception:
            log.exception("a bug in the %s's record of an exchange", self.role)
            return response
        finally:
            self._let_go_of_heads()

    # ---- requests

    def _on_request_headers(self, message: Incoming) -> Reply | Steps:
        pseudo, self.came = message.pseudo, message.headers
        self.method = pseudo.get(":method", "")
        self.path = pseudo.get(":path", "")
        self.authority = pseudo.get(":authority", "")
        self.client = registry.detect(self.path, b"", headers=self.came)
        self.keep_heads()
        self._start()
        if self._refusal is not None:
            raise self.failure(*self._refusal)
        passes = registry.unread(self.client)
        if (self.client is None or passes is not None) and self.is_none_of_ours(message):
            return self._past(self.let_by(Kind.REQUEST_HEADERS))
        if self._greets:
            # Clients ask so whether the server is there.
            raise Answered(immediate(200, [], b"", OURS + "head"), 200, "")
        if self.is_upgrade() and passes is None:
            # Its body never ends: waiting for it would hang.
            raise self.not_found()
        if message.end_of_stream and passes is None:
            raise self.without_body(message)
        if message.modes is not None:
            request_mode, self.response_mode = message.modes
            if request_mode != BUFFERED:
                raise Misconfigured("processing_mode.request_body_mode must be BUFFERED")
        self._measure()
        return self.on_request(message)

    def keep_heads(self) -> None:
        """Count what has come with a head, where that is more than usual."""
        size = len(self.path)
        for name, value in self.came:
            size += len(name) + len(value) + HEADER_BYTES
        self._heads += size if size > EXCHANGE_BYTES // 2 else 0

    def _past(self, reply: Reply) -> Reply:
        if reply[1] is Phase.PASSING:
            self._let_go_of_heads()
        return reply

    def _let_go_of_heads(self) -> None:
        """Nobody asks for them any more, and a stream may go on for hours."""
        self.came, self.original, self.path, self._heads = [], [], "", 0

    def _measure(self) -> None:
        """What the request's headers say of its body."""
        for name, value in self.came:
            if name == "content-length":
                # Envoy refuses what is no number, and what is longer than any number that means something.
                length = int(value) if value.isdecimal() and len(value) < 16 else 0
                self._announced = length if length > LONG_BODY else 0
            elif name == ENCODING:
                self.is_compressed = True

    def _start(self) -> None:
        request_id = value_of(self.came, "x-request-id") or self.shared.new_id()
        plain, request_id = clipped(self.path.partition("?")[0]), clipped(request_id)
        # It outlives the exchange, and waits for whoever logs it: it has a length.
        self.began = Began(self.role, self.began.at, request_id, self.method or "?", plain, self.client or "")
        if self.shared.sinks.any:
            self.shared.sinks.started(self.began)
        if self.shared.tracing is not None:
            self.trace = self.shared.tracing.begin(self.came)

    def without_body(self, message: Incoming) -> Answered:
        """The answer to a request that is at its end with its headers."""
        if self.client is None or self.method != "POST":
            return self.not_found()
        return self.refuse(ErrorKind.INVALID_REQUEST, "the request has no body")

    def settle(self, body: bytes, prefixes: Mapping[str, str] = registry.ANYWHERE) -> str | None:
        """The client's dialect, where *prefixes* have it: settled here, once, with the body. Refuses what is beneath a
        dialect's path: another endpoint of the same API, or the same one behind another prefix; and what is too much to
        be read."""
        # A form is not decoded.
        if not (body.startswith(b"--") and registry.unread(self.client) is not None):
            self._weigh(body)
        if self.client is None or prefixes:
            self.client = registry.detect(self.path, body, prefixes, self.came)
        plain = self.path.partition("?")[0]
        if self.client is None and (resembled := registry.resembled(plain)) is not None:
            self.client = resembled
            raise self.not_found()
        return self.client

    def _weigh(self, body: bytes) -> None:
        most, room = self.shared.limits.max_decoded_bytes, self.shared.room()
        self.media, self.weighed = found(body), body
        rest, carried = (body, 0) if self.media is None else (self.media.body, self.media.size)
        if is_heavier(rest, most, passed=True, carried=carried):
            raise self.failure(ErrorKind.TOO_LARGE, TOO_HEAVY, "too_heavy")
        if room < most and is_heavier(rest, room, carried=carried) and not is_heavier(rest, most, carried=carried):
            raise self.failure(ErrorKind.OVERLOADED, "the gateway is overloaded", "overloaded")

    def inflated(self, body: bytes, headers: Headers) -> bytes:
        """The request's *body* as it was before the client compressed it; *body* itself if nobody did."""
        limits = self.shared.limits
        self.is_compressed = False
        try:
            return plain_body(body, headers, min(limits.max_request_bytes, limits.max_inflated_bytes))
        except InflateError as error:
            self.client = self.client or registry.shape_for(self.path, self.came)
            raise self.said(not_inflated(error), "refused") from None

    # ---- what is no LLM API's

    def is_none_of_ours(self, message: Incoming) -> bool:
        """Whether a request whose path is no API's is somebody else's on the same listener, told by its headers."""
        return False

    def is_upgrade(self) -> bool:
        return self.method == "CONNECT" or any(name == "upgrade" for name, _ in self.came)

    def is_elsewhere(self) -> bool:
        """Whether its path is not even one beneath an API's."""
        return registry.resembled(self.path.partition("?")[0]) is None

    def let_by(self, kind: Kind) -> Reply:
        """Let somebody else's request go by as it came, and the answer too."""
        return let_by(kind, None, seen=False), Phase.PASSING

    @property
    def _greets(self) -> bool:
        return self.method == "HEAD" and self.path.partition("?")[0] == "/"

    # ---- errors of our own

    def failure(self, kind: ErrorKind, message: str, details: str) -> Answered:
        """An error in the client's shape, to be raised."""
        return self.said(ResponseFailed(kind, message, STATUS_OF[kind], details, ours=True), details)

    def said(self, failed: ResponseFailed, details: str) -> Answered:
        """*failed* in the client's shape, to be raised."""
        head, body = render_error(self.client, failed)
        return self._answered(head.status, head.headers, body, details)

    def refuse(self, kind: ErrorKind, message: str) -> Answered:
        return self.failure(kind, message, "refused")

    def not_found(self) -> Answered:
        self.client = self.client or registry.shape_for(self.path, self.came)
        return self.failure(ErrorKind.NOT_FOUND, self.nowhere(), "not_found")

    def nowhere(self) -> str:
        return f"no LLM API is served at {self.method} {self.path.partition('?')[0][:128]}"

    def _answered(self, status: int, headers: Headers, body: bytes, details: str) -> Answered:
        return Answered(immediate(status, headers, body, OURS + details), status, details)

    # ---- Envoy's own replies

    def envoys_own(self, message: Incoming) -> str | None:
        """Why Envoy answered by itself, ``None`` if the response is the upstream's, ours, or not told apart."""
        details = Attributes(message).text(CODE_DETAILS)
        return None if not details or details == BY_UPSTREAM or details.startswith(OURS) else details

    def reshape(self, message: Incoming, details: str) -> Reply:
        """A reply of Envoy's own: an error gets the client's shape, anything else passes.

        Envoy's status, flags and details stay what they are for its log: the body is replaced, the reply is not.
        """
        came = message.headers
        self.status = status = int(message.pseudo.get(":status", "0") or 0)
        if self._greets and kind_of_status(status) is ErrorKind.NOT_FOUND:
            mutation = Mutation()
            set_header(mutation, ":status", "200")
            return proceed(Kind.RESPONSE_HEADERS, mutation), Phase.PASSING
        if status < 400:
            return proceed(Kind.RESPONSE_HEADERS), Phase.PASSING
        if self.phase is Phase.OPEN:
            # Refused by a filter that stands before this one: its attributes are all that is known of the request.
            attributes = Attributes(message)
            self.path, self.method = attributes.text(PATH), attributes.text(METHOD)
            self.client = registry.detect(self.path, b"")
        client = self.client or registry.shape_for(self.path, self.came)
        head, body = render_error(client, self.in_our_words(status, details))
        self.status = head.status
        self.error = clipped(details)
        own = [*head.headers, ("content-length", str(len(body)))]
        replaced = {name for name, _ in own}
        mutation = diff(came, [*(pair for pair in came if pair[0] not in replaced), *own])
        if head.status != status:
            set_header(mutation, ":status", str(head.status))
        self.tell_duration(mutation)
        answer = proceed(Kind.RESPONSE_HEADERS, mutation, body, replace=True)
        return with_metadata(answer, {**self.facts(), "error": self.error}), Phase.PASSING

    def in_our_words(self, status: int, details: str) -> ResponseFailed:
        """A reply of Envoy's own as an error of the API."""
        kind = kind_of_status(status)
        # What stands in braces can name addresses.
        details = details.partition("{")[0]
        message = _ENVOYS.get(kind, f"the gateway answered with status {status}")
        return ResponseFailed(kind, f"{message} ({details[:128]})", status, "gateway_error", ours=True)


_ENVOYS: Final = {
    ErrorKind.NOT_FOUND: "no route serves this request",
    ErrorKind.AUTHENTICATION: "the gateway could not authenticate the request",
    ErrorKind.PERMISSION: "the gateway does not permit this request",
    ErrorKind.TOO_LARGE: "the request is larger than the gateway takes",
    ErrorKind.RATE_LIMIT: "the gateway's rate limit is exceeded",
    ErrorKind.TIMEOUT: "the upstream did not answer in time",
    ErrorKind.OVERLOADED: "no upstream could be reached",
    ErrorKind.API: "the gateway could not get an answer",
}


def _advice(kind: Kind) -> str:
    if kind in (Kind.RESPONSE_BODY, Kind.RESPONSE_TRAILERS):
        return "the filter needs response_header_mode: SEND and allow_mode_override: true"
    if kind is Kind.REQUEST_BODY:
        return "the filter needs request_header_mode: SEND and request_body_mode: BUFFERED"
    return "the filter needs request_header_mode: SEND"


_logged: set[str] = set()


def log_once(message: str) -> None:
    """Log *message* as an error unless that has been done: each request would repeat it."""
    if message not in _logged and len(_logged) < MAX_LOGGED:
        _logged.add(message)
        log.error("%s", message)


def clipped(text: str) -> str:
    return text[:MAX_METADATA_TEXT]
