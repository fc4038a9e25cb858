"""Request bodies that the router's stream has read, for the attempt behind it that translates them.

Where both streams of an exchange come to one process, the body need not be carried there a second time. Nothing depends
on it: whoever finds nothing here gets the body from Envoy.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable


class Handover:
    """Bodies by keys that no client can guess, each for one taker, within *max_bytes* and *seconds*."""

    def __init__(self, now: Callable[[], float], max_bytes: int, seconds: float) -> None:
        self._now = now
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._held: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        """In the order in which they came, with the time until which each is kept."""
        self.size = 0
        """Bytes that are held."""

    def leave(self, body: bytes) -> str:
        """Keep *body*: the key that it is taken by, empty if it is not kept. Those that wait longest make room."""
        if len(body) > self._max_bytes:
            return ""
        now = self._now()
        while self._held:
            oldest, (_, until) = next(iter(self._held.items()))
            if until > now and self.size + len(body) <= self._max_bytes:
                break
            self.withdraw(oldest)
        key = secrets.token_hex(16)
        self._held[key] = body, now + self._seconds
        self.size += len(body)
        return key

    def take(self, key: str) -> bytes | None:
        """What was left by *key*, if it is still here; it is no more then."""
        found = self._held.get(key)
        if found is None:
            return None
        self.withdraw(key)
        body, until = found
        return body if until > self._now() else None

    def withdraw(self, key: str) -> None:
        """Let go of what was left by *key*, if anything is."""
        found = self._held.pop(key, None)
        if found is not None:
            self.size -= len(found[0])
