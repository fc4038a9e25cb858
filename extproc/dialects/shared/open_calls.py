"""The calls of a turn that wait for their results: found by id, by name, or in their order.

Each lookup takes constant time on average, in whatever order the results come: a client decides how many there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Any


class OpenCalls:
    """Values that were added under one or more keys and are taken once, by any of them."""

    def __init__(self) -> None:
        self._values: dict[int, Any] = {}
        self._places: dict[Hashable, deque[int]] = {}
        self._first = 0
        self._next = 0

    def __bool__(self) -> bool:
        return bool(self._values)

    def add(self, value: Any, *keys: Hashable) -> None:
        self._values[self._next] = value
        for key in keys:
            self._places.setdefault(key, deque()).append(self._next)
        self._next += 1

    def take(self, key: Hashable) -> Any:
        """The oldest value under *key* that was not taken yet, ``None`` if there is none."""
        places = self._places.get(key)
        while places:
            place = places.popleft()
            if place in self._values:
                return self._values.pop(place)
        return None

    def take_first(self) -> Any:
        """The oldest value that was not taken yet, ``None`` if there is none."""
        # Not the dict's own first: to find it, a dict steps over each place that was emptied before.
        while self._first < self._next:
            self._first += 1
            if self._first - 1 in self._values:
                return self._values.pop(self._first - 1)
        return None

    def rest(self) -> list[Any]:
        """All that were not taken, in their order; they are taken now."""
        left = list(self._values.values())
        self._values.clear()
        self._places.clear()
        return left
