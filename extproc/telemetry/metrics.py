"""Counters and histograms of exchanges, in Prometheus' text format (version 0.0.4).

Every label has few values: names from outside are clipped, and counted by name up to a bound, beyond it as ``other``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from .outcome import Outcome

MAX_NAME = 64
"""Characters of a name from outside."""
MAX_MODELS = 256
"""Models that are counted by name, over all providers."""
OTHER = "other"
FIRST_TOKEN_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
DURATION_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
_TOKENS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "reasoning": "reasoning_tokens",
}
_OPERATORS_FAULT = frozenset({"route_error", "misconfigured"})

Labels = tuple[str, ...]


class Counter:
    """A number for each combination of labels; it only grows."""

    kind = "counter"

    def __init__(self, name: str, about: str, labels: Labels = ()) -> None:
        self.name = name
        self.about = about
        self.labels = labels
        self._values: dict[Labels, float] = {}

    def add(self, values: Labels = (), amount: float = 1) -> None:
        self._values[values] = self._values.get(values, 0) + amount

    def lines(self) -> Iterator[str]:
        for values, amount in self._values.items():
            yield sample(self.name, zip(self.labels, values, strict=True), amount)


class Histogram:
    """How often a value was at most each of *bounds*, for each combination of labels."""

    kind = "histogram"

    def __init__(self, name: str, about: str, labels: Labels, bounds: Sequence[float]) -> None:
        self.name = name
        self.about = about
        self.labels = labels
        self._bounds = bounds
        self._cells: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, values: Labels, value: float) -> None:
        cells = self._cells.setdefault(values, [0] * (len(self._bounds) + 1))
        cells[sum(value > bound for bound in self._bounds)] += 1
        self._sums[values] = self._sums.get(values, 0.0) + value

    def lines(self) -> Iterator[str]:
        marks = [*map(_number, self._bounds), "+Inf"]
        for values, cells in self._cells.items():
            named = list(zip(self.labels, values, strict=True))
            for mark, count in zip(marks, accumulate(cells), strict=True):
                yield sample(f"{self.name}_bucket", [*named, ("le", mark)], count)
            yield sample(f"{self.name}_sum", named, self._sums[values])
            yield sample(f"{self.name}_count", named, sum(cells))


class Metrics:
    """What is counted of exchanges. ``record`` each outcome once; ``text`` is the page."""

    def __init__(self) -> None:
        who = ("role", "client", "upstream", "provider")
        self._exchanges = Counter(
            "extproc_exchanges_total",
            "Exchanges by their ending; in an upstream filter each attempt is one.",
            (*who, "ending", "status"),
        )
        self._tokens = Counter(
            "extproc_tokens_total",
            "Tokens by type; input includes cache_read and cache_write, output includes reasoning.",
            ("type", "provider", "model"),
        )
        self._first = Histogram(
            "extproc_first_token_seconds",
            "From a request's headers to the first content of its stream.",
            ("provider", "upstream"),
            FIRST_TOKEN_SECONDS,
        )
        self._durations = Histogram(
            "extproc_duration_seconds",
            "From a request's headers to the end of the exchange.",
            ("role", "provider", "stream"),
            DURATION_SECONDS,
        )
        self._losses = Counter(
            "extproc_losses_total", "What translations changed or left out.", ("action", "client", "upstream")
        )
        self._route_errors = Counter(
            "extproc_route_errors_total", "Exchanges that failed by the configuration's fault.", ("error",)
        )
        self._models: set[str] = set()

    def record(self, outcome: Outcome) -> None:
        """Count one exchange."""
        who = (outcome.role, outcome.client, outcome.upstream, outcome.provider)
        status = f"{outcome.status // 100}xx" if outcome.status else "none"
        self._exchanges.add((*who, outcome.ending.value, status))
        streamed = "true" if outcome.stream else "false"
        self._durations.observe((outcome.role, outcome.provider, streamed), outcome.seconds)
        if outcome.first_content_seconds is not None:
            self._first.observe((outcome.provider, outcome.upstream), outcome.first_content_seconds)
        for loss in outcome.losses:
            self._losses.add((loss.rpartition(":")[2], outcome.client, outcome.upstream))
        if outcome.error in _OPERATORS_FAULT:
            self._route_errors.add((outcome.error,))
        self._record_tokens(outcome)

    def _record_tokens(self, outcome: Outcome) -> None:
        counts = [(kind, count) for kind, name in _TOKENS.items() if (count := getattr(outcome.usage, name))]
        if counts:
            # Only here: a name that an upstream has answered for was not made up by a client.
            model = self._model(outcome.model_sent)
            for kind, count in counts:
                self._tokens.add((kind, outcome.provider, model), count)

    def _model(self, name: str) -> str:
        name = name[:MAX_NAME]
        if name not in self._models:
            if len(self._models) >= MAX_MODELS:
                return OTHER
            self._models.add(name)
        return name

    def text(self, open_streams: int, h2: Mapping[str, int | Mapping[str, int]] | None = None) -> str:
        """The page. *open_streams* and the counters of the h2 transport are read when they are asked for."""
        page: list[str] = []
        for metric in (
            self._exchanges, self._tokens, self._first, self._durations, self._losses, self._route_errors
        ):  # fmt: skip
            page += _headed(metric.name, metric.kind, metric.about, metric.lines())
        name = "extproc_open_streams"
        page += _headed(name, "gauge", "Streams of Envoy's that are open now.", [sample(name, [], open_streams)])
        for member, value in (h2 or {}).items():
            name = f"extproc_h2_{member}_total"
            if isinstance(value, int):
                about = f"The h2 transport's {member.replace('_', ' ')}."
                page += _headed(name, "counter", about, [sample(name, [], value)])
            else:
                met = [sample(name, [("bound", bound)], count) for bound, count in value.items()]
                page += _headed(name, "counter", "How often a peer met a bound of the h2 transport.", met)
        return "\n".join(page) + "\n"


def sample(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    """One line of the format."""
    named = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{named}}} {_number(value)}" if named else f"{name} {_number(value)}"


def _headed(name: str, kind: str, about: str, lines: Iterable[str]) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}", *lines]


def _escaped(text: str) -> str:
    # Half of a surrogate pair, which JSON can hold, is no UTF-8.
    text = text.encode("utf-8", "replace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.9g}"
