"""How an exchange goes: how far it has come, and what is known of it by then."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from msgspec.structs import replace

from ..credentials.masking import NOTHING, Mask
from ..llm.events import (
    NO_USAGE,
    OpaqueStarted,
    ResponseEnded,
    ResponseEvent,
    ResponseFailed,
    ResponseStarted,
    TextDelta,
    ThinkingDelta,
    ThinkingSealed,
    ToolCallStarted,
    ToolInputDelta,
    Usage,
)
from ..llm.losses import LossReport

_CONTENT: Final = frozenset({TextDelta, ThinkingDelta, ThinkingSealed, ToolCallStarted, ToolInputDelta, OpaqueStarted})


class Progress(Enum):
    """How far an exchange has come."""

    NEW = "new"
    ANSWERED = "answered"
    """By us: no upstream is asked."""
    SENT = "sent"
    """The upstream has the request."""
    RESPONDING = "responding"
    """The upstream's head has come."""
    ENDED = "ended"
    """The response has ended well."""
    FAILED = "failed"
    """The response has ended in an error, of the upstream's or about it."""
    ABORTED = "aborted"
    """The same, of our own doing: what still comes is not looked at."""
    CUT = "cut"
    """What the client has is not whole and cannot be made so: break the transfer, that it never looks complete."""
    CANCELLED = "cancelled"
    """The exchange was gone before the response's end: a reset, or a client that went away."""


_OVER: Final = frozenset({Progress.ENDED, Progress.FAILED, Progress.ABORTED, Progress.CUT})
"""The response has ended, one way or another."""


class OutOfOrder(Exception):
    """A ``Translation`` was asked for what cannot come now: the caller's mistake."""


class Course:
    """Of one exchange. *clock* tells Unix seconds."""

    def __init__(self, clock: Callable[[], float] | None) -> None:
        self.state = Progress.NEW
        self.losses = LossReport()
        self.usage: Usage = NO_USAGE
        self.model_asked = ""
        self.model_sent = ""
        self.model_answered = ""
        self.first_content_at: float | None = None
        """When the first content came, by *clock*: text, thinking, or a tool's call."""
        self.tool_calls = 0
        """How many calls of the client's tools the answer holds so far."""
        self.on_text: Callable[[str], None] | None = None
        """Told of each piece of the answer's text."""
        self.on_event: Callable[[ResponseEvent], None] | None = None
        """Told of each event of the answer."""
        self._clock = clock
        self._end: ResponseEnded | ResponseFailed | None = None
        self._mask: Mask = NOTHING
        """Hides what no client and no log is to see."""

    @property
    def model(self) -> str:
        """The model as sent, then as answered."""
        return self.model_answered or self.model_sent

    @property
    def ended(self) -> ResponseEnded | None:
        """How the response ended, if it ended well."""
        end = self._end
        return end if type(end) is ResponseEnded else None

    @property
    def failed(self) -> ResponseFailed | None:
        """The error that the response ended in."""
        end = self._end
        return end if type(end) is ResponseFailed else None

    @property
    def over(self) -> bool:
        """The response has ended, one way or another."""
        return self._end is not None

    @property
    def cut(self) -> bool:
        return self.state is Progress.CUT

    @property
    def cancelled(self) -> bool:
        return self.state is Progress.CANCELLED

    @property
    def truncated(self) -> bool:
        """The upstream closed before the response had ended."""
        return self.failed is not None and self.failed.code == "stream_truncated"

    def cancel(self) -> None:
        """The exchange ended without the response's end: a reset, or a client that went away."""
        if self.state not in _OVER:
            self.state = Progress.CANCELLED

    def _expect(self, state: Progress) -> None:
        if self.state is not state:
            raise OutOfOrder(f"the exchange is {self.state.value}, not {state.value}")

    def note(self, event: ResponseEvent) -> None:
        """Keep what the exchange's record needs of *event*."""
        if self.on_event is not None:
            self.on_event(event)
        kind = type(event)
        if kind is ResponseStarted:
            self.model_answered = event.model  # type: ignore[union-attr]
            self.usage = event.usage  # type: ignore[union-attr]
        elif kind is ResponseEnded:
            self._end, self.state = event, Progress.ENDED  # type: ignore[assignment]
            self.usage = event.usage  # type: ignore[union-attr]
        elif kind is ResponseFailed:
            self._end, self.state = self._masked(event), Progress.FAILED  # type: ignore[arg-type]
        elif kind in _CONTENT:
            if self.first_content_at is None and self._clock is not None:
                self.first_content_at = self._clock()
            if kind is ToolCallStarted:
                self.tool_calls += 1
            elif kind is TextDelta and self.on_text is not None:
                self.on_text(event.text)  # type: ignore[union-attr]

    def _masked(self, failed: ResponseFailed) -> ResponseFailed:
        code = failed.code and self._mask.text(failed.code)
        return replace(failed, message=self._mask.text(failed.message), code=code)
