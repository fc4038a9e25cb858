"""The last exchanges of a process, and those that go on, for whoever looks at it now: the admin port shows them."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import msgspec

from ..frozen import Frozen
from .outcome import Began, Ending, Outcome
from .record import milliseconds, record, stamp

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Of the records that one look is given, the newest first."""
MAX_OPEN = 256
"""Exchanges that go on, of which one look is told: those that began last."""

_encode = msgspec.json.Encoder().encode
_Kept = tuple[int, float, Began, Outcome]


class Look(Frozen):
    """What is asked of the last exchanges."""

    since: float = 0.0
    """Those alone that ended later: Unix seconds."""
    cursor: str = ""
    """Those alone that had not been told when this was the answer's ``cursor``."""
    bodies: bool = True
    """With what the routes have logged of the bodies."""


EVERYTHING = Look()

Telling = Callable[[], bytes]
"""What makes JSON of what was there, and takes a while: for another thread."""


class Ring:
    """A sink. Keeps the last *most* exchanges that were ours, and *max_bytes* of their bodies. Is told of exchanges on
    the server's loop; what ``look`` returns may be called on another thread. *process* tells its exchanges from those
    of other processes."""

    def __init__(
        self, most: int, max_bytes: int, now: Callable[[], float] = time.time, process: int | None = None
    ) -> None:
        self._most = most
        self._max_bytes = max_bytes
        self._now = now
        self._process = os.getpid() if process is None else process
        self._ended: deque[_Kept] = deque()
        self._open: dict[int, tuple[Began, float | None]] = {}
        self._bytes = 0
        self._count = 0
        self._changes = 0

    def started(self, began: Began) -> None:
        # It must stay open as long as we know it by its id: it is held here.
        self._open[id(began)] = (began, None)
        self._changes += 1

    def first_content(self, began: Began, seconds: float) -> None:
        self._open[id(began)] = (began, seconds)
        self._changes += 1

    def ended(self, began: Began, outcome: Outcome) -> None:
        self._open.pop(id(began), None)
        self._changes += 1
        if outcome.ending is Ending.PASSED:
            return
        self._count += 1
        self._ended.append((self._count, self._now(), began, outcome))
        self._bytes += outcome.payload_bytes
        while len(self._ended) > self._most or self._bytes > self._max_bytes:
            _, _, _, oldest = self._ended.popleft()
            self._bytes -= oldest.payload_bytes

    @property
    def cursor(self) -> str:
        """Where it is now: another one once anything has happened."""
        return f"{self._process}:{self._count}:{self._changes}"

    def look(self, asked: Look = EVERYTHING) -> Telling:
        """What is there now: ``{"exchanges": [...], "left_out", "open": [...], "open_count", "cursor"}``. Those that
        ended stand the oldest first, each a record with ``id``, ``process``, ``number`` and ``ended_at``; of more than
        an answer may hold the oldest are left out, and counted."""
        after = _number_in(asked.cursor, self._process)
        # From the end: who looks again and again wants the last few.
        ended: list[_Kept] = []
        for kept in reversed(self._ended):
            if kept[0] <= after:
                break
            if kept[1] > asked.since:
                ended.append(kept)
        going = list(islice(reversed(self._open.values()), MAX_OPEN))
        about = {"open_count": len(self._open), "cursor": self.cursor}
        now, process, bodies = self._now(), self._process, asked.bodies
        return lambda: _told(ended, going, about, now, process, bodies)

    def one(self, number: int) -> Callable[[], dict[str, Any]] | None:
        """What tells all that is kept of that exchange, with its ``course`` where there are bodies; ``None`` if it has
        left. For another thread, too."""
        found = next((kept for kept in reversed(self._ended) if kept[0] == number), None)
        if found is None:
            return None
        process = self._process
        return lambda: _whole(found, process)


def _number_in(cursor: str, process: int) -> int:
    """The last exchange of *process* that was told by then; nought if none was."""
    for place in cursor.split(","):
        pid, _, rest = place.partition(":")
        number = rest.partition(":")[0]
        if pid == str(process) and number.isdecimal():
            return int(number)
    return 0


def _named(kept: _Kept, process: int, bodies: bool) -> dict[str, Any]:
    number, at, began, outcome = kept
    who = {"id": f"{process}-{number}", "process": process, "number": number, "ended_at": at}
    return {**who, **record(began, outcome, bodies=bodies), "has_payloads": outcome.payloads is not None}


def _whole(kept: _Kept, process: int) -> dict[str, Any]:
    made = _named(kept, process, True)
    payloads = kept[3].payloads
    return made if payloads is None else {**made, "course": payloads.course()}


def _told(
    ended: list[_Kept],
    going: Iterable[tuple[Began, float | None]],
    about: dict[str, Any],
    now: float,
    process: int,
    bodies: bool,
) -> bytes:
    made: list[msgspec.Raw] = []
    room = MAX_ANSWER_BYTES
    for kept in ended:
        data = _encode(_named(kept, process, bodies))
        if len(data) > MAX_ANSWER_BYTES:
            # Of one that finds room in no answer the others are not to suffer.
            continue
        room -= len(data)
        if room < 0:
            break
        made.append(msgspec.Raw(data))
    made.reverse()
    opened = [_going(began, seconds, now) for began, seconds in going]
    return _encode({"exchanges": made, "left_out": len(ended) - len(made), "open": opened, **about})


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
