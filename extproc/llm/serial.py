"""Blocks one at a time, for wire formats that know only one open block.

Parallel tool calls may interleave in the events. The first passes live; a later one waits until the input of the one
before it is a complete JSON object, or it has ended. Text and thinking never wait: they end the calls before them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from .events import BlockEnded, ResponseEvent, ResponseFailed, ToolCallStarted, ToolInputDelta
from .failures import ErrorKind
from .grammar import DELTA_OF, STARTS
from .jsonscan import JsonScanner


class Serializer:
    """Events in, the same events out with blocks that never overlap, numbered anew in the order they come out.

    The events that come in obey the grammar. A call whose block had to be closed and that goes on nevertheless fails
    the response: its input would be wrong, and the client could not see it.
    """

    __slots__ = ("_closed", "_current", "_failed", "_fragments", "_next", "_scanner", "_waiting")

    def __init__(self) -> None:
        self._current: int | None = None
        self._next = 0
        self._waiting: dict[int, list[Any]] = {}  # block -> its events, in the order of the blocks' starts
        self._closed: set[int] = set()  # ended by us, not yet by the upstream
        self._fragments: list[str] = []  # the current call's input: scanned only when another call waits
        self._scanner: JsonScanner | None = None
        self._failed = False

    def feed(self, event: ResponseEvent) -> list[ResponseEvent]:
        """What may be written now."""
        if self._failed:
            return []
        kind = type(event)
        if kind in DELTA_OF or kind is BlockEnded:
            return list(self._on_block(event))
        if kind in STARTS:
            return list(self._on_start(event))
        return [event]

    def _on_start(self, event: Any) -> Iterator[ResponseEvent]:
        if self._current is None:
            yield self._start(event)
        elif type(event) is ToolCallStarted and not self._complete():
            self._waiting[event.block] = [event]
        else:
            yield from self._end_current()
            yield from self._end_waiting()
            yield self._start(event)

    def _on_block(self, event: Any) -> Iterator[ResponseEvent]:
        block = event.block
        if block == self._current:
            if type(event) is BlockEnded:
                yield from self._end_current(by_us=False)
                yield from self._next_waiting()
                return
            yield replace(event, block=self._next - 1)
            if type(event) is ToolInputDelta:
                self._fragments.append(event.fragment)
                if self._waiting and self._complete():
                    yield from self._end_current()
                    yield from self._next_waiting()
        elif block in self._waiting:
            self._waiting[block].append(event)
        elif type(event) is BlockEnded:
            self._closed.discard(block)
        elif not (type(event) is ToolInputDelta and not event.fragment.strip()):
            self._failed = True
            yield ResponseFailed(ErrorKind.API, "the upstream continued a tool call that it had left for another block")

    def _start(self, event: Any) -> ResponseEvent:
        self._current = event.block
        self._fragments.clear()
        self._scanner = None
        self._next += 1
        started: ResponseEvent = replace(event, block=self._next - 1)
        return started

    def _end_current(self, *, by_us: bool = True) -> Iterator[ResponseEvent]:
        if by_us and self._current is not None:
            self._closed.add(self._current)
        self._current = None
        yield BlockEnded(self._next - 1)

    def _next_waiting(self) -> Iterator[ResponseEvent]:
        """The blocks that waited, up to and including the first that is still going on."""
        while self._current is None and self._waiting:
            block = next(iter(self._waiting))
            first, *others = self._waiting.pop(block)
            yield self._start(first)
            for event in others:
                yield from self._on_block(event)

    def _end_waiting(self) -> Iterator[ResponseEvent]:
        while self._waiting:
            yield from self._next_waiting()
            if self._current is not None:
                yield from self._end_current()

    def _complete(self) -> bool:
        """Whether the current call's input is whole."""
        if self._scanner is None:
            self._scanner = JsonScanner()
        pending, self._fragments = self._fragments, []
        for fragment in pending:
            self._scanner.feed(fragment)
        return self._scanner.complete
