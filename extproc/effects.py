"""What the core may ask of the world outside, as values: the server carries an effect out, and hands back what came of
it. Nothing here does anything."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from enum import Enum
from typing import TypeVar

from .frozen import Frozen

T = TypeVar("T")
Pairs = tuple[tuple[str, str], ...]


class HttpCall(Frozen):
    """One HTTP request to another service. Its redirects are not followed, its answer is not inflated."""

    url: str
    method: str = "POST"
    headers: Pairs = ()
    body: bytes = b""
    seconds: float = 5.0
    """For the whole of it: connecting, asking, and the last byte of the answer."""
    max_bytes: int = 1024 * 1024
    """Of the answer's body."""
    safe: bool = False
    """It may be asked twice: once more if a connection breaks before anything of the answer has come."""

    def __repr__(self) -> str:
        # Headers and body hold credentials and what clients say; the query can.
        return f"HttpCall({self.method} {self.url.partition('?')[0]})"


class HttpAnswer(Frozen):
    """What the service answered, whatever its status."""

    status: int
    headers: Pairs = ()
    """Lower-case names."""
    body: bytes = b""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class Awaited(Frozen):
    """Something that another thread is at already. The wait for it ends after *seconds*, the work does not."""

    what: Future[None]
    seconds: float


class Done(Frozen):
    """What was awaited is over, however it went."""


class Failure(Enum):
    """Why an effect came to nothing."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    """No connection, no trust in its certificate, or a connection that broke."""
    TOO_LARGE = "too_large"
    """The answer is larger than was asked for."""
    BUSY = "busy"
    """As many calls as a process may have, to that service or to all, are in flight."""
    INVALID = "invalid"
    """It cannot be asked: no URL, or nothing here that speaks HTTP."""


class Failed(Frozen):
    why: Failure
    detail: str = ""
    """For the log: never anything of the answer's."""


Effect = HttpCall | Awaited
Result = HttpAnswer | Done | Failed


class Ask(Frozen):
    """An effect that an exchange waits for. *key* tells it from the others of that exchange; *seconds* is what is left
    of the time for which one message may wait."""

    effect: Effect
    key: int
    seconds: float


def unassisted(steps: Generator[Effect, Result, T]) -> T:
    """What comes of *steps* where nobody carries effects out: each fails."""
    try:
        next(steps)
        while True:
            steps.send(Failed(Failure.INVALID, "nothing here carries it out"))
    except StopIteration as ended:
        value: T = ended.value
        return value
