"""One ext_proc stream, one HTTP exchange: what all roles share. No gRPC, no I/O, no clock of its own."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ..capabilities import CapabilityTable
from ..dialects import detect, resembled
from ..envoy_api.external_processor_pb2 import HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse
from ..llm.events import ResponseFailed
from ..llm.failures import ErrorKind, kind_of_status
from ..settings import Limits
from ..translate import Refused, render_error
from . import mutations
from .attributes import CODE_DETAILS, Attributes, dynamic_metadata
from .phases import TRANSITIONS, Outcome, State

log = logging.getLogger("extproc.exchange")

VIA_UPSTREAM = "via_upstream"
OURS = "extproc_"
"""How the ``response.code_details`` of our own answers begin."""

Headers = list[tuple[str, str]]
Metadata = Mapping[str, Any]


class Context:
    """What all the exchanges of a process share: limits, capabilities, the clock, the counts of how they ended."""

    def __init__(
        self,
        limits: Limits | None = None,
        capabilities: CapabilityTable | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.limits = limits or Limits()
        self.capabilities = capabilities
        self.clock = clock
        self.outcomes: Counter[str] = Counter()
        self._told: set[str] = set()

    def tell_once(self, message: str) -> None:
        """Log an operator's mistake the first time that it is met, within a bound."""
        if message not in self._told and len(self._told) < 1000:
            self._told.add(message)
            log.error("%s", message)


