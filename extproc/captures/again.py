"""An exchange gone through again: what the code that is here makes of what was asked and answered then.

An exchange is what the admin port tells of one (``/exchanges/ID``), as JSON: its record, ``payloads`` and ``course``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .. import dialects
from ..frozen import Frozen
from ..route import Route, RouteError, compile_route
from ..telemetry.readable import events, read, written
from ..translation.calls import Answer, Refused
from ..translation.translation import Translation

_ALONE = frozenset({"prompt_decorator", "prompt_guard", "prompt_template", "redact", "tool_filter"})
"""The policies that ask nobody."""
NO_BODIES = "its bodies are not kept: its route must say `logging: {payloads: true}`"
NOWHERE = "http://upstream.invalid/v1"

Captured = Mapping[str, Any]
encode = msgspec.json.Encoder().encode


class NotAgain(Exception):
    """It cannot be gone through again; the message says why."""


class Again(Frozen):
    """What came of the request this time."""

    translation: Translation
    sent: bytes
    """The provider's request; what the client is told instead, where there is none."""
    asked: bool
    """There is one."""


def body_of(exchange: Captured, side: str, way: str) -> bytes | None:
    """The bytes of the *side*'s (``client``, ``upstream``) *way* (``request``, ``response``); ``None`` if there were
    none. What went on unchanged stands under the client's. Raises NotAgain if they were not kept."""
    sides = exchange.get("payloads")
    if not sides:
        raise NotAgain(NO_BODIES)
    shown = sides.get(side, {}).get(way) or (sides.get("client", {}).get(way) if side == "upstream" else None)
    if not shown or (side == "upstream" and not exchange.get("upstream")):
        return None
    if "omitted" in shown:
        raise NotAgain(f"the {side}'s {way} is not kept: {shown['omitted']}")
    if shown.get("cut"):
        raise NotAgain(f"the {side}'s {way} is cut off, of {shown['bytes']} bytes: raise --records-payload-bytes")
    if "body" in shown:
        return encode(shown["body"])
    return written(shown.get("text", ""), shown.get("framing", ""))


def request_again(exchange: Captured, body: bytes, route: Route | None = None) -> Again:
    """What the exchange's client asks with *body*, by its own route or by *route*. Raises NotAgain."""
    route = route or route_of(exchange)
    course = exchange["course"]
    asked = course["request"]
    try:
        client, upstream = (exchange.get(name) or None for name in ("client", "upstream"))
        translation = Translation(
            client,
            upstream,
            route=route,
            now=course["now"],
            request_id=exchange["request_id"],
            clock=lambda: float(course["now"]),
        )
        headers = [(name, value) for name, value in asked["headers"]]
        made = translation.request(body, asked["method"], asked["path"], headers)
    except Refused as refused:
        return Again(translation, refused.body, False)
    except (RouteError, dialects.UnknownDialect) as error:
        raise NotAgain(str(error)) from None
    return Again(translation, made.body, not isinstance(made, Answer))


def response_again(exchange: Captured, again: Again) -> bytes:
    """What the client gets of what the provider answered then. Raises NotAgain."""
    came = body_of(exchange, "upstream", "response") or b""
    answered = exchange["course"]["response"]
    translation = again.translation
    translation.response_head(answered["status"], [(name, value) for name, value in answered["headers"]])
    out = translation.response_body(came)
    # Of what broke off nobody has seen an end.
    return out if exchange["ending"] in ("cut", "cancelled") else out + translation.response_body(b"", True)


def left_out(exchange: Captured) -> list[str]:
    """What had a part in the exchange, and has none in going through it again."""
    policies = exchange.get("course", {}).get("route", {}).get("policies") or []
    return [
        str(next(iter(each), "")) if isinstance(each, Mapping) else str(each)
        for each in policies
        if not _is_alone(each)
    ]


def _is_alone(policy: Any) -> bool:
    """Of one that was made unreadable there is the name."""
    return isinstance(policy, Mapping) and not policy.keys().isdisjoint(_ALONE)


def route_of(exchange: Captured) -> Route:
    """The exchange's, without credentials and without what would ask somebody. Raises NotAgain."""
    course = exchange.get("course")
    if not course:
        raise NotAgain(NO_BODIES)
    said = course["route"]
    made = {name: value for name, value in said.items() if name not in ("auth", "logging", "policies", "metadata")}
    override = dict(made.get("override", {}))
    if "${" in override.get("endpoint", "") or "***" in override.get("endpoint", ""):
        override["endpoint"] = NOWHERE
    if override:
        made["override"] = override
    if conf := made.get("provider_conf"):
        made["provider_conf"] = {name: "x" if "${" in text or text == "***" else text for name, text in conf.items()}
    policies = [policy for policy in said.get("policies") or [] if _is_alone(policy)]
    try:
        # Not by this process's environment, and not kept among the routes that are in use.
        return compile_route([{**made, "auth": "none", **({"policies": policies} if policies else {})}], environ={})
    except RouteError as error:
        raise NotAgain(f"its route cannot be had again: {error}") from None


def same(one: bytes, other: bytes) -> bool:
    """Whether they are the same bytes, but for how JSON is spaced, whole or as far as an array has come."""
    if one == other:
        return True
    try:
        return encode(msgspec.json.decode(one)) == encode(msgspec.json.decode(other))
    except msgspec.DecodeError:
        ours, theirs = read(one), read(other)
        return (ours.text, ours.framing) == (theirs.text, theirs.framing) and bool(ours.framing)


def pieces(body: bytes) -> list[str]:
    """A body in the pieces in which it is compared: a stream's events, else lines."""
    if body[:1] in (b"{", b"["):
        try:
            return msgspec.json.format(body, indent=1).decode().splitlines()
        except msgspec.DecodeError:
            pass
    return events(read(body).text)
