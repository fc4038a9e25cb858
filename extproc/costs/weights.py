"""One number of many counts: each kind of token weighs what it is given."""

from __future__ import annotations

from ..frozen import Frozen
from ..llm.events import Usage


class Weights(Frozen):
    """What one token of each kind weighs. ``input`` and ``output`` are for what has no weight of its own: ``cached``
    (read from a cache) and ``cache_write`` are parts of the input, ``reasoning`` is one of the output. ``total`` comes
    on top, for every token."""

    input: float | None = None
    output: float | None = None
    cached: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None
    total: float | None = None

    def of(self, usage: Usage) -> float | None:
        """What *usage* weighs. A count that is not known counts as none; ``None`` if neither the input nor the output
        is known."""
        if usage.input_tokens is None and usage.output_tokens is None:
            return None
        read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
        thought = usage.reasoning_tokens or 0
        came, went = usage.input_tokens or 0, usage.output_tokens or 0
        first, last = self.input or 0.0, self.output or 0.0
        return (
            first * max(came - read - written, 0)
            + (first if self.cached is None else self.cached) * read
            + (first if self.cache_write is None else self.cache_write) * written
            + last * max(went - thought, 0)
            + (last if self.reasoning is None else self.reasoning) * thought
            + (self.total or 0.0) * (came + went)
        )
