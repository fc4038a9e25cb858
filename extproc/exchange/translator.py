"""The role that translates: one per request in a listener filter, one per attempt in an upstream filter."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from msgspec.structs import astuple

from ..costs.counted import Spent
from ..credentials.masking import mask_of, words
from ..credentials.permitted import NOTHING, Permitted
from ..dialects import registry
from ..effects import Effect
from ..headers import Headers, upstream_headers, value_of
from ..llm.events import ResponseFailed, StopReason
from ..llm.failures import ErrorKind
from ..names import may_carry_credential, without_credentials
from ..route import Route, RouteError, compile_route
from ..route.route import Logged
from ..telemetry.outcome import Ending, Outcome
from ..telemetry.payloads import Payloads
from ..telemetry.record import COUNTS
from ..telemetry.traceparent import HEADER as TRACEPARENT
from ..telemetry.traceparent import value_in
from ..translation.calls import ENCODING, Answer, Call, without_encoding
from ..translation.translation import Translation
from . import pieces
from .attempts import MEMORY, Memory, held, recall, remember
from .attributes import CODE_DETAILS, OURS, ROUTE_NAME, Attributes
from .ending import ending
from .incoming import Incoming
from .machine import (
    DURATION,
    LONG_BODY,
    MAX_METADATA_TEXT,
    Answered,
    Exchange,
    Misconfigured,
    Refusal,
    Reply,
    Shared,
    Steps,
    clipped,
    log_once,
)
from .mutations import (
    diff,
    holding,
    immediate,
    override_mode,
    passing_on,
    proceed,
    set_header,
    with_metadata,
)
from .outgoing import BUFFERED, NONE, STREAMED, Encoded, Mutation, Outgoing
from .phases import Kind, Phase
from .variables import told


class Translator(Exchange):
    """``Translation``, driven by Envoy's phases."""

    role: ClassVar[str] = "translator"

    def __init__(self, shared: Shared, refusal: Refusal | None = None) -> None:
        super().__init__(shared, refusal)
        self._route: Route | None = None
        self._route_error = ""
        """What is wrong with the route, for the answer to the body: by then the client's dialect is known."""
        self._memory: Memory | None = None
        self._noted = False
        self._timed = False

    # ---- the request

    def on_request(self, message: Incoming) -> Reply | Steps:
        attributes = Attributes(message)
        self.attempt = attributes.attempt
        self.route_name = attributes.text(ROUTE_NAME)
        self.original = self.came
        # Attempt 1 has nothing to recall, whatever came; an attempt above it that finds nothing follows one that never
        # sent its headers on.
        if self.attempt is None or self.attempt > 1:
            self._memory = recall(message)
        if self._memory is not None:
            self._restore(self._memory)
            self._trace_on(self._memory)
        levels = attributes.levels()
        try:
            self._route = compile_route(levels, permitted=self._permitted(attributes))
        except RouteError as error:
            if registry.unread(self.client) is not None:
                # There may be no body to come.
                raise
            self._route_error = str(error)
        else:
            # A credential that must be fetched can be here with the body.
            fetched = self._route.begin()
            if registry.unread(self.client) is not None:
                empty = message.end_of_stream
                return self._unread(self._route, empty) if fetched is None else self._waiting_unread(fetched, empty)
        if self.attempt == 1 and (body := self._handed_over(message)) is not None:
            return self._whole(body)
        return self._held()

    def _held(self) -> Reply:
        if not self.attempt:
            self.response_mode = BUFFERED
            return holding(BUFFERED), Phase.REQUEST
        return proceed(Kind.REQUEST_HEADERS), Phase.REQUEST

    def _handed_over(self, message: Incoming) -> bytes | None:
        """The body that the router's stream has left in this process, if it is the one that Envoy has: another filter
        may have changed it since."""
        if self.shared.handover is None or not (key := held(message)):
            return None
        body = self.shared.handover.take(key)
        length = value_of(self.came, "content-length")
        return body if body is not None and length in (None, str(len(body))) else None

    def _waiting_unread(self, fetched: Effect, empty: bool) -> Steps:
        yield fetched
        assert self._route is not None
        return self._unread(self._route, empty)

    def _unread(self, route: Route, empty: bool) -> Reply:
        """What passes goes on without waiting for its body, if nobody has to read that. *empty*: there is none."""
        translation = self._translating(route, b"")
        call = translation.passing(self.method, self.path, self._traced(self.original), empty=empty)
        if call is None:
            self.translation = None
            return self._held()
        if not self.attempt or self.response_mode is None:
            self.response_mode = BUFFERED
        wanted = call.all_headers() + [pair for pair in self.original if pair[0] in _OF_ITS_BODY]
        if self.is_upgrade():
            wanted += [pair for pair in map(_upgrading, self.original) if pair[1]]
        answer = passing_on(self._mutation(call, wanted), self.response_mode)
        return self._sent(translation, call, answer)

    def _permitted(self, attributes: Attributes) -> Permitted:
        """The secrets that the route's text may name: without a list none, where others than the operator write it."""
        permitted = self.shared.permitted
        return NOTHING if permitted.is_a_guess and attributes.is_annotated else permitted

    def is_none_of_ours(self, message: Incoming) -> bool:
        """On the listener: a route that says nothing to us, and no API's path."""
        attributes = Attributes(message)
        return not attributes.attempt and attributes.speechless and self.is_elsewhere()

    def _restore(self, memory: Memory) -> None:
        """The client's own path and headers, in place of those that an earlier attempt left."""
        self.path = memory.path
        self.client = registry.detect(self.path, b"", headers=[*self.came, *memory.saved])
        changed = frozenset(memory.set)
        self.original = [(name, value) for name, value in self.came if name not in changed]
        self.original += memory.saved

    def _trace_on(self, memory: Memory) -> None:
        """The attempt's own span, of the trace of the attempt before."""
        tracing, came = self.shared.tracing, value_in(self.came)
        if tracing is None or not memory.trace:
            return
        if came and came != memory.trace:
            # Envoy's own: it has a span for each attempt.
            self.original = [*(pair for pair in self.original if pair[0] != TRACEPARENT), (TRACEPARENT, came)]
        begun = value_in(self.original)
        self.trace = tracing.begin(self.original) if begun else tracing.again(memory.trace)

    def _traced(self, headers: Headers) -> Headers:
        """*headers* for the upstream, with the span that it is asked in."""
        return headers if self.trace is None else self.trace.told(headers)

    def on_request_body(self, message: Incoming) -> Reply | Steps:
        return self._whole(message.body)

    def _whole(self, held: bytes) -> Reply | Steps:
        """The request with the body *held*, as it came."""
        body = self.inflated(held, self.original)
        route = self._route
        self.settle(body, route.prefixes if route is not None else registry.ANYWHERE)
        if route is None:
            raise RouteError(self._route_error)
        self.client = self.client or route.client
        return self.translated(route, body, held)

    def translated(self, route: Route, body: bytes, held: bytes) -> Reply | Steps:
        """The request that *body* makes, by *route*, in place of that whose body Envoy has *held*."""
        fetched = route.begin()
        if fetched is not None or route.policies:
            return self._waiting(fetched, route, body, held)
        translation = self._translating(route, body)
        return self._requested(translation, translation.request(body, self.method, self.path, self._headers()), held)

    def _waiting(self, fetched: Effect | None, route: Route, body: bytes, held: bytes) -> Steps:
        if fetched is not None:
            # Without it the request is refused: it may have been asked for in vain.
            yield fetched
        translation = self._translating(route, body)
        made = yield from translation.requesting(body, self.method, self.path, self._headers())
        return self._requested(translation, made, held)

    def _headers(self) -> Headers:
        """The client's, as they fit the body that was read."""
        return self._traced(without_encoding(self.original))

    def _translating(self, route: Route, body: bytes) -> Translation:
        now = self.clock.now()
        self.translation = translation = Translation(
            self.client,
            route=route,
            now=now,
            request_id=self.began.request_id,
            limits=self.shared.limits,
            capabilities=self.shared.capabilities,
            clock=self.clock.now,
        )
        translation.media, self.media = self.media, None
        translation.looked_at, self.weighed = self.weighed, b""
        if self.attempt != 0:
            # Envoy's cluster may have seen the end when this filter has not, and must not be told to pause then.
            translation.most_told = self.shared.limits.max_told_bytes
        wanted = route.duration
        self.timed = wanted == "always" or (wanted == "asked" and any(pair[0] == DURATION for pair in self.original))
        if route.logging is not None:
            self._log(translation, route.logging, body, now)
        return translation

    def _log(self, translation: Translation, logging: Logged, body: bytes, now: float) -> None:
        """Keep what is to be logged of an exchange whose client sent *body*."""
        shared = self.shared
        if not shared.records and (logging.summaries or logging.payloads):
            log_once("routes have exchanges logged, and nobody logs them: say where to, by --records")
        if shared.tracing is None and logging.span_content:
            log_once("routes have spans show content, and nobody gets spans: say where to, by --otlp-traces")
        in_span = logging.span_content and self.trace is not None and self.trace.sampled
        in_record = logging.payloads and shared.records
        if not in_span and not in_record:
            return
        kept = Payloads(shared.payload_bytes, mask_of, logging.redact)
        # Ours first: of very many not all are looked for in every spelling.
        theirs = [word for name, value in self.original if may_carry_credential(name) for word in words(value)]
        kept.hide([*translation.secrets(), *theirs])
        kept.asked(body)
        if in_record:
            self.payloads = kept
            kept.begun(now, self.method, without_credentials(self.path), self._headers(), translation.route.said)
            translation.on_text = kept.text
        if in_span:
            self.content = kept
            translation.on_event = kept.heard

    def _requested(self, translation: Translation, call: Call | Answer, held: bytes) -> Reply:
        self.client = translation.client
        if isinstance(call, Answer):
            raise Answered(immediate(call.status, call.headers, call.body, OURS + call.why), call.status, "")
        answer = self.send(call, held)
        if self.shared.handover is not None and self.attempt != 0:
            # Of a body that is put in at the head Envoy says no length; another filter of its does, by this.
            answer = with_metadata(answer, {"content_length": str(len(call.body))})
        return self._sent(translation, call, answer)

    def _sent(self, translation: Translation, call: Call, answer: Outgoing) -> Reply:
        self.times.sent = self.clock.now()
        if (kept := self.payloads or self.content) is not None:
            kept.hide(translation.secrets())
        if self.payloads is not None:
            self.payloads.sent(call.body)
        # What a stream can say no more once it was reset is said before: its end overwrites it.
        facts = self.facts()
        facts["ending"] = _SENT
        if self.attempt != 0:
            facts[MEMORY] = remember(self._remembered(call))
        return with_metadata(answer, facts), Phase.SENT

    def send(self, call: Call, held: bytes) -> Outgoing:
        """What turns the request that Envoy holds, with the body *held*, into *call*."""
        changed = call.body != held
        self.sends = len(call.body) if len(call.body) > LONG_BODY else 0
        length = value_of(self.came, "content-length")
        wanted = call.all_headers()
        if changed or length is not None:
            # Envoy refuses a body that is not as long as its head says, and an earlier attempt may have said otherwise.
            wanted.append(("content-length", str(len(call.body))))
        mutation = self._mutation(call, wanted)
        if self.phase is not Phase.OPEN:
            return proceed(Kind.REQUEST_BODY, mutation, call.body if changed else None)
        # At the head: no message with the body is to follow.
        if changed:
            return proceed(Kind.REQUEST_HEADERS, mutation, call.body, replace=True)
        self.response_mode = STREAMED
        return passing_on(mutation, STREAMED)

    def _mutation(self, call: Call, wanted: Headers) -> Mutation:
        """What turns the request's head into that of *call* with the headers *wanted*."""
        if self.attempt == 0:
            # Filters behind this one may have the route chosen again, and without it Envoy finds none.
            wanted = wanted + [pair for pair in self.came if pair[0] == "x-forwarded-proto"]
        mutation = diff(self.came, wanted)
        set_header(mutation, ":path", call.full_path())
        if call.method != self.method:
            set_header(mutation, ":method", call.method)
        if host := call.host or self._authority_to_restore():
            set_header(mutation, ":authority", host)
        return mutation

    def _authority_to_restore(self) -> str:
        """The client's own ``:authority``, if what stands there now is what an earlier attempt set."""
        memory = self._memory
        return memory.authority if memory is not None and memory.host == self.authority else ""

    def _remembered(self, call: Call) -> Memory:
        sent, original = set(call.headers), set(self.original)
        # What no attempt would send need not be kept, and who the client is must not be.
        keys = {name for name, _ in call.credentials.headers}
        unsent = [pair for pair in self.original if pair not in sent and pair[0] not in keys]
        memory = self._memory
        return Memory(
            path=without_credentials(self.path),
            set=sorted(keys.union(name for name, _ in sent - original)),
            saved=upstream_headers(unsent, [], [], passthrough=True) + [pair for pair in unsent if pair[0] in _KEPT],
            authority=self._clients_authority(call),
            # An attempt before this one has set it, and this one leaves it.
            host=call.host or (memory.host if memory is not None and not self._authority_to_restore() else ""),
            trace=self.trace.header if self.trace is not None else "",
        )

    def _clients_authority(self, call: Call) -> str:
        """The client's own ``:authority``, where it is not what stands there once *call* is sent; else empty."""
        memory = self._memory
        if memory is not None and memory.host:
            return memory.authority
        return self.authority if call.host else ""

    # ---- the response

    def on_response_headers(self, message: Incoming) -> Reply:
        translation = self.translation
        details = self.envoys_own(message)
        if details is not None or self.phase is Phase.REQUEST:
            return self.reshape(message, details or "request_not_sent")
        if translation is None:
            if Attributes(message).text(CODE_DETAILS).startswith(OURS):
                # The router before this filter has answered by itself.
                return proceed(Kind.RESPONSE_HEADERS), Phase.PASSING
            raise Misconfigured("the filter needs request_header_mode: SEND")
        self.came = message.headers
        self.keep_heads()
        self.status = int(message.pseudo.get(":status", "0") or 0)
        self.times.begun = self.clock.now()
        self.is_compressed = False
        if self.status == SWITCHING_PROTOCOLS:
            return self.in_mode(proceed(Kind.RESPONSE_HEADERS), NONE), Phase.PASSING
        translation.response_head(self.status, self.came)
        if self.payloads is not None:
            self.payloads.answered(self.status, self.came)
            if any(name == ENCODING for name, _ in self.came):
                self.payloads.encoded(passes=translation.passthrough)
        if message.end_of_stream:
            return self._without_body(translation)
        if translation.whole:
            self.is_compressed = any(name == ENCODING for name, _ in self.came)
            answer = self._begun(proceed(Kind.RESPONSE_HEADERS))
            return self.in_mode(answer, BUFFERED), Phase.WHOLE
        if translation.unwatched:
            answer = self._noting(self._headed(translation, Kind.RESPONSE_HEADERS, None))
            return self.in_mode(answer, NONE), Phase.PASSING
        answer = self._begun(self._headed(translation, Kind.RESPONSE_HEADERS, None))
        return self.in_mode(answer, STREAMED), Phase.STREAMING

    def _begun(self, answer: Outgoing) -> Outgoing:
        return with_metadata(answer, _CUT)

    def in_mode(self, answer: Outgoing, mode: int) -> Outgoing:
        if self.response_mode != mode:
            override_mode(answer, mode)
        return answer

    def _headed(self, translation: Translation, kind: Kind, body: bytes | None, *, replace: bool = False) -> Outgoing:
        """The client's head. *body*: the whole body that goes with it, ``None`` if it is streamed."""
        head = translation.head
        wanted = head.headers if body is None else [*head.headers, ("content-length", str(len(body)))]
        mutation = diff(self.came, wanted)
        if head.status != self.status:
            set_header(mutation, ":status", str(head.status))
            self.status = head.status
        self.tell_duration(mutation)
        return proceed(kind, mutation, body, replace=replace)

    def _without_body(self, translation: Translation) -> Reply:
        """The response ended at its head. Where the client needs a body, it gets one."""
        data = translation.response_body(b"", end_of_stream=True)
        self._seen(b"", data)
        answer = self._headed(translation, Kind.RESPONSE_HEADERS, data, replace=bool(data))
        return self._noting(answer), Phase.ENDED

    def on_response_body(self, message: Incoming) -> Reply | Steps:
        translation = self.translation
        assert translation is not None
        chunk = message.body
        last = self.phase is Phase.WHOLE or message.end_of_stream
        if translation.policed:
            return self._judging(translation, chunk, last)
        return self._answered_with(translation, chunk, translation.response_body(chunk, last), last)

    def _judging(self, translation: Translation, chunk: bytes, last: bool) -> Steps:
        data = yield from translation.responding(chunk, last)
        return self._answered_with(translation, chunk, data, last)

    def _answered_with(self, translation: Translation, chunk: bytes, data: bytes, last: bool) -> Reply:
        """The answer to a response's body: *data* goes to the client for *chunk*."""
        self._seen(chunk, data)
        if self.phase is Phase.WHOLE:
            return self._noting(self._headed(translation, Kind.RESPONSE_BODY, data)), Phase.ENDED
        self._check_cut(translation)
        answer = self._telling(translation, chunk, data)
        return self._noting(answer) if last else answer, Phase.ENDED if last else Phase.STREAMING

    def on_piece(self, chunk: bytes) -> Encoded:
        translation = self.translation
        assert translation is not None
        data = translation.response_body(chunk)
        if self.payloads is not None:
            self._seen(chunk, data)
        self._check_cut(translation)
        if self._has_begun(translation) or self._has_ended(translation):
            return self._telling(translation, chunk, data).parts()
        return pieces.UNCHANGED if data == chunk else pieces.write(data)

    def _seen(self, chunk: bytes, data: bytes) -> None:
        """Keep what is logged of a piece of the answer."""
        if self.payloads is not None:
            seconds = self.since(self.clock.now())
            self.payloads.came(chunk, seconds)
            self.payloads.got(data, seconds)

    def _check_cut(self, translation: Translation) -> None:
        if translation.cut:
            assert translation.failed is not None
            raise self.said(translation.failed, "response_too_large")

    def _has_begun(self, translation: Translation) -> bool:
        """Content has come, and nothing has been told of it."""
        return translation.first_content_at is not None and not self._timed

    def _has_ended(self, translation: Translation) -> bool:
        """The end is known, and has not been told."""
        return translation.over and not self._noted

    def _telling(self, translation: Translation, chunk: bytes, data: bytes) -> Outgoing:
        """The answer that puts *data* in the place of *chunk*, with what has not been told of the stream."""
        answer = proceed(Kind.RESPONSE_BODY, None, None if data == chunk else data)
        if self._has_begun(translation):
            self._timed = True
            if (seconds := self.first_content_seconds(translation)) is not None:
                self.shared.sinks.first_content(self.began, seconds)
            # A client that goes away in mid-stream is charged for what it asked, if the upstream told so far.
            answer = self._with_costs(with_metadata(answer, self._usage_facts(translation)), translation)
        if self._has_ended(translation):
            # As soon as the end is known: many a client goes away before the upstream has closed.
            answer = self._noting(answer)
        return answer

    def on_response_trailers(self, message: Incoming) -> Reply:
        translation = self.translation
        assert translation is not None
        left = translation.response_body(b"", end_of_stream=True)
        if self.phase is Phase.WHOLE or left:
            # What is still to be said has no body left to be said in: better break the response than let it look whole.
            failed = translation.failed or ResponseFailed(ErrorKind.API, "the response ended without its body", 502)
            raise self.said(failed, "stream_truncated")
        return self._noting(proceed(Kind.RESPONSE_TRAILERS)), Phase.ENDED

    # ---- the record

    def _noting(self, answer: Outgoing) -> Outgoing:
        """*answer* with what is known of the response; once."""
        translation = self.translation
        assert translation is not None
        if translation.failed is not None:
            self.error = translation.failed.code or translation.failed.kind.value
        if self._noted:
            return answer
        self._noted = True
        self.times.done = self.clock.now()
        facts = self._response_facts(translation)
        facts["error"] = clipped(self.error)
        facts["ending"] = _WORDS[ending(Phase.ENDED, translation)]
        return self._with_costs(with_metadata(answer, facts), translation)

    def _with_costs(self, answer: Outgoing, translation: Translation) -> Outgoing:
        """*answer* with what the route has counted where it wants it."""
        route = translation.route
        if not route.costs:
            return answer
        models = (translation.model_sent, translation.model_answered)
        spent = Spent(translation.usage, self.cost_usd(translation), *models, route.provider.name)
        costs = {name: count for name, cost in route.costs.items() if (count := cost.of(spent)) is not None}
        return with_metadata(answer, costs, route.costs_namespace) if costs else answer

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        translation = self.translation
        if translation is not None:
            facts["client"] = translation.client or ""
            facts["upstream"] = translation.upstream or ""
            facts["provider"] = translation.route.provider.name
            facts["model_asked"] = clipped(translation.model_asked)
            facts["model_sent"] = clipped(translation.model_sent)
            facts["model"] = clipped(translation.model)
            facts["losses"] = translation.losses.told(MAX_METADATA_TEXT)
            self._add_policies(facts, translation)
            self._add_variables(facts, translation)
        return facts

    def _add_variables(self, facts: dict[str, Any], translation: Translation) -> None:
        """What the route has the access log show by other names."""
        names = translation.route.variables
        if names:
            for name, value in told(names, translation, self.times).items():
                facts[name] = clipped(value) if isinstance(value, str) else value

    def _add_policies(self, facts: dict[str, Any], translation: Translation) -> None:
        for name, value in translation.policy_facts.items():
            facts[name] = clipped(value) if isinstance(value, str) else value
        if translation.denied_by:
            facts["denied_by"] = translation.denied_by

    def _usage_facts(self, translation: Translation) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        for at, count in enumerate(astuple(translation.usage)):
            if count is not None:
                facts[COUNTS[at]] = count
        facts["model"] = clipped(translation.model)
        if (usd := self.cost_usd(translation)) is not None:
            facts["cost_usd"] = usd
        if (seconds := self.first_content_seconds(translation)) is not None:
            facts["first_token_ms"] = round(seconds * 1000)
        self._add_variables(facts, translation)
        return facts

    def _response_facts(self, translation: Translation) -> dict[str, Any]:
        facts = self._usage_facts(translation)
        if translation.model_answered:
            facts["model_answered"] = clipped(translation.model_answered)
        facts["losses"] = translation.losses.told(MAX_METADATA_TEXT)
        self._add_policies(facts, translation)
        if translation.ended is not None:
            facts["finish"] = _FINISHES[translation.ended.stop]
        return facts

    def close(self, *, wanted: bool = True) -> Outcome:
        translation = self.translation
        if translation is not None and self.phase in (Phase.SENT, Phase.WHOLE, Phase.STREAMING):
            translation.cancel()
        outcome = super().close(wanted=wanted)
        if translation is not None:
            translation.release()
        return outcome


