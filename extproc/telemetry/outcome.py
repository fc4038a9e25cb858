"""The record of one exchange: what is known of it at its start, and after its end. Sinks read it."""

from __future__ import annotations

from enum import Enum

from ..frozen import Frozen
from ..llm.events import NO_USAGE, Usage
from .payloads import Payloads
from .traceparent import Traced


class Ending(Enum):
    """How an exchange ended."""

    __hash__ = object.__hash__  # Enum's own is a Python function, and these are looked up for every exchange

    COMPLETE = "complete"
    FAILED = "failed"
    """The client got an error, in the response's place or at its end."""
    REFUSED = "refused"
    """We answered with an error, no upstream was asked."""
    ANSWERED = "answered"
    """We answered what we know ourselves: an estimate, the models that there are."""
    CUT = "cut"
    """The response had begun and broke off: a reset, or a client that went away."""
    CANCELLED = "cancelled"
    """The exchange was gone before a response came."""
    PASSED = "passed"
    """It went by untouched: nothing that a model is asked or answers."""


_ENDED_WELL = frozenset({Ending.COMPLETE, Ending.ANSWERED, Ending.PASSED})


class Began(Frozen):
    """What is known of an exchange at its start. One object for each: sinks may tell exchanges apart by it."""

    role: str
    at: float
    """Unix seconds."""
    request_id: str = ""
    method: str = ""
    path: str = ""
    """Without its query, which can hold a credential."""
    client: str = ""
    """The client's dialect, as far as the path says it."""


class Outcome(Frozen):
    """What is known of an exchange after its end."""

    role: str
    ending: Ending
    attempt: int | None = None
    client: str = ""
    upstream: str = ""
    provider: str = ""
    operation: str = ""
    """``chat``, ``embeddings`` or ``count_tokens``."""
    route: str = ""
    """Envoy's name of the route, where it was asked for it."""
    model_asked: str = ""
    model_sent: str = ""
    model_answered: str = ""
    stream: bool = False
    """The client asked for one and got one."""
    stream_asked: bool = False
    tools: int = 0
    """How many the request offers, where the route has it told."""
    tool_calls: int = 0
    """How many of the client's tools the answer calls."""
    end_user: str = ""
    """Whom the client says it asks for, where the route has it told."""
    status: int = 0
    """What the client got, 0 if nothing."""
    error: str = ""
    """The error's code or kind, empty if there was none."""
    finish: str = ""
    usage: Usage = NO_USAGE
    cost_usd: float | None = None
    """What it cost in USD, where the route has that told and it is known."""
    unpriced: bool = False
    """The route has it told, and no price is known."""
    losses: tuple[str, ...] = ()
    request_losses: int = 0
    """How many of them, the first ones, were known when the request was sent."""
    denied_by: str = ""
    """The policy that ended the exchange, empty if none did."""
    seconds: float = 0.0
    """From the stream's first message to its end."""
    sent_seconds: float | None = None
    """From the stream's first message to the sending of the request, ``None`` if it was not sent."""
    first_content_seconds: float | None = None
    """From the stream's first message to the first content of a streamed answer."""
    first_token_seconds: float | None = None
    """From the sending of the request to the first content of a stream, or the headers of a whole answer."""
    upstream_seconds: float | None = None
    """From the sending of the request to the end of the response."""
    waits: tuple[tuple[str, float], ...] = ()
    """Seconds that it waited, each for a ``credential`` or for what a ``policy`` asked."""
    summary: bool = False
    """The route has exchanges logged."""
    payloads: Payloads | None = None
    """The bodies, where the route has them logged and somebody logs them."""
    trace: Traced | None = None
    """The span, where it belongs to a trace that is sampled."""
    content: Payloads | None = None
    """What its span may show of the exchange's content, where the route allows it."""

    @property
    def logged(self) -> bool:
        """The route has it logged, in whatever detail."""
        return self.summary or self.payloads is not None

    @property
    def error_type(self) -> str:
        """Why it did not end well, as OpenTelemetry's ``error.type`` has it; empty if it did."""
        return self.error or ("" if self.ending in _ENDED_WELL else self.ending.value)

    @property
    def payload_bytes(self) -> int:
        """What is kept of the bodies."""
        kept = self.payloads or self.content
        return kept.size if kept is not None else 0
