"""Where two exchanges differ, or an exchange from itself gone through again: as lines that people read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import msgspec

from .again import Captured, NotAgain, body_of, pieces, request_again, response_again, same
from .redaction import redacted_bytes

BODIES = (("client", "request"), ("upstream", "request"), ("upstream", "response"), ("client", "response"))
"""In the order in which they come to be."""
_OF_ITS_OWN = frozenset(
    {"id", "process", "number", "ended_at", "time", "request_id", "duration_ms", "first_token_ms", "upstream_ms",
     "payloads", "course", "members", "members_unknown", "llm_summary", "llm_request", "llm_response_text"}
)  # fmt: skip
"""Members of a record that no two exchanges share, or that are compared by themselves."""


def replayed(exchange: Captured, *, redacted: bool) -> Iterator[tuple[str, list[str]]]:
    """What the code that is here makes of *exchange*, against what was made of it then: of the provider's request and
    of the client's answer where they differ, each the differences. Raises NotAgain."""
    asked = body_of(exchange, "client", "request")
    again = request_again(exchange, asked or b"")
    then = body_of(exchange, "upstream", "request")
    if again.asked and then is not None:
        yield "the provider's request", _compared(then, again.sent, redacted)
        yield "the client's answer", _compared(_got(exchange), response_again(exchange, again), redacted)
    elif again.asked or then is not None:
        who = "was asked then, and is not now" if then is not None else "was not asked then, and is now"
        yield "the provider", [f"it {who}", *lines(_got(exchange), again.sent)]
    else:
        yield "the client's answer", _compared(_got(exchange), again.sent, redacted)


def _got(exchange: Captured) -> bytes:
    return body_of(exchange, "client", "response") or b""


def _compared(then: bytes, now: bytes, redacted: bool) -> list[str]:
    if redacted:
        then, now = redacted_bytes(then), redacted_bytes(now)
    return [] if same(then, now) else lines(then, now)


def lines(one: bytes, other: bytes) -> list[str]:
    """The differences of two bodies: the lines of JSON, or the events of a stream."""
    found = difflib.unified_diff(pieces(one), pieces(other), lineterm="", n=2)
    return [line for line in found if not line.startswith(("---", "+++"))]


def between(one: Captured, other: Captured) -> Iterator[tuple[str, list[str]]]:
    """What differs between two exchanges: of what is known of them, and of each body."""
    names = sorted((one.keys() | other.keys()) - _OF_ITS_OWN)
    told = [_change(name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)]
    yield "what is known", told
    for side, way in BODIES:
        try:
            ours, theirs = body_of(one, side, way) or b"", body_of(other, side, way) or b""
        except NotAgain as why:
            yield f"the {side}'s {way}", [f"cannot be compared: {why}"]
            continue
        yield f"the {side}'s {way}", [] if same(ours, theirs) else lines(ours, theirs)


def _change(name: str, one: object, other: object) -> str:
    return f"{name}: {msgspec.json.encode(one).decode()} -> {msgspec.json.encode(other).decode()}"
