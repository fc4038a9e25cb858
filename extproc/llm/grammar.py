"""Which event may follow which. Everything that decides whether a series of events is legal lives here.

==============  ===================================================  ===========
state           event                                                next
==============  ===================================================  ===========
NOT_STARTED     ResponseStarted                                      STARTED
NOT_STARTED     ResponseFailed                                       ENDED
STARTED         a block's start, delta or end                        STARTED
STARTED         ResponseEnded (no block open), ResponseFailed        ENDED
any but ENDED   KeepAlive                                            same
ENDED           nothing
==============  ===================================================  ===========

A block's delta fits the kind of its block, and its block is open; blocks are numbered without a gap.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, Final

from .events import (
    BlockEnded,
    CitationAdded,
    KeepAlive,
    OpaqueDelta,
    OpaqueStarted,
    ResponseEnded,
    ResponseEvent,
    ResponseFailed,
    ResponseStarted,
    TextDelta,
    TextStarted,
    ThinkingDelta,
    ThinkingSealed,
    ThinkingStarted,
    ToolCallStarted,
    ToolInputDelta,
)
from .failures import ProtocolError


class State(Enum):
    __hash__ = object.__hash__  # Enum's own is a Python function, and these are looked up for every event

    NOT_STARTED = auto()
    STARTED = auto()
    ENDED = auto()


STARTS: Final = frozenset({TextStarted, ThinkingStarted, ToolCallStarted, OpaqueStarted})
DELTA_OF: Final[dict[type, type]] = {
    TextDelta: TextStarted,
    CitationAdded: TextStarted,
    ThinkingDelta: ThinkingStarted,
    ThinkingSealed: ThinkingStarted,
    ToolInputDelta: ToolCallStarted,
    OpaqueDelta: OpaqueStarted,
}
TRANSITIONS: Final[dict[State, dict[type, State]]] = {
    State.NOT_STARTED: {
        ResponseStarted: State.STARTED,
        ResponseFailed: State.ENDED,
        KeepAlive: State.NOT_STARTED,
    },
    State.STARTED: {
        **dict.fromkeys(STARTS, State.STARTED),
        **dict.fromkeys(DELTA_OF, State.STARTED),
        BlockEnded: State.STARTED,
        KeepAlive: State.STARTED,
        ResponseEnded: State.ENDED,
        ResponseFailed: State.ENDED,
    },
    State.ENDED: {},
}


class Grammar:
    """The state of one response. ``open`` is the kind of each open block by number, in the order of their starts."""

    __slots__ = ("max_open", "next_block", "open", "state")

    def __init__(self, max_open: int = 128) -> None:
        self.state = State.NOT_STARTED
        self.open: dict[int, type] = {}
        self.next_block = 0
        self.max_open = max_open

    def check(self, event: ResponseEvent) -> ResponseEvent:
        """Advance by *event* and return it; or raise ProtocolError and stay where we were."""
        kind = type(event)
        new_state = TRANSITIONS[self.state].get(kind)
        if new_state is None:
            raise ProtocolError(kind.__name__, f"cannot come when the response has {self.state.name.lower()}")
        needs = DELTA_OF.get(kind)
        told: Any = event  # of its kind, which says whether it has a block
        if needs is not None:
            if self.open.get(told.block) is not needs:
                raise ProtocolError(kind.__name__, f"block {told.block} is not open for it")
        elif kind is BlockEnded:
            if self.open.pop(told.block, None) is None:
                raise ProtocolError(kind.__name__, f"block {told.block} is not open")
        elif kind in STARTS:
            if told.block != self.next_block:
                raise ProtocolError(kind.__name__, f"block {told.block}, expected {self.next_block}")
            if len(self.open) >= self.max_open:
                raise ProtocolError(kind.__name__, f"more than {self.max_open} blocks are open at once")
            self.open[told.block] = kind
            self.next_block += 1
        elif kind is ResponseEnded and self.open:
            raise ProtocolError(kind.__name__, f"blocks {sorted(self.open)} are still open")
        self.state = new_state
        return event
