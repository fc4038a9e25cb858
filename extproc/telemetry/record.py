"""What a log has of an exchange: one JSON object, whoever writes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from ..llm.events import Usage, total
from .outcome import Began, Outcome

_encode = msgspec.json.Encoder().encode
COUNTS = tuple(Usage.__struct_fields__)


def record(began: Began, outcome: Outcome, *, bodies: bool = True) -> dict[str, Any]:
    """An exchange as JSON can hold it: always whose it was and how it went; ``llm_summary`` and, unless *bodies* is
    false, the payloads where the route has them logged."""
    made = _known(began, outcome)
    if outcome.summary:
        made["llm_summary"] = summary(outcome)
    if outcome.payloads is not None and bodies:
        shown = outcome.payloads.shown()
        for name in ("llm_request", "llm_response_text"):
            if name in shown:
                made[name] = shown.pop(name)
        if "llm_request" in made:
            made["llm_request"]["stream"] = outcome.stream_asked
        made["payloads"] = shown
    return made


def _known(began: Began, outcome: Outcome) -> dict[str, Any]:
    usage = outcome.usage
    return {
        "time": stamp(began.at),
        "request_id": began.request_id,
        "role": outcome.role,
        "attempt": outcome.attempt,
        "method": began.method,
        "path": began.path,
        "client": outcome.client,
        "upstream": outcome.upstream,
        "provider": outcome.provider,
        "route": outcome.route,
        "model_asked": outcome.model_asked,
        "model_sent": outcome.model_sent,
        "model_answered": outcome.model_answered,
        "stream": outcome.stream,
        "status": outcome.status,
        "ending": outcome.ending.value,
        "error": outcome.error,
        "finish": outcome.finish,
        "usage": {name: count for name in COUNTS if (count := getattr(usage, name)) is not None},
        "cost_usd": outcome.cost_usd,
        "losses": list(outcome.losses),
        "denied_by": outcome.denied_by,
        "duration_ms": milliseconds(outcome.seconds),
        "first_token_ms": milliseconds(outcome.first_content_seconds),
        "upstream_ms": milliseconds(outcome.upstream_seconds),
    }


def told(began: Began, outcome: Outcome) -> str:
    """An exchange in a line of the process's own log: what is known of it as JSON, and nothing that it held."""
    known = {
        name: value for name, value in _known(began, outcome).items() if value or (value == 0 and value is not False)
    }
    return _encode(known).decode()


def encoded(began: Began, outcome: Outcome) -> bytes:
    """A record as JSON."""
    return _encode(record(began, outcome))


def line(began: Began, outcome: Outcome) -> bytes:
    """A record's line, with its end."""
    return encoded(began, outcome) + b"\n"


def summary(outcome: Outcome) -> dict[str, Any]:
    """What ``logging.summaries`` tells, by the names that APISIX's loggers have (apisix/plugins/ai-proxy/base.lua of
    2026-06-26). Times are whole milliseconds; a number that is not known is 0. ``duration`` is, as there, the time to
    the first token."""
    usage = outcome.usage
    return {
        "request_model": outcome.model_asked,
        "model": outcome.model_sent,
        "duration": milliseconds(outcome.first_token_seconds) or 0,
        "prompt_tokens": usage.input_tokens or 0,
        "completion_tokens": usage.output_tokens or 0,
        "total_tokens": total(usage) or 0,
        "upstream_response_time": milliseconds(outcome.upstream_seconds) or 0,
        "stream": outcome.stream_asked,
        "tool_count": outcome.tools,
        "has_tool_calls": outcome.tool_calls > 0,
        "end_user_id": outcome.end_user,
        "cache_read_input_tokens": usage.cache_read_tokens or 0,
        "cache_creation_input_tokens": usage.cache_write_tokens or 0,
        "reasoning_tokens": usage.reasoning_tokens or 0,
    }


def milliseconds(seconds: float | None) -> int | None:
    """Whole ones."""
    return None if seconds is None else round(seconds * 1000)


def stamp(at: float) -> str:
    """Unix seconds as RFC 3339 has them, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
