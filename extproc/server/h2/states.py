"""The life of a stream, and of the connection, as tables (RFC 9113, section 5.1, as a server without push lives it).

Read a line as a sentence: "when OPEN and RECV_END comes, it is HALF_CLOSED_REMOTE". Where a fault stands in place of a
state, the peer may not do that, and this is the answer. PRIORITY may come at any time and changes nothing.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from .frames import Code, ConnectionFault, StreamFault


class StreamState(IntEnum):
    """Where a stream stands. The last five are all the RFC's "closed"; how it was closed decides what may follow."""

    IDLE = 0
    OPEN = 1
    HALF_CLOSED_REMOTE = 2
    HALF_CLOSED_LOCAL = 3
    ENDED = 4
    RESET_BY_PEER = 5
    RESET_BY_US = 6
    FORGOTTEN = 7
    NOT_TAKEN = 8


class Step(IntEnum):
    """What can happen to a stream. A frame with END_STREAM is two steps: the frame, then the end."""

    RECV_HEADERS = 0
    RECV_DATA = 1
    RECV_END = 2
    RECV_RESET = 3
    RECV_WINDOW = 4
    SEND_HEADERS = 5
    SEND_DATA = 6
    SEND_END = 7
    SEND_RESET = 8


class Fault(NamedTuple):
    """What the peer gets for a step that it may not take."""

    of: type[ConnectionFault] | type[StreamFault]
    code: Code


WRONG_ID: Final = Fault(ConnectionFault, Code.PROTOCOL_ERROR)
NOT_YET: Final = Fault(ConnectionFault, Code.PROTOCOL_ERROR)
AFTER_ITS_END: Final = Fault(StreamFault, Code.STREAM_CLOSED)
LONG_AFTER_ITS_END: Final = Fault(ConnectionFault, Code.STREAM_CLOSED)

STREAM: Final[dict[StreamState, dict[Step, StreamState | Fault]]] = {
    StreamState.IDLE: {
        Step.RECV_HEADERS: StreamState.OPEN,
        Step.RECV_DATA: NOT_YET,
        Step.RECV_RESET: NOT_YET,
        Step.RECV_WINDOW: NOT_YET,
    },
    StreamState.OPEN: {
        Step.RECV_HEADERS: StreamState.OPEN,
        Step.RECV_DATA: StreamState.OPEN,
        Step.RECV_END: StreamState.HALF_CLOSED_REMOTE,
        Step.RECV_RESET: StreamState.RESET_BY_PEER,
        Step.RECV_WINDOW: StreamState.OPEN,
        Step.SEND_HEADERS: StreamState.OPEN,
        Step.SEND_DATA: StreamState.OPEN,
        Step.SEND_END: StreamState.HALF_CLOSED_LOCAL,
        Step.SEND_RESET: StreamState.RESET_BY_US,
    },
    StreamState.HALF_CLOSED_REMOTE: {
        Step.RECV_HEADERS: AFTER_ITS_END,
        Step.RECV_DATA: AFTER_ITS_END,
        Step.RECV_RESET: StreamState.RESET_BY_PEER,
        Step.RECV_WINDOW: StreamState.HALF_CLOSED_REMOTE,
        Step.SEND_HEADERS: StreamState.HALF_CLOSED_REMOTE,
        Step.SEND_DATA: StreamState.HALF_CLOSED_REMOTE,
        Step.SEND_END: StreamState.ENDED,
        Step.SEND_RESET: StreamState.RESET_BY_US,
    },
    # We answer a call early only to end it: SEND_RESET follows at once, and tells the peer to stop sending (8.1).
    StreamState.HALF_CLOSED_LOCAL: {
        Step.SEND_RESET: StreamState.RESET_BY_US,
    },
    # The peer knew that it had ended, so nothing but these two can have been on its way.
    StreamState.ENDED: {
        Step.RECV_HEADERS: LONG_AFTER_ITS_END,
        Step.RECV_DATA: LONG_AFTER_ITS_END,
        Step.RECV_RESET: StreamState.ENDED,
        Step.RECV_WINDOW: StreamState.ENDED,
    },
    StreamState.RESET_BY_PEER: {
        Step.RECV_HEADERS: AFTER_ITS_END,
        Step.RECV_DATA: AFTER_ITS_END,
        Step.RECV_RESET: StreamState.RESET_BY_PEER,
        Step.RECV_WINDOW: StreamState.RESET_BY_PEER,
    },
    # The peer may not know yet: whatever was on its way is discarded.
    StreamState.RESET_BY_US: {
        Step.RECV_HEADERS: StreamState.RESET_BY_US,
        Step.RECV_DATA: StreamState.RESET_BY_US,
        Step.RECV_RESET: StreamState.RESET_BY_US,
        Step.RECV_WINDOW: StreamState.RESET_BY_US,
    },
    # Closed so long ago that we no longer know how, or skipped by the peer's numbering (5.1.1).
    StreamState.FORGOTTEN: {
        Step.RECV_HEADERS: WRONG_ID,
        Step.RECV_DATA: AFTER_ITS_END,
        Step.RECV_RESET: StreamState.FORGOTTEN,
        Step.RECV_WINDOW: StreamState.FORGOTTEN,
    },
    # Above the last stream that our GOAWAY promised to answer (6.8).
    StreamState.NOT_TAKEN: {
        Step.RECV_HEADERS: StreamState.NOT_TAKEN,
        Step.RECV_DATA: StreamState.NOT_TAKEN,
        Step.RECV_RESET: StreamState.NOT_TAKEN,
        Step.RECV_WINDOW: StreamState.NOT_TAKEN,
    },
}

