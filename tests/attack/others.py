"""Somebody else, in a process of their own: among the threads of an attack they would wait for Python's lock, and not
for what is attacked."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

PAUSE = 0.02
"""Seconds between two of their exchanges."""
WARM = 5
"""Exchanges before those that count."""

Asking = Callable[[Connection], Iterator[bool]]
"""One small exchange after another: whether each was answered. May first say and hear something on the line."""


class Asked(NamedTuple):
    """One exchange."""

    ended: float
    took: float
    is_good: bool


class Others:
    """Runs *asking*, a function of a module, until ``seen`` is asked for."""

    def __init__(self, asking: Asking) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self._process = context.Process(target=_ask, args=(asking, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def warm(self) -> None:
        """Wait until what is asked has answered a few times."""
        self.line.recv()

    def seen(self, since: float) -> list[Asked]:
        """What they saw: exchanges that ended after *since*, the one that is open included."""
        self.line.send("over")
        asked: list[Asked] = self.line.recv()
        self._process.join()
        return [each for each in asked if each.ended > since]

    def __enter__(self) -> Others:
        return self

    def __exit__(self, *exc: object) -> None:
        self.line.close()
        self._process.terminate()
        self._process.join()


def _ask(asking: Asking, line: Connection) -> None:
    asked: list[Asked] = []
    exchanges = asking(line)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        # What is said on the line before the first of them is for those who ask.
        while not asked or not line.poll(PAUSE):
            began = time.monotonic()
            is_good = next(exchanges)
            ended = time.monotonic()
            asked.append(Asked(ended, ended - began, is_good))
            if len(asked) == WARM:
                line.send("warm")
        line.recv()
        line.send(asked)