class Machine:
    """Answers each message of Envoy's with one of ours. A subclass is a role: it says what each phase does.

    ``receive`` never raises: a bug of ours becomes a 500 in the client's own shape, or, once a response is under way,
    the end of the stream (``broken``), which Envoy turns into a visible failure.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.state = State.NEW
        self.outcome: Outcome | None = None
        self.broken = False
        """No further answer can be right: whoever carries the messages must fail the stream."""
        self.method = ""
        self.path = ""
        self.pseudo: dict[str, str] = {}
        self.headers: Headers = []
        self.client: str | None = None
        """The client's dialect, as far as it is known."""

    # ---- what a role says

    def on_request_headers(self, message: HttpHeaders, attributes: Attributes) -> ProcessingResponse:
        raise NotImplementedError

    def on_request_body(self, message: HttpBody) -> ProcessingResponse:
        raise NotImplementedError

    def on_response_headers(self, message: HttpHeaders, attributes: Attributes) -> ProcessingResponse:
        raise NotImplementedError

    def on_response_body(self, message: HttpBody) -> ProcessingResponse:
        return mutations.response_body(None)

    def on_response_trailers(self) -> ProcessingResponse:
        return mutations.response_trailers()

    def on_close(self) -> Outcome:
        """The stream has ended without having been answered by us."""
        return Outcome.NOT_OURS

    # ---- what is shared

    def receive(self, request: ProcessingRequest) -> ProcessingResponse | None:
        """The answer to one message; ``None`` when there can be none (see ``broken``)."""
        kind = request.WhichOneof("request")
        next_state = TRANSITIONS[self.state].get(kind or "")
        if kind is None or next_state is None:
            log.warning("Envoy sent %s when the exchange was %s", kind, self.state.name)
            self.broken = True
            return None
        try:
            answer = self._answer(kind, request)
        except Exception:
            log.exception("a bug in answering %s", kind)
            return self._bug()
        if answer.WhichOneof("response") == "immediate_response":
            self.state = State.OVER
        elif kind == "request_headers" and request.request_headers.end_of_stream:
            self.state = State.SENT
        else:
            self.state = next_state
        return answer

    def close(self) -> None:
        """The stream has ended, for whatever reason: settles ``outcome``, once."""
        if self.outcome is None:
            self.settle(self.on_close())

    def settle(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome = outcome
            self.context.outcomes[outcome.value] += 1

    def refuse(self, refused: Refused, metadata: Metadata | None = None) -> ProcessingResponse:
        """Answer for the upstream."""
        self.settle(Outcome.REFUSED)
        answer = mutations.immediate(refused.status, refused.headers, refused.body, f"{OURS}refused")
        answer.dynamic_metadata.CopyFrom(dynamic_metadata({"error": refused.failed.kind.value, **(metadata or {})}))
        return answer

    def fail(self, kind: ErrorKind, message: str, status: int, details: str) -> ProcessingResponse:
        """Answer with an error of ours in the client's shape."""
        self.settle(Outcome.REFUSED)
        head, body = render_error(self.client, ResponseFailed(kind, message, status))
        answer = mutations.immediate(head.status, head.headers, body, OURS + details)
        answer.dynamic_metadata.CopyFrom(dynamic_metadata({"error": details}))
        return answer

    def envoys_own(self, status: int, details: str, came: Headers) -> ProcessingResponse:
        """A reply that Envoy itself made, said in the client's shape."""
        failed = ResponseFailed(kind_of_status(status), _explained(status, details), status)
        head, body = render_error(self.client, failed)
        keep = frozenset({"date", "server", "x-envoy-overloaded", "retry-after", "x-request-id"})
        pseudo = {":status": str(head.status)}
        mutation = mutations.header_mutation(came, head.headers, pseudo=pseudo, length=len(body), keep=keep)
        return mutations.replaced_response(mutation, body)

    def is_envoys_own(self, attributes: Attributes, status: int) -> bool:
        """Whether no upstream and none of our filters made this response."""
        details = attributes.text(CODE_DETAILS)
        return bool(details) and not details.startswith((VIA_UPSTREAM, OURS)) and status >= 400

    def _answer(self, kind: str, request: ProcessingRequest) -> ProcessingResponse:
        match kind:
            case "response_body":
                return self.on_response_body(request.response_body)
            case "request_headers":
                self.pseudo, self.headers = mutations.read_headers(request.request_headers.headers)
                self.method = self.pseudo.get(":method", "")
                self.path = self.pseudo.get(":path", "")
                self.client = detect(self.path, b"")
                return self.on_request_headers(request.request_headers, Attributes(request))
            case "request_body":
                return self.on_request_body(request.request_body)
            case "response_headers":
                return self.on_response_headers(request.response_headers, Attributes(request))
            case "response_trailers":
                return self.on_response_trailers()
        return mutations.request_trailers()

    def _bug(self) -> ProcessingResponse | None:
        if self.state is State.ANSWERED or self.state is State.OVER:
            # The head may be out: what says least wrong is a stream that breaks off.
            self.broken = True
            return None
        self.state = State.OVER
        return self.fail(ErrorKind.API, "internal error in the gateway", 500, "internal_error")

    def probe(self) -> ProcessingResponse | None:
        """The answer to a request that asks for nothing: clients look with ``HEAD /`` whether someone is there."""
        if self.method == "HEAD" and self.path.partition("?")[0] == "/":
            self.settle(Outcome.COMPLETE)
            return mutations.immediate(200, [], b"", f"{OURS}probe")
        return None

    def not_served(self) -> ProcessingResponse:
        """404 for a path that no dialect serves."""
        path = self.path.partition("?")[0]
        self.client = resembled(path)
        return self.fail(ErrorKind.NOT_FOUND, f"no LLM API is served at {self.method} {path}", 404, "not_found")


_EXPLAINED = {
    "direct_response": "no route serves this request",
    "route_not_found": "no route serves this request",
    "no_healthy_upstream": "no upstream is available",
    "request_payload_too_large": "the request is larger than the gateway accepts",
    "response_payload_too_large": "the answer is larger than the gateway holds",
    "upstream_response_timeout": "the upstream did not answer in time",
    "response_timeout": "the upstream did not answer in time",
    "request_overall_timeout": "the request did not arrive in time",
    "stream_idle_timeout": "nothing moved on the exchange for too long",
}


def _explained(status: int, details: str) -> str:
    """Envoy's ``response.code_details`` for a reader; the part in braces can name addresses and is left out."""
    word = details.partition("{")[0]
    for name, text in _EXPLAINED.items():
        if word.startswith(name):
            return text
    return f"the gateway answered {status} ({word or 'no details'})"
