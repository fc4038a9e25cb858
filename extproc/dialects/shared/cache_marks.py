"""A client's cache marks, for servers that cache by themselves: some take them nevertheless, in a word of their own."""

from __future__ import annotations

from typing import Final

from ...capabilities import Capabilities
from ...llm.losses import LossReport
from ...llm.request import CacheMarker, Request
from ..base import Members

MAX_MARKS: Final = 4
"""In one request: Claude refuses more, whoever asks it, and OpenAI writes no more. The first stay, so that what was
sent stays as it was."""
_ANTHROPIC, _OPENAI = "cache_control", "prompt_cache_breakpoint"
_LONG: Final = "12h"
"""What OpenAI has for Anthropic's hour; its shorter time is the one that holds where nothing is said."""


class CacheMarks:
    """Of one *request*. *texts*: whether texts may be parts, which bear them. Tools go first: they begin the prompt."""

    def __init__(self, request: Request, row: Capabilities, losses: LossReport, *, texts: bool = True) -> None:
        self._control = row.cache_control
        self._word = _ANTHROPIC if row.cache_control else _OPENAI
        self._knows = texts and bool(row.cache_control or row.cache_breakpoints)
        self._losses = losses
        self._path = request.path_of("cache")
        marked = sum([tool.cache is not None for tool in request.tools]) if self._control is True else 0
        self._left_for_tools = min(marked, MAX_MARKS)
        self._left = MAX_MARKS - self._left_for_tools if self._knows else 0

    def on_text(self, cache: CacheMarker | None) -> Members:
        """What a part of text bears of *cache*: nothing where it has to be reported."""
        if cache is None:
            return {}
        if not self._left:
            self.dropped(cache)
            return {}
        self._left -= 1
        return self._mark(cache)

    def on_tool(self, cache: CacheMarker | None) -> Members:
        """The same of a tool's definition."""
        if cache is None or not self._left_for_tools:
            self.dropped(cache)
            return {}
        self._left_for_tools -= 1
        return self._mark(cache)

    def _mark(self, cache: CacheMarker) -> Members:
        mark = {"mode": "explicit"} if self._word == _OPENAI else {"type": "ephemeral"}
        if cache.ttl is not None and self._word == _ANTHROPIC:
            mark["ttl"] = cache.ttl
        elif cache.ttl == "1h":
            mark["ttl"] = _LONG
        return {self._word: mark}

    def dropped(self, cache: CacheMarker | None) -> None:
        """A mark where no server takes any."""
        if cache is not None:
            why = f"texts bear them, {MAX_MARKS} at most" if self._knows else "this API caches by itself"
            self._losses.dropped(self._path, why, cost_only=True)