LIVE: Final = frozenset({StreamState.OPEN, StreamState.HALF_CLOSED_REMOTE, StreamState.HALF_CLOSED_LOCAL})


def after(state: StreamState, step: Step) -> StreamState:
    """The state that follows. Raises the fault that the table names; KeyError if we ourselves take a wrong step."""
    result = STREAM[state][step]
    if isinstance(result, Fault):
        raise result.of(result.code, f"{step.name} when the stream is {state.name}")
    return result


class ConnectionPhase(IntEnum):
    """Where the connection stands."""

    PREFACE = 0
    SETTINGS = 1
    OPEN = 2
    DRAINING = 3
    LEAVING = 4
    FAILED = 5


class ConnectionStep(IntEnum):
    """What can happen to the connection."""

    RECV_PREFACE = 0
    RECV_SETTINGS = 1
    DRAIN = 2
    DRAIN_SEEN = 3
    FAULT = 4


# DRAINING: the first GOAWAY is out, streams that were on their way are still taken (6.8). LEAVING: the second one named
# the last stream; no other is taken. FAILED: nothing is read any more.
CONNECTION: Final[dict[ConnectionPhase, dict[ConnectionStep, ConnectionPhase]]] = {
    ConnectionPhase.PREFACE: {
        ConnectionStep.RECV_PREFACE: ConnectionPhase.SETTINGS,
        ConnectionStep.DRAIN: ConnectionPhase.FAILED,
        ConnectionStep.FAULT: ConnectionPhase.FAILED,
    },
    ConnectionPhase.SETTINGS: {
        ConnectionStep.RECV_SETTINGS: ConnectionPhase.OPEN,
        ConnectionStep.DRAIN: ConnectionPhase.FAILED,
        ConnectionStep.FAULT: ConnectionPhase.FAILED,
    },
    ConnectionPhase.OPEN: {
        ConnectionStep.RECV_SETTINGS: ConnectionPhase.OPEN,
        ConnectionStep.DRAIN: ConnectionPhase.DRAINING,
        ConnectionStep.FAULT: ConnectionPhase.FAILED,
    },
    ConnectionPhase.DRAINING: {
        ConnectionStep.RECV_SETTINGS: ConnectionPhase.DRAINING,
        ConnectionStep.DRAIN: ConnectionPhase.DRAINING,
        ConnectionStep.DRAIN_SEEN: ConnectionPhase.LEAVING,
        ConnectionStep.FAULT: ConnectionPhase.FAILED,
    },
    ConnectionPhase.LEAVING: {
        ConnectionStep.RECV_SETTINGS: ConnectionPhase.LEAVING,
        ConnectionStep.DRAIN: ConnectionPhase.LEAVING,
        ConnectionStep.DRAIN_SEEN: ConnectionPhase.LEAVING,
        ConnectionStep.FAULT: ConnectionPhase.FAILED,
    },
    ConnectionPhase.FAILED: {
        ConnectionStep.DRAIN: ConnectionPhase.FAILED,
        ConnectionStep.FAULT: ConnectionPhase.FAILED,
    },
}
