"""One exchange as a span: its name, times, attributes, events and status, before a library has a word in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..frozen import Frozen
from ..telemetry.metrics import PROVIDERS
from ..telemetry.outcome import Began, Ending, Outcome
from ..telemetry.traceparent import Traced
from .content import attributes_of

MAX_TEXT = 1024
"""Characters of a text from outside that is no content."""
LOSS = "extproc.loss"
FIRST_CONTENT = "extproc.first_content"

Facts = dict[str, Any]


class ExchangeSpan(Frozen):
    """Times are nanoseconds since 1970."""

    name: str
    trace: Traced
    start: int
    end: int
    attributes: Facts
    events: list[tuple[str, int, Facts]]
    error: str = ""
    """Why it did not end well; empty if it did."""
    asks: bool = True
    """An upstream was asked."""


def is_traced(outcome: Outcome) -> bool:
    """Whether it has a span: it is sampled, and more than something that went by."""
    return outcome.trace is not None and outcome.ending is not Ending.PASSED


def span_of(began: Began, outcome: Outcome) -> ExchangeSpan:
    """The span of an exchange for which ``is_traced``."""
    assert outcome.trace is not None
    start = _nanoseconds(began.at)
    end = start + _nanoseconds(outcome.seconds)
    error = outcome.error_type
    asks = outcome.ending not in (Ending.REFUSED, Ending.ANSWERED) and bool(outcome.upstream)
    told = {name: value for name, value in _attributes(began, outcome, error) if value not in (None, "", ())}
    if outcome.content is not None and outcome.operation == "chat":
        told |= attributes_of(began, outcome, outcome.content)
    events = sorted(_events(outcome, start, end), key=lambda event: event[1])
    return ExchangeSpan(_name(began, outcome), outcome.trace, start, end, told, events, error, asks)


def _name(began: Began, outcome: Outcome) -> str:
    """As the conventions have it; of what was refused before it was read, how it was asked."""
    if not outcome.operation:
        return f"{began.method or 'request'} {outcome.client or 'unknown'}"
    model = (outcome.model_sent or outcome.model_asked)[:MAX_TEXT]
    return f"{outcome.operation} {model}" if model else outcome.operation


def _attributes(began: Began, outcome: Outcome, error: str) -> Iterator[tuple[str, Any]]:
    usage, attempt = outcome.usage, outcome.attempt or 0
    yield "gen_ai.operation.name", outcome.operation
    yield "gen_ai.provider.name", PROVIDERS.get(outcome.provider, outcome.provider)
    yield "gen_ai.original.model", outcome.model_asked[:MAX_TEXT]
    yield "gen_ai.request.model", outcome.model_sent[:MAX_TEXT]
    yield "gen_ai.response.model", outcome.model_answered[:MAX_TEXT]
    yield "gen_ai.request.stream", outcome.stream_asked or None
    yield "gen_ai.response.finish_reasons", (outcome.finish,) if outcome.finish else ()
    yield "gen_ai.response.time_to_first_chunk", outcome.first_content_seconds
    yield "gen_ai.usage.input_tokens", usage.input_tokens
    yield "gen_ai.usage.output_tokens", usage.output_tokens
    yield "gen_ai.usage.cache_read.input_tokens", usage.cache_read_tokens
    yield "gen_ai.usage.cache_creation.input_tokens", usage.cache_write_tokens
    yield "gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens
    yield "error.type", error[:MAX_TEXT]
    yield "http.request.method", began.method
    yield "http.request.resend_count", attempt - 1 if attempt > 1 else None
    yield "http.response.status_code", outcome.status or None
    yield "url.path", began.path[:MAX_TEXT]
    yield "extproc.request_id", began.request_id[:MAX_TEXT]
    yield "extproc.role", outcome.role
    yield "extproc.route", outcome.route[:MAX_TEXT]
    yield "extproc.client", outcome.client
    yield "extproc.upstream", outcome.upstream
    yield "extproc.ending", outcome.ending.value
    yield "extproc.tool_calls", outcome.tool_calls or None
    yield "extproc.cost_usd", outcome.cost_usd
    yield "extproc.denied_by", outcome.denied_by
    for what, seconds in outcome.waits:
        yield f"extproc.wait.{what}", seconds


def _events(outcome: Outcome, start: int, end: int) -> Iterator[tuple[str, int, Facts]]:
    if outcome.first_content_seconds is not None:
        yield FIRST_CONTENT, start + _nanoseconds(outcome.first_content_seconds), {}
    sent = end if outcome.sent_seconds is None else start + _nanoseconds(outcome.sent_seconds)
    for number, loss in enumerate(outcome.losses):
        # When one of the answer's came is not kept: all are known at the end.
        path, _, action = loss.rpartition(":")
        at = sent if number < outcome.request_losses else end
        yield LOSS, at, {"extproc.loss.path": path[:MAX_TEXT], "extproc.loss.action": action}


def _nanoseconds(seconds: float) -> int:
    """By way of microseconds: a clock's float has no more."""
    return round(seconds * 1_000_000) * 1000
