"""An operator's regular expressions over texts that anybody sends: RE2, whose time is linear in the text whatever the
pattern, so that neither can keep the process busy. Needs google-re2 (``pip install 'extproc-llm[policies]'``).
"""

from __future__ import annotations

import importlib
from typing import Any

from .base import Unavailable
from .given import Given

NEEDED = "needs the package google-re2: pip install 'extproc-llm[policies]'"
MAX_PATTERNS = 100
MAX_PROGRAM = 4000
"""Instructions of a compiled pattern."""
MAX_WORK = 1_000_000_000
"""Instructions times bytes of a text: a pattern that needs more memory than it has looks at each for every byte, and
that takes seconds at most. One of 100 instructions, which is a long one, may see 10 MB."""
MAX_MEMORY = 16 * 1024 * 1024
"""Bytes for one pattern; where they do not suffice, RE2 goes on slower, and as right."""


class Pattern:
    """One of them, compiled, by the *path* at which the operator wrote it."""

    __slots__ = ("_compiled", "_most", "path")

    def __init__(self, path: str, compiled: Any, bound: bool) -> None:
        self.path = path
        self._compiled = compiled
        self._most = MAX_WORK // max(compiled.programsize, 1) if bound else 1 << 62

    def found_in(self, text: bytes) -> bool:
        """Raises Unavailable for a text that is too long for it."""
        self._bound(text)
        return self._compiled.search(text) is not None

    def next_in(self, text: bytes, at: int) -> tuple[int, int] | None:
        """From where to where it is found next, from *at* on. Raises Unavailable as ``found_in``."""
        self._bound(text)
        found = self._compiled.search(text, at)
        return None if found is None else found.span()

    def _bound(self, text: bytes) -> None:
        if len(text) > self._most:
            raise Unavailable(f"{self.path} can look at {self._most} bytes, and the text has {len(text)}")


def patterns(given: Given, name: str) -> list[Pattern]:
    """The member *name*, a list of patterns; empty if it is not there. Raises PolicyError."""
    texts = given.texts(name) or []
    if len(texts) > MAX_PATTERNS:
        raise given.error(name, f"has more than {MAX_PATTERNS} patterns")
    return [compiled(given, f"{name}[{at}]", text) for at, text in enumerate(texts)]


def compiled(given: Given, name: str, text: str, *, ours: bool = False) -> Pattern:
    """*ours*: one that is known to be fast on every text. Raises PolicyError."""
    try:
        re2 = importlib.import_module("re2")
    except ImportError:
        raise given.error(name, NEEDED) from None
    if not text:
        raise given.error(name, "is empty: it would be found in every text")
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    try:
        made = re2.compile(encoded(text), options)
    except re2.error as error:
        detail = error.args[0] if error.args else b""
        why = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
        raise given.error(name, f"not a regular expression of RE2's: {why[:200]}") from None
    if not ours and made.programsize > MAX_PROGRAM:
        raise given.error(name, "is too large: write its repetitions with smaller numbers")
    return Pattern(name, made, not ours)


def encoded(text: str) -> bytes:
    """A JSON text may hold half of a surrogate pair, which no encoding has."""
    return text.encode("utf-8", "replace")
