"""What was made of texts, kept by them: so many at most, and so many bytes of text. A route's text is the same with
each request, but whoever reaches the gRPC port says what it is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, Final, Generic, TypeVar

V = TypeVar("V")
MAX_BYTES: Final = 8 * 1024 * 1024
"""Of text: thousands of routes, of which none is long."""


class TextCache(Generic[V]):
    """Outcomes by keys, tuples that hold texts; the one that was used least leaves first. For any thread."""

    def __init__(self, most: int, max_bytes: int = MAX_BYTES) -> None:
        self._most = most
        self._max_bytes = max_bytes
        self._bytes = 0
        self._found: OrderedDict[Any, V] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Any) -> V | None:
        found = self._found.get(key)
        if found is not None:
            try:
                self._found.move_to_end(key)
            except KeyError:
                pass  # another thread has let it go meanwhile
        return found

    def put(self, key: Any, found: V) -> None:
        """Keep *found*, which is not ``None``, unless *key* is."""
        if key is None:
            return
        with self._lock:
            if key not in self._found:
                self._bytes += _size(key)
            self._found[key] = found
            self._found.move_to_end(key)
            while len(self._found) > self._most or self._bytes > self._max_bytes:
                gone, _ = self._found.popitem(last=False)
                self._bytes -= _size(gone)

    def items(self) -> list[tuple[Any, V]]:
        with self._lock:
            return list(self._found.items())

    def clear(self) -> None:
        with self._lock:
            self._found.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._found)


def _size(key: Any) -> int:
    return sum([len(part) for part in key if isinstance(part, (str, bytes))])


def by_text(most: int) -> Callable[[Callable[..., V]], Callable[..., V]]:
    """Have what a function makes of texts looked up. What it raises is not kept."""

    def of(make: Callable[..., V]) -> Callable[..., V]:
        kept = TextCache[tuple[V]](most)

        @wraps(make)
        def looked_up(*texts: str) -> V:
            found = kept.get(texts)
            if found is None:
                found = (make(*texts),)
                kept.put(texts, found)
            return found[0]

        return looked_up

    return of
