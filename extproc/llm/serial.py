"""Blocks one at a time, for wire formats that know only one open block.

Parallel tool calls may interleave in the events, and text or thinking may come between the fragments of a call. The
first block passes live. What starts while a call's input is no complete JSON object waits until it is, or until the
call has ended; a call waits for any block before it. Text and thinking end other text and thinking. How much may wait
is bounded by whoever reads the stream (``kept.py``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from .events import BlockEnded, ResponseEvent, ResponseFailed, TextDelta, ToolCallStarted, ToolInputDelta
from .failures import ErrorKind
from .grammar import DELTA_OF, STARTS
from .jsonscan import JsonScanner


class Serializer:
    """Events in, the same events out with blocks that never overlap, in the order of their starts: their numbers stay.

    The events that come in obey the grammar. A block that had to be closed and that goes on nevertheless fails the
    response: its content would be wrong, and the client could not see it.
    """

    __slots__ = ("_current", "_fragments", "_is_call", "_scanner", "_waiting", "failed")

    def __init__(self) -> None:
        self._current: int | None = None
        self._is_call = False  # the current block is one
        self._waiting: OrderedDict[int, list[Any]] = OrderedDict()
        """By its block, in the order of the blocks' starts, the events of each."""
        self._fragments: list[str] = []  # the current call's input: scanned only when another call waits
        self._scanner: JsonScanner | None = None  # None: nothing but its end tells that the block is complete
        self.failed: ResponseFailed | None = None  # said by us, unknown to whoever feeds the events

    def feed(self, event: ResponseEvent) -> list[ResponseEvent]:
        """What may be written now."""
        if self.failed:
            return []
        kind = type(event)
        if kind is TextDelta and event.block == self._current:  # type: ignore[union-attr]
            return [event]
        if kind in DELTA_OF or kind is BlockEnded:
            written = list(self._on_block(event))
        elif kind in STARTS:
            written = list(self._on_start(event))
        else:
            return [event]
        if self.failed:
            # It may have failed in the midst of events that waited: nothing follows a failure.
            end = next(n for n, each in enumerate(written, 1) if type(each) is ResponseFailed)
            return written[:end]
        return written

    def _on_start(self, event: Any) -> Iterator[ResponseEvent]:
        if type(event) is ToolCallStarted and self._current is not None and not self._complete():
            self._wait(event)
            return
        # What is no call ends all before it, but for calls whose input is not whole.
        while self._current is not None and not (self._is_call and not self._complete()):
            yield self._end_current()
            yield from self._next_waiting()
        if self._current is None:
            yield self._start(event)
        else:
            self._wait(event)

    def _on_block(self, event: Any) -> Iterator[ResponseEvent]:
        block = event.block
        if block == self._current:
            if type(event) is not BlockEnded:
                yield event
                if not self._completed_by(event):
                    return
            yield self._end_current()
            yield from self._next_waiting()
        elif block in self._waiting:
            self._wait(event)
        else:
            yield from self._behind(event)

    def _behind(self, event: Any) -> Iterator[ResponseEvent]:
        """What comes of a block that is over here."""
        if type(event) is not BlockEnded and not (type(event) is ToolInputDelta and not event.fragment.strip()):
            yield self._fail("the upstream continued a block that it had left for another one")

    def _wait(self, event: Any) -> None:
        self._waiting.setdefault(event.block, []).append(event)

    def _fail(self, message: str) -> ResponseFailed:
        self.failed = ResponseFailed(ErrorKind.API, message, 502, "upstream_error")
        self._waiting.clear()
        return self.failed

    def _start(self, event: Any) -> ResponseEvent:
        self._current = event.block
        self._is_call = type(event) is ToolCallStarted
        self._fragments.clear()
        # The input of a free-form tool is any text: that it looks like complete JSON says nothing.
        is_function = type(event) is ToolCallStarted and event.kind == "function"
        self._scanner = JsonScanner() if is_function else None
        started: ResponseEvent = event
        return started

    def _end_current(self) -> ResponseEvent:
        assert self._current is not None
        ended, self._current = BlockEnded(self._current), None
        return ended

    def _next_waiting(self) -> Iterator[ResponseEvent]:
        """The blocks that waited, up to and including the first that is still going on."""
        # In one loop: more blocks may have waited than calls of functions can be nested.
        while not self._is_open() and self._waiting:
            _, (first, *others) = self._waiting.popitem(last=False)
            yield self._start(first)
            for event in others:
                if not self._is_open():
                    yield from self._behind(event)
                    continue
                if type(event) is not BlockEnded:
                    yield event
                    if not self._completed_by(event):
                        continue
                yield self._end_current()

    def _is_open(self) -> bool:
        """Asked by name: to the compiler, what was ``None`` at a loop's head stays so, whatever was started in it."""
        return self._current is not None

    def _completed_by(self, event: Any) -> bool:
        """Whether the current block, of which *event* is a part, is a call that is whole, and others wait."""
        if type(event) is not ToolInputDelta:
            return False
        self._fragments.append(event.fragment)
        return bool(self._waiting) and self._complete()

    def _complete(self) -> bool:
        """Whether the current block is a call whose input is whole."""
        if self._scanner is None:
            return False
        pending, self._fragments = self._fragments, []
        for fragment in pending:
            self._scanner.feed(fragment)
        return self._scanner.complete
