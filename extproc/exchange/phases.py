"""What Envoy may say when: the phases of one exchange, as a table.

=========  ======================================================================  =========
state      message                                                                 next
=========  ======================================================================  =========
NEW        request_headers, a body follows                                         ASKED
NEW        request_headers, no body                                                SENT
NEW        response_headers: Envoy answered before it asked us                     ANSWERED
ASKED      request_body                                                            SENT
ASKED      response_headers: Envoy answered by itself (413, a timeout)             ANSWERED
ASKED,     request_trailers                                                        same
SENT
SENT       response_headers                                                        ANSWERED
ANSWERED   response_body                                                           ANSWERED
ANSWERED   response_trailers                                                       OVER
any        an answer of our own (ImmediateResponse), or a refusal to go on         OVER
=========  ======================================================================  =========

A stream's end is no message: see ``Exchange.close``.
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    NEW = auto()
    ASKED = auto()
    SENT = auto()
    ANSWERED = auto()
    OVER = auto()


TRANSITIONS: dict[State, dict[str, State]] = {
    State.NEW: {"request_headers": State.ASKED, "response_headers": State.ANSWERED},
    State.ASKED: {
        "request_body": State.SENT,
        "request_trailers": State.ASKED,
        "response_headers": State.ANSWERED,
    },
    State.SENT: {"request_trailers": State.SENT, "response_headers": State.ANSWERED},
    State.ANSWERED: {"response_body": State.ANSWERED, "response_trailers": State.OVER},
    State.OVER: {},
}


class Outcome(Enum):
    """How an exchange ended, for counting."""

    COMPLETE = "complete"
    """The response ended, in success or in an error that the client was told."""
    REFUSED = "refused"
    """Answered by us: the client's fault, or the route's."""
    TRUNCATED = "truncated"
    """The upstream closed early but cleanly; the client was told in its own words."""
    CUT = "cut"
    """The response broke off in its middle: an upstream's reset, or a client that went away."""
    UNANSWERED = "unanswered"
    """The stream ended before any response: a connect failure, a retry, or a client that went away."""
    NOT_OURS = "not_ours"
    """Nothing was to be done: Envoy's own answer, or a request that passed."""
