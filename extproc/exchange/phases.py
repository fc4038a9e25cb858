"""The course of one ext_proc stream, as a table: which message may come when, and where it leads."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Kind(Enum):
    """What Envoy sends; the value is the name of the member in ProcessingRequest."""

    __hash__ = object.__hash__  # Enum's own is a Python function, and these are looked up for every message

    REQUEST_HEADERS = "request_headers"
    REQUEST_BODY = "request_body"
    REQUEST_TRAILERS = "request_trailers"
    RESPONSE_HEADERS = "response_headers"
    RESPONSE_BODY = "response_body"
    RESPONSE_TRAILERS = "response_trailers"


class Phase(Enum):
    """Where an exchange stands."""

    __hash__ = object.__hash__

    OPEN = "nothing has come yet"
    REQUEST = "the request's headers are held until its body has come"
    SENT = "the request has gone on"
    LET_BY = "the request is none of ours and goes by"
    WHOLE = "the response's head is held until its body has come"
    STREAMING = "the response's head has gone on, its body follows in pieces"
    PASSING = "what still comes goes by as it is"
    ENDED = "the response has come to its end"
    OVER = "we have answered in the upstream's stead"


TABLE: Final[dict[Phase, dict[Kind, frozenset[Phase]]]] = {
    Phase.OPEN: {
        Kind.REQUEST_HEADERS: frozenset({Phase.REQUEST, Phase.SENT, Phase.LET_BY, Phase.PASSING, Phase.OVER}),
        # An earlier filter of Envoy's refused the request, so that it never came here.
        Kind.RESPONSE_HEADERS: frozenset({Phase.PASSING, Phase.OVER}),
    },
    Phase.REQUEST: {
        Kind.REQUEST_BODY: frozenset({Phase.SENT, Phase.LET_BY, Phase.PASSING, Phase.OVER}),
        # A request without a body that ends in trailers.
        Kind.REQUEST_TRAILERS: frozenset({Phase.OVER}),
        # Envoy's own answer: the body was too large for it, or took too long.
        Kind.RESPONSE_HEADERS: frozenset({Phase.PASSING, Phase.OVER}),
    },
    Phase.SENT: {
        Kind.REQUEST_TRAILERS: frozenset({Phase.SENT}),
        Kind.RESPONSE_HEADERS: frozenset({Phase.WHOLE, Phase.STREAMING, Phase.PASSING, Phase.ENDED, Phase.OVER}),
    },
    Phase.LET_BY: {
        # Where Envoy may not be told to keep it to itself.
        Kind.REQUEST_BODY: frozenset({Phase.LET_BY}),
        Kind.REQUEST_TRAILERS: frozenset({Phase.LET_BY}),
        Kind.RESPONSE_HEADERS: frozenset({Phase.PASSING}),
    },
    Phase.WHOLE: {
        # A body that trailers follow comes with end_of_stream false, and is whole all the same.
        Kind.RESPONSE_BODY: frozenset({Phase.ENDED, Phase.OVER}),
        Kind.RESPONSE_TRAILERS: frozenset({Phase.OVER}),
    },
    Phase.STREAMING: {
        Kind.RESPONSE_BODY: frozenset({Phase.STREAMING, Phase.ENDED, Phase.OVER}),
        Kind.RESPONSE_TRAILERS: frozenset({Phase.ENDED, Phase.OVER}),
    },
    Phase.PASSING: {
        # Envoy may have been reading the request when it answered.
        Kind.REQUEST_BODY: frozenset({Phase.PASSING}),
        Kind.REQUEST_TRAILERS: frozenset({Phase.PASSING}),
        Kind.RESPONSE_HEADERS: frozenset({Phase.PASSING}),
        Kind.RESPONSE_BODY: frozenset({Phase.PASSING}),
        Kind.RESPONSE_TRAILERS: frozenset({Phase.PASSING}),
    },
    Phase.ENDED: {
        # The response may come to its end before the request's trailers have been read.
        Kind.REQUEST_TRAILERS: frozenset({Phase.ENDED}),
        Kind.RESPONSE_TRAILERS: frozenset({Phase.ENDED}),
    },
    Phase.OVER: {},
}
"""Phase -> what may come -> which phases it may lead to. What is not named here means that the filter is configured in
a way in which nothing can be translated."""


class Unexpected(Exception):
    """A message that may not come in this phase."""

    def __init__(self, phase: Phase, kind: Kind) -> None:
        super().__init__(f"{kind.value} came when {phase.value}")
        self.phase = phase
        self.kind = kind


def expect(phase: Phase, kind: Kind) -> frozenset[Phase]:
    """The phases that a message of *kind* may lead to. Raises Unexpected."""
    try:
        return TABLE[phase][kind]
    except KeyError:
        raise Unexpected(phase, kind) from None
