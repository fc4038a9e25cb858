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
MAX_QUEUED_BYTES = 32 * 1024 * 1024
"""Of their payloads."""
MAX_BATCH = 500
"""Ended exchanges that its thread is given at once."""
SILENT_SECONDS = 60.0
"""After a failure of a queued sink was logged, before another one is."""


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
        self.become(sinks)

    def become(self, sinks: Iterable[Sink]) -> None:
        """Tell *sinks* from now on, also of what goes on: no exchange's end falls between two of them."""
        self._sinks = tuple(sinks)
        self.any = bool(self._sinks)
        """Somebody is told."""

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


class Full(Exception):
    """A writer kept a part of what it was given: all but *lost* exchanges."""

    def __init__(self, message: str, lost: int) -> None:
        super().__init__(message)
        self.lost = lost


class QueuedSink:
    """Hands ended exchanges to *write*, in batches, on a thread of its own, which may block there. *name* tells it
    from others in the log and in the metrics; of those that *wants* says no to it hears nothing. *finish* is called on
    that thread when nothing more is to be written. ``close`` once."""

    def __init__(
        self,
        name: str,
        write: Callable[[Sequence[Entry]], None],
        bound: int = MAX_QUEUED,
        *,
        max_bytes: int = MAX_QUEUED_BYTES,
        batch: int = MAX_BATCH,
        wants: Callable[[Outcome], bool] | None = None,
        finish: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.dropped = 0
        """Exchanges that found no room, or that *write* failed with."""
        self._write = write
        self._bound = bound
        self._max_bytes = max_bytes
        self._batch = batch
        self._wants = wants
        self._finish = finish
        self._silent_until = 0.0
        self._bytes = 0
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
        if self._wants is not None and not self._wants(outcome):
            return
        size = outcome.payload_bytes
        with self._change:
            if self._closing or len(self._queue) >= self._bound or self._bytes + size > self._max_bytes:
                self.dropped += 1
                return
            self._queue.append((began, outcome))
            self._bytes += size
            self._change.notify()

    def count_on(self, dropped: int) -> None:
        """Have so many more be dropped: those of a sink in whose place this one is. A counter that fell would look like
        another process."""
        with self._change:
            self.dropped += dropped

    @property
    def waiting(self) -> int:
        """Exchanges that wait for its thread."""
        return len(self._queue)

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
            except Exception as error:
                self._failed(error, len(batch))
        if self._finish is not None:
            self._finish()

    def _failed(self, error: Exception, count: int) -> None:
        lost = error.lost if isinstance(error, Full) else count
        with self._change:
            self.dropped += lost
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + SILENT_SECONDS
            bug = None if isinstance(error, (OSError, Full)) else error
            log.error("the sink %s lost %d exchanges: %s", self.name, lost, error, exc_info=bug)

    def _next(self) -> list[Entry]:
        """What waits, up to a batch; waits for it. Empty when there is nothing left and nothing more to come."""
        with self._change:
            while not self._queue and not self._closing:
                self._change.wait()
            batch = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
            self._bytes -= sum(outcome.payload_bytes for _, outcome in batch)
            return batch
