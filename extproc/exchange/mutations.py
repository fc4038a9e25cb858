"""Answers to Envoy: what changes in headers and bodies, with nothing said about what stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from ..headers import Headers
from . import written
from .outgoing import BUFFERED, NONE, SEND, SKIP, Mutation, Outgoing, processing_mode
from .phases import Kind

NAMESPACE: Final = "extproc"
"""Our namespace in dynamic metadata."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def _bytes(value: str) -> bytes:
    if not value.isprintable() and _CONTROL.search(value):
        # Envoy answers a header with a line break in it with a bare 500.
        value = _CONTROL.sub(" ", value).strip()
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode()


def _grouped(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One value for each name; several are joined by commas, as HTTP allows."""
    grouped: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    for name, value in headers:
        if name in grouped:
            # Put together once, however often it comes.
            several.setdefault(name, [grouped[name]]).append(value)
        else:
            grouped[name] = value
    for name, values in several.items():
        grouped[name] = ",".join(values)
    return grouped


def diff(came: Iterable[tuple[str, str]], wanted: Iterable[tuple[str, str]]) -> Mutation:
    """What turns the headers that *came* into those that are *wanted*."""
    old, new = _grouped(came), _grouped(wanted)
    mutation = Mutation([name for name in old if name not in new])
    mutation.set = [written.header(name, _bytes(value)) for name, value in new.items() if old.get(name) != value]
    return mutation


def set_header(mutation: Mutation, name: str, value: str) -> None:
    """Set *name*, in place of whatever values it has."""
    mutation.set.append(written.header(name, _bytes(value)))


def set_after_all(mutation: Mutation, name: str, value: str) -> None:
    """The same where *mutation* may say already that *name* is to be removed: then it says so no more."""
    if name in mutation.removed:
        mutation.removed = [other for other in mutation.removed if other != name]
    set_header(mutation, name, value)


def proceed(
    kind: Kind,
    headers: Mutation | None = None,
    body: bytes | None = None,
    *,
    replace: bool = False,
    clear_route_cache: bool = False,
) -> Outgoing:
    """The answer to a message of *kind*: go on, with other headers or another body where they are given. ``b""``
    empties the body, ``None`` leaves it. *replace*: nothing more of this message is to come, the body is *body*."""
    answer = Outgoing(kind)
    answer.headers = headers
    answer.body = body
    answer.replace = replace
    answer.clear_route_cache = clear_route_cache
    return answer


_HOLDING: Final = {
    NONE: processing_mode(0, SEND, BUFFERED, NONE, SKIP, SKIP),
    BUFFERED: processing_mode(0, SEND, BUFFERED, BUFFERED, SEND, SEND),
}


def holding(response_body: int) -> Outgoing:
    """An answer to a request's headers that waits for its body, and asks for the response's headers as well, its body
    in the mode *response_body*: NONE or BUFFERED.

    A filter that is *configured* to see responses' headers keeps back what Envoy's HTTP codec answers by itself (400,
    426, 431): Envoy closes the connection before we have been asked, and the client gets not a byte (seen on 1.37 to
    1.40). So ``response_header_mode`` is SKIP on the listener, and this asks for them once a request has come this far.
    An override stands in place of all modes, so it says the others again. From NONE no later override leads elsewhere,
    and after STREAMED an answer that is then asked for as a whole has lost its content-length."""
    answer = Outgoing(Kind.REQUEST_HEADERS)
    answer.modes = _HOLDING[response_body]
    return answer


def passing_on(headers: Mutation, response_body: int) -> Outgoing:
    """The answer to the headers of a request whose body passes unread; the response is to come, its body in the mode
    *response_body*."""
    answer = proceed(Kind.REQUEST_HEADERS, headers)
    answer.modes = processing_mode(0, SEND, NONE, response_body, SKIP, SEND)
    return answer


def override_mode(answer: Outgoing, body_mode: int) -> None:
    """Ask for the response's body in *body_mode*. Without its trailers, the end of some bodies would never be seen."""
    answer.modes = processing_mode(0, 0, 0, body_mode, 0, SEND)


def let_by(kind: Kind, headers: Mutation | None, *, seen: bool) -> Outgoing:
    """The answer to a request's headers or body that is none of ours: it goes on as it came, its body unread. *seen*:
    the response's headers are asked for all the same."""
    answer = proceed(kind, headers, clear_route_cache=headers is not None)
    if kind is Kind.REQUEST_HEADERS:
        answer.modes = processing_mode(0, SEND if seen else SKIP, NONE, NONE, SKIP, SKIP)
    return answer


def immediate(status: int, headers: Headers, body: bytes, details: str) -> Outgoing:
    """An answer of our own in the upstream's stead. *details* becomes ``response.code_details``."""
    answer = Outgoing(None)
    answer.status, answer.body, answer.details = status, body, details
    answer.headers = Mutation()
    for name, value in headers:
        set_header(answer.headers, name, value)
    return answer


def with_metadata(answer: Outgoing, values: dict[str, Any], namespace: str = NAMESPACE) -> Outgoing:
    """*answer*, that also sets *values* (text, numbers, truth) in *namespace*, by default our own."""
    # Of one name the last counts, as in any message of protobuf's.
    answer.metadata[namespace] = answer.metadata.get(namespace, b"") + written.struct(values)
    return answer
