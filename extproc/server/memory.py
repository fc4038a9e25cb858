"""How a serving process uses memory: set once, when all that stays is loaded."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc

KEPT_BYTES = 256 * 1024 * 1024
"""Freed memory that the C library keeps for the next large message; of more than that it gives all back. A request of
20 MB is there eight times at once: in its message, as a body, decoded, translated, encoded, in the answer and more."""

UNMAPPED_BYTES = 32 * 1024 * 1024
"""The largest buffer that can be kept: glibc's greatest for M_MMAP_THRESHOLD."""

KEPT_SECONDS = 60.0
"""For so long at most: one large message a day must not cost its memory all day."""

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


async def give_back() -> None:
    """Give what is kept back to the kernel, every KEPT_SECONDS. Runs until it is cancelled."""
    with contextlib.suppress(OSError, AttributeError):
        trim = ctypes.CDLL(None).malloc_trim
        while True:
            await asyncio.sleep(KEPT_SECONDS)
            trim(0)
