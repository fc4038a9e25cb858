"""What the tests of growth share: CPU at four times the length, at most six times as much."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable

TIMES = 40 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 1
"""As many more of everything: with HYPOTHESIS_PROFILE=long up to the largest bodies that there are."""
SMALL = 400
FACTOR, MOST = 4, 6.0
TRIES = 15
LEAST_SECONDS = 0.0005
"""Below this the clock says nothing."""


def cost(ask: Callable[[], object]) -> float:
    """Seconds of CPU: the better of two."""
    times = []
    for _ in range(2):
        # Not collected before: of the objects of thousands of tests that takes a second each time.
        gc.disable()
        start = time.process_time()
        ask()
        times.append(time.process_time() - start)
        gc.enable()
    return min(times)


def grows_with_its_length(make: Callable[[int], Callable[[], object]], small: int = SMALL) -> None:
    """Measured again when it seems not to: beside busy neighbours what is long does not fit into a cache."""
    ratio, small = 0.0, small * TIMES
    for _ in range(TRIES):
        ratio = cost(make(FACTOR * small)) / max(cost(make(small)), LEAST_SECONDS)
        if ratio <= MOST:
            return
    raise AssertionError(f"{FACTOR} times the length takes {ratio:.1f} times as long")


def spread(names: tuple[str, ...], place: int, count: int) -> tuple[str, ...]:
    """*count* of *names*, others for each *place*: of many cases each meets some, and each of them meets many."""
    return tuple(names[(place + step * 2) % len(names)] for step in range(count))
