"""How a serving process uses memory: set once, when all that stays is loaded."""

from __future__ import annotations

import contextlib
import ctypes
import gc

KEPT_BYTES = 32 * 1024 * 1024
"""Freed memory that the C library keeps for the next large message; its greatest for M_MMAP_THRESHOLD."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def settle() -> None:
    """Call once before serving, in each process."""
    # For glibc, which gives every freed buffer of a large message back to the kernel and faults the next one in, page
    # by page: half of what carrying a message of 2 MB costs. Other C libraries have no mallopt, or ignore it.
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    # What was loaded stays: it is not worth looking through for cycles again and again.
    gc.collect()
    gc.freeze()
