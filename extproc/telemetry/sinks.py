"""Who is told of exchanges, and how: at their start, at the first content of a stream, and at their end.

A sink is called from the middle of the traffic: it counts or keeps, and returns. One that must wait for something (a
disk, another server) is a ``QueuedSink``: what is told waits in a bounded queue for a thread, and what finds no room
there is counted and dropped. Whatever a sink raises is logged and harms nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from .outcome import Began, Outcome

log = logging.getLogger(__name__)

MAX_QUEUED = 10_000
"""Ended exchanges that wait for a queued sink's thread."""
MAX_BATCH = 500
"""Ended exchanges that its thread is given at once."""


class Sink(Protocol):
    """Is told of every exchange. Must not block. ``started`` comes before all else, ``ended`` after it, each once;
    ``first_content`` at most once, and only of a stream."""

    def started(self, began: Began) -> None: ...

    def first_content(self, began: Began, seconds: float) -> None:
        """*seconds* since the start."""
        ...

    def ended(self, began: Began, outcome: Outcome) -> None: ...


class Sinks:
    """All sinks of a process as one, which never raises."""

    def __init__(self, sinks: Iterable[Sink] = ()) -> None:
        self._sinks = tuple(sinks)

    def started(self, began: Began) -> None:
        for sink in self._sinks:
            try:
                sink.started(began)
            except Exception:
                _failed(sink)

    def first_content(self, began: Began, seconds: float) -> None:
        for sink in self._sinks:
            try:
                sink.first_content(began, seconds)
            except Exception:
                _failed(sink)

    def ended(self, began: Began, outcome: Outcome) -> None:
        for sink in self._sinks:
            try:
                sink.ended(began, outcome)
            except Exception:
                _failed(sink)


def _failed(sink: Sink) -> None:
    log.exception("a bug in %s", type(sink).__name__)


Entry = tuple[Began, Outcome]


class QueuedSink:
    """Hands ended exchanges to *write*, in batches, on a thread of its own, which may block there. *name* tells it
    from others in the log and in the metrics. ``close`` once."""

    def __init__(self, name: str, write: Callable[[Sequence[Entry]], None], bound: int = MAX_QUEUED) -> None:
        self.name = name
        self.dropped = 0
        """Exchanges that found no room, or that *write* failed with."""
        self._write = write
        self._bound = bound
        self._queue: deque[Entry] = deque()
        self._change = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=f"sink-{name}", daemon=True)
        self._thread.start()

    def started(self, began: Began) -> None:
        """Of no interest: what is written is written at the end."""

    def first_content(self, began: Began, seconds: float) -> None:
        """The outcome says it too."""

    def ended(self, began: Began, outcome: Outcome) -> None:
        with self._change:
            if len(self._queue) >= self._bound:
                self.dropped += 1
                return
            self._queue.append((began, outcome))
            self._change.notify()

    def close(self, seconds: float = 5.0) -> None:
        """Write what waits, for so long at most; what is left then is dropped."""
        until = time.monotonic() + seconds
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join(max(0.0, until - time.monotonic()))
        with self._change:
            self.dropped += len(self._queue)
            self._queue.clear()

    def _work(self) -> None:
        while batch := self._next():
            try:
                self._write(batch)
            except Exception:
                log.exception("the sink %s could not write", self.name)
                with self._change:
                    self.dropped += len(batch)

    def _next(self) -> list[Entry]:
        """What waits, up to a batch; waits for it. Empty when there is nothing left and nothing more to come."""
        with self._change:
            while not self._queue and not self._closing:
                self._change.wait()
            return [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
