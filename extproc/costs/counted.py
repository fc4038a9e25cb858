"""What a route's ``metadata.costs`` has counted of an exchange: a count as it is, a sum of weighted ones, or what an
expression comes to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from ..frozen import Frozen
from ..llm.events import Usage, total
from .expression import Expression, ExpressionError, Sort, Values
from .weights import Weights

COUNTS = (
    "input_tokens", "output_tokens", "total_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens",
)  # fmt: skip
_SAME = {"cached_input_tokens": "cache_read_tokens", "cache_creation_input_tokens": "cache_write_tokens"}
"""What Envoy AI Gateway calls them, in its expressions."""
USD = "cost_usd"
NAMES: dict[str, Sort] = {
    **dict.fromkeys((*COUNTS, *_SAME, USD), "number"),
    "model": "text",
    "model_answered": "text",
    "provider": "text",
}
"""The names that an expression may use. ``model`` is what the upstream was asked for."""
MOST = 2**53
"""Beyond it a floating point number counts no more by one."""


class Spent(Frozen):
    """What is known of an exchange, to be counted."""

    usage: Usage
    usd: float | None = None
    model: str = ""
    model_answered: str = ""
    provider: str = ""

    def values(self) -> Values:
        """By the names of ``NAMES``; a count that is not known is 0."""
        usage = self.usage
        counts = {name: float(counted(usage, name) or 0) for name in COUNTS}
        same = {name: counts[ours] for name, ours in _SAME.items()}
        who = {"model": self.model, "model_answered": self.model_answered, "provider": self.provider}
        return {**counts, **same, USD: self.usd or 0.0, **who}


class Cost:
    """One cost. *written* as in a route: the name of a count, an expression, or a mapping of weights. Raises
    ExpressionError."""

    def __init__(self, written: str | Mapping[str, Any]) -> None:
        self.written = written
        self._weights: Weights | None = None
        self._expression: Expression | None = None
        if not isinstance(written, str):
            self._weights = _weights(written)
        elif written not in COUNTS:
            self._expression = Expression(written, NAMES)

    @property
    def needs_usd(self) -> bool:
        """It has no meaning where no price is known."""
        return self._expression is not None and USD in self._expression.names

    def of(self, spent: Spent) -> int | None:
        """A whole number, rounded up: limits know no others. ``None`` where it is not known: a count that the upstream
        has not told; of weights and of expressions, all counts; a price."""
        usage = spent.usage
        if self._expression is None and self._weights is None:
            return counted(usage, str(self.written))
        if usage.input_tokens is None and usage.output_tokens is None:
            return None
        if self._weights is not None:
            value = self._weights.of(usage)
        else:
            assert self._expression is not None
            value = None if self.needs_usd and spent.usd is None else self._expression.of(spent.values())
        # What binary fractions add is no hit.
        return None if value is None else min(max(math.ceil(round(value, 6)), 0), MOST)


def counted(usage: Usage, kind: str) -> int | None:
    """The count of *kind*, one of ``COUNTS``; ``None`` if it is unknown."""
    count: int | None = total(usage) if kind == "total_tokens" else getattr(usage, kind)
    return count


def _weights(written: Mapping[str, Any]) -> Weights:
    names = Weights.__struct_fields__
    if unknown := [name for name in written if name not in names]:
        raise ExpressionError(f"unknown weight {str(unknown[0])[:64]!r}; choose: {', '.join(names)}")
    if not written:
        raise ExpressionError(f"no weight is given; choose: {', '.join(names)}")
    try:
        made = msgspec.convert(dict(written), Weights)
    except msgspec.ValidationError:
        raise ExpressionError("expected a number for each weight") from None
    if any(not math.isfinite(value) or not 0 <= value <= 1e9 for value in written.values()):
        raise ExpressionError("expected weights between 0 and 1000000000")
    return made
