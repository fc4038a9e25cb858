"""What a model's tokens cost, from data: the packaged ``prices.yaml``, the operator's file over it, a route's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ..capabilities import MAX_NAME, normalize, yaml_of
from ..frozen import Frozen
from ..llm.events import Usage
from .weights import Weights

PER = 1_000_000
"""Prices are for so many tokens."""
PRICED = ("input", "output", "cached", "cache_write", "reasoning")
"""Kinds of tokens that have a price."""
DIGITS = 12
"""Of a dollar, behind the point: a token of the cheapest model costs 0.00000001."""
MOST = 1e6
"""Dollars that a million tokens may cost: more is a mistake in the unit."""
_DATED = re.compile(r"-(?:20\d\d-\d\d-\d\d|\d\d-20\d\d|\d{3,4})\Z")


class PriceError(Exception):
    """The operator's file of prices, or a route's, is wrong; the message says what and where."""


class Price(Frozen):
    """What a million tokens cost in USD; ``above``: from which number of input tokens on what else, ascending."""

    base: Weights
    above: tuple[tuple[int, Weights], ...] = ()

    def usd(self, usage: Usage) -> float | None:
        """What *usage* costs, as far as it is known; ``None`` if nothing is."""
        weights = self.base
        for least, dearer in self.above:
            if (usage.input_tokens or 0) > least:
                weights = dearer
        weight = weights.of(usage)
        return None if weight is None else round(weight / PER, DIGITS)


FREE = Price(Weights(0.0, 0.0))


class PriceRow(Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the file."""

    input: float | None = None
    output: float | None = None
    cached: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None
    above: dict[int, dict[str, float]] = {}
    at: dict[str, dict[str, Any]] = {}
    source: str = ""
    seen: date | None = None


class PriceTable:
    """Prices by model. Immutable after loading; look-ups are cached, within a bound, because the model's name comes
    from outside. Raises PriceError for rows that cannot be."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.sources: dict[str, dict[str, Any]] = dict(data.get("sources") or {})
        self._rows: dict[str, PriceRow] = {}
        self._prices: dict[str, dict[str, Price]] = {}
        """By row, by provider; that of all others by an empty name."""
        for name, raw in (data.get("models") or {}).items():
            where, spelled = f"models.{name}", _spelled(str(name))
            self._rows[spelled] = row = _row(raw, where)
            self._prices[spelled] = {"": _price(row, where)}
            for provider, members in row.at.items():
                there = f"{where}.at.{provider}"
                self._prices[spelled][provider] = _price(_row({**raw, **members}, there), there)
        self._lookup = lru_cache(maxsize=1024)(self._find)

    def find(self, provider: str, *models: str) -> Price | None:
        """What the first of *models* that has a price costs at *provider*; ``None`` if none has."""
        for model in models:
            if model and (found := self._lookup(provider, model[:MAX_NAME])) is not None:
                return found
        return None

    def row(self, model: str) -> str | None:
        """The name of the row that *model* has, as it is spelled here; ``None`` if it has none."""
        name = normalize(model)
        fits = [each for each in (name, _DATED.sub("", name)) if each in self._rows]
        fits = fits or [each for each in self._rows if each.endswith("*") and name.startswith(each[:-1])]
        return max(fits, key=len) if fits else None

    def seen(self, row: str) -> date | None:
        """When the source of *row* was read."""
        found: date | None = self._rows[row].seen or self.sources.get(self._rows[row].source, {}).get("seen")
        return found

    def _find(self, provider: str, model: str) -> Price | None:
        if model.endswith(":free"):
            # OpenRouter's word.
            return FREE
        row = self.row(model)
        if row is None:
            return None
        prices = self._prices[row]
        return prices.get(provider, prices[""])


def own(members: Mapping[str, Any]) -> Price:
    """The price that a route has of its own. Raises PriceError."""
    row = _row(members, "prices")
    if row.at or row.source or row.seen:
        raise PriceError("prices: at, source and seen are for a file")
    return _price(row, "prices")


def told(price: Price) -> str:
    """*price* for a reader."""

    def each(weights: Weights) -> Iterator[str]:
        for name in PRICED:
            if (value := getattr(weights, name)) is not None:
                yield f"{name}={value:g}"

    dearer = [f"above {least}: {' '.join(each(weights))}" for least, weights in price.above]
    return "; ".join([" ".join(each(price.base)), *dearer])


def load(path: str | Path | None = None) -> PriceTable:
    """The packaged table, with the operator's file at *path* over it, row by row. Raises PriceError."""
    data = _read(resources.files("extproc.costs").joinpath("prices.yaml"), "prices.yaml")
    if path is not None:
        laid = _read(Path(path), str(path))
        # By their spelling: 5.4 goes over 5-4.
        rows = {_spelled(str(name)): row for name, row in data.get("models", {}).items()}
        rows |= {_spelled(str(name)): row for name, row in laid.get("models", {}).items()}
        data = {"sources": {**data.get("sources", {}), **laid.get("sources", {})}, "models": rows}
        try:
            return PriceTable(data)
        except PriceError as error:
            raise PriceError(f"{path}: {error}") from None
    return PriceTable(data)


@lru_cache(maxsize=1)
def packaged() -> PriceTable:
    """The table as shipped."""
    return load()


def _spelled(name: str) -> str:
    return normalize(name[:-1]) + "*" if name.endswith("*") else normalize(name)


def _row(raw: Any, where: str) -> PriceRow:
    if not isinstance(raw, Mapping):
        raise PriceError(f"{where}: expected a mapping with {', '.join(PRICED)}")
    try:
        return msgspec.convert(dict(raw), PriceRow)
    except msgspec.ValidationError as error:
        raise PriceError(f"{where}: {error}; known members: {', '.join(PriceRow.__struct_fields__)}") from None


def _price(row: PriceRow, where: str) -> Price:
    base = {name: value for name in PRICED if (value := getattr(row, name)) is not None}
    if not base:
        raise PriceError(f"{where}: names no price: give {', '.join(PRICED)}")
    above = []
    for least in sorted(row.above):
        members = row.above[least]
        if unknown := sorted(set(members).difference(PRICED)):
            raise PriceError(f"{where}.above.{least}: unknown member {unknown[0]!r}; choose: {', '.join(PRICED)}")
        above.append((least, _weights({**base, **members}, f"{where}.above.{least}")))
    return Price(_weights(base, where), tuple(above))


def _weights(members: Mapping[str, float], where: str) -> Weights:
    for name, value in members.items():
        if not 0 <= value <= MOST:
            raise PriceError(f"{where}.{name}: expected USD for a million tokens, between 0 and {MOST:g}")
    return Weights(**members)


def _read(file: Path | Traversable, where: str) -> dict[str, Any]:
    data = yaml_of(file, where, PriceError)
    if not isinstance(data, dict) or not all(isinstance(data.get(name, {}), dict) for name in ("models", "sources")):
        raise PriceError(f"{where}: expected a mapping with models and sources, both mappings")
    if unknown := set(data) - {"sources", "models"}:
        raise PriceError(f"{where}: unknown section {sorted(map(str, unknown))[0]!r}; expected models, sources")
    return data
