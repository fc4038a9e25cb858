"""How a serving process uses memory: set once, when all that stays is loaded; and what it may hold at once."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import mmap
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from ..llm.weight import NO_BOUND

KEPT_BYTES = 256 * 1024 * 1024
"""Freed memory that the C library keeps for the next large message; of more than that it gives all back. A request of
20 MB is there eight times at once: in its message, as a body, decoded, translated, encoded, in the answer and more."""

UNMAPPED_BYTES = 32 * 1024 * 1024
"""The largest buffer that can be kept: glibc's greatest for M_MMAP_THRESHOLD."""

KEPT_SECONDS = 60.0
"""For so long at most: one large message a day must not cost its memory all day."""

_HELD: Final = 0
_KEPT: Final = 1
_CARRIED: Final = 2
_ROW: Final = 3
"""Numbers in a process's row of a ledger."""
_LEDGER_BYTES: Final = 2 * _ROW * 8

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def settle() -> None:
    """Call once before serving, in each process."""
    # For glibc, which gives every freed buffer of a large message back to the kernel and faults the next one in, page
    # by page: more than half of what carrying a large message costs, and it holds up all other streams.
    # Other C libraries have no mallopt, or ignore it.
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, UNMAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    # What was loaded stays: it is not worth looking through for cycles again and again.
    gc.collect()
    gc.freeze()


def keep_less() -> None:
    """Call once another process takes the large messages: of what those took here nothing is kept for the next."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, UNMAPPED_BYTES)
        library.malloc_trim(0)


async def give_back() -> None:
    """Give what is kept back to the kernel, every KEPT_SECONDS. Runs until it is cancelled."""
    with contextlib.suppress(OSError, AttributeError):
        trim = ctypes.CDLL(None).malloc_trim
        while True:
            await asyncio.sleep(KEPT_SECONDS)
            trim(0)


class Waiter(Protocol):
    """Something that waits until the process has room for it."""

    def admit(self) -> bool:
        """Take the room if there is enough now, or need none any more. False: go on waiting."""
        ...


class Silent(Protocol):
    """A call on which nothing has come."""

    def give_way(self) -> None:
        """End, for one that wants more."""
        ...


class Ledger:
    """What two processes hold, each in a row of its own, in memory that both see."""

    def __init__(self, fd: int, row: int) -> None:
        """*fd*: of ``shared_file``. *row*: ours, 0 or 1."""
        numbers = memoryview(mmap.mmap(fd, _LEDGER_BYTES)).cast("q")
        rows = numbers[:_ROW], numbers[_ROW:]
        self.own, self.others = rows[row], rows[1 - row]

    @staticmethod
    def shared_file() -> int:
        """A file of its length that nobody else can open: its descriptor."""
        with tempfile.TemporaryFile() if not hasattr(os, "memfd_create") else open(os.memfd_create("held"), "wb+") as f:
            os.ftruncate(f.fileno(), _LEDGER_BYTES)
            return os.dup(f.fileno())


class Budget:
    """What a process holds for others, in bytes. One for all connections: bounds for each would add up.

    ``held``, of *most*: messages that are not whole yet, messages that wait for something, answers that wait to be
    sent. ``kept``, of *most_kept*: what exchanges keep of what they have read, while they wait for something and while
    their answer comes, and calls to other services; what is left of it is what the next body may take while it is
    translated, one at a time. ``carried``, of *most_carried*: what Envoy holds of long bodies for them.
    """

    def __init__(self, most: int, most_kept: int = NO_BOUND, most_carried: int = NO_BOUND) -> None:
        self.ledger: Ledger | None = None
        """Where what another process holds counts too."""
        self.most = most
        self.held = 0
        self.most_kept = most_kept
        self.kept = 0
        self.most_carried = most_carried
        self.carried = 0
        self.waiting: OrderedDict[Waiter, None] = OrderedDict()
        """Who waits for room, first come first served."""
        self.silent: OrderedDict[Silent, None] = OrderedDict()
        """Calls on which nothing has come, the oldest first."""
        self.on_room: Callable[[], None] | None = None
        """Called when there is more room and someone waits for it. It is to call ``admit`` soon."""

    def share(self, ledger: Ledger) -> None:
        """Count what another process holds, and tell it what this one does."""
        self.ledger = ledger
        for number, held in enumerate((self.held, self.kept, self.carried)):
            ledger.own[number] = held

    def _elsewhere(self, what: int) -> int:
        return 0 if self.ledger is None else self.ledger.others[what]

    def has_room(self, size: int) -> bool:
        return self.held + self._elsewhere(_HELD) + size <= self.most

    @property
    def exceeded(self) -> bool:
        return self.held + self._elsewhere(_HELD) > self.most

    def change(self, by: int) -> None:
        """Hold *by* more, or less."""
        self.held += by
        if self.ledger is not None:
            self.ledger.own[_HELD] = self.held
        if by < 0 and self.waiting and self.on_room is not None:
            self.on_room()

    @property
    def room(self) -> int:
        """Bytes that may be kept beside what is."""
        return max(0, self.most_kept - self.kept - self._elsewhere(_KEPT))

    def keep(self, by: int) -> bool:
        """Keep *by* more, or less. Whether there is room for more."""
        self.kept += by
        if self.ledger is not None:
            self.ledger.own[_KEPT] = self.kept
        return by <= 0 or self.kept + self._elsewhere(_KEPT) <= self.most_kept

    def can_carry(self, more: int) -> bool:
        """Whether Envoy may hold so much more."""
        return self.carried + self._elsewhere(_CARRIED) + more <= self.most_carried

    def carry(self, by: int) -> bool:
        """Have Envoy hold *by* more, or less. Whether there is room for more."""
        self.carried += by
        if self.ledger is not None:
            self.ledger.own[_CARRIED] = self.carried
        return by <= 0 or self.carried + self._elsewhere(_CARRIED) <= self.most_carried

    def admit(self) -> bool:
        """Let those in for whom there is room, as long as the first of them fits. Whether any was."""
        any_admitted = False
        while self.waiting:
            first = next(iter(self.waiting))
            if not first.admit():
                break
            self.waiting.pop(first, None)
            any_admitted = True
        return any_admitted