SWITCHING_PROTOCOLS: Final = 101
_KEPT: Final = frozenset({ENCODING, DURATION})
"""What no upstream gets of a client's headers, and the next attempt needs."""
_OF_ITS_BODY: Final = frozenset(
    {"content-length", "content-encoding", "content-md5", "content-digest", "repr-digest", "digest"}
)
"""Headers of a body that goes on as it came."""
_OF_AN_UPGRADE: Final = frozenset(
    {"connection", "upgrade", "sec-websocket-version", "sec-websocket-key", "sec-websocket-extensions"}
)
_PROTOCOLS: Final = "sec-websocket-protocol"


def _upgrading(pair: tuple[str, str]) -> tuple[str, str]:
    """*pair*, if it is a header by which a connection is upgraded; else one that is empty. Programs in browsers can say
    their key in no other header than that of the protocols."""
    name, value = pair
    if name == _PROTOCOLS:
        words = (word.strip() for word in value.split(","))
        return name, ", ".join(word for word in words if not may_carry_credential(word.partition(".")[0]))
    return pair if name in _OF_AN_UPGRADE else (name, "")


_WORDS: Final = {each: each.value for each in Ending}
_FINISHES: Final = {each: each.value for each in StopReason}
"""Looked up: an Enum's own ``value`` is a Python function, called by another one."""
_SENT: Final = _WORDS[ending(Phase.SENT)]
_CUT: Final = {"ending": _WORDS[ending(Phase.STREAMING)]}
