"""The last exchanges of a process, and those that go on, for whoever looks at it now: the admin port shows them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from .outcome import Began, Ending, Outcome
from .record import milliseconds, record, stamp

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Of the records that one look is given, the newest first."""

_encode = msgspec.json.Encoder().encode
_Kept = tuple[int, float, Began, Outcome]


class Ring:
    """A sink. Keeps the last *most* exchanges that were ours, and *max_bytes* of their bodies. Is told of exchanges on
    the server's loop; what ``look`` returns may be called on another thread."""

    def __init__(self, most: int, max_bytes: int, now: Callable[[], float] = time.time) -> None:
        self._most = most
        self._max_bytes = max_bytes
        self._now = now
        self._ended: deque[_Kept] = deque()
        self._open: dict[int, tuple[Began, float | None]] = {}
        self._bytes = 0
        self._count = 0

    def started(self, began: Began) -> None:
        # It must stay open as long as we know it by its id: it is held here.
        self._open[id(began)] = (began, None)

    def first_content(self, began: Began, seconds: float) -> None:
        self._open[id(began)] = (began, seconds)

    def ended(self, began: Began, outcome: Outcome) -> None:
        self._open.pop(id(began), None)
        if outcome.ending is Ending.PASSED:
            return
        self._count += 1
        self._ended.append((self._count, self._now(), began, outcome))
        self._bytes += outcome.payload_bytes
        while len(self._ended) > self._most or self._bytes > self._max_bytes:
            _, _, _, oldest = self._ended.popleft()
            self._bytes -= oldest.payload_bytes

    def look(self, since: float = 0.0) -> Callable[[], bytes]:
        """What makes JSON of what is there now: ``{"exchanges": [...], "open": [...]}``. Of the ended ones those that
        ended after *since* (Unix seconds), the oldest first, each a record with ``number`` and ``ended_at``; the newest
        alone where all would be too many bytes. It takes a while, and is for another thread."""
        ended = [kept for kept in self._ended if kept[1] > since]
        going = list(self._open.values())
        now = self._now()
        return lambda: _told(ended, going, now)


def _told(ended: list[_Kept], going: Iterable[tuple[Began, float | None]], now: float) -> bytes:
    made: list[msgspec.Raw] = []
    room = MAX_ANSWER_BYTES
    for number, at, began, outcome in reversed(ended):
        data = _encode({"number": number, "ended_at": at, **record(began, outcome)})
        room -= len(data)
        if room < 0:
            break
        made.append(msgspec.Raw(data))
    made.reverse()
    return _encode({"exchanges": made, "open": [_going(began, seconds, now) for began, seconds in going]})


def _going(began: Began, first_content: float | None, now: float) -> dict[str, Any]:
    return {
        "time": stamp(began.at),
        "request_id": began.request_id,
        "role": began.role,
        "method": began.method,
        "path": began.path,
        "client": began.client,
        "duration_ms": milliseconds(max(0.0, now - began.at)),
        "first_token_ms": milliseconds(first_content),
    }
