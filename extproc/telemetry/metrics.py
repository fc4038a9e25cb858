"""Counters and histograms of exchanges, in Prometheus' text format (version 0.0.4).

A metric is declared once, by ``@counter`` or ``@histogram`` over the function that reads it out of an outcome: what is
declared is counted, and what is counted is on the page. Every label has few values: names from outside are clipped, and
counted by name up to a bound, beyond it as ``other``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from ..frozen import Frozen
from .outcome import Began, Outcome
from .sinks import QueuedSink

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
Read = Callable[[Outcome], Iterable[tuple[Labels, float]]]
"""The values that an outcome has for a metric, each with its labels."""


class Metric(Frozen):
    """One metric: what it is called, and what an outcome adds to it. With *bounds* it is a histogram."""

    name: str
    about: str
    labels: Labels
    read: Read
    bounds: tuple[float, ...] = ()


DECLARED: list[Metric] = []
"""In the order of the page."""


def counter(name: str, about: str, *labels: str) -> Callable[[Read], Read]:
    """Declare a number for each combination of *labels*, that the function below adds to; it only grows."""
    return histogram(name, about, (), *labels)


def histogram(name: str, about: str, bounds: tuple[float, ...], *labels: str) -> Callable[[Read], Read]:
    """Declare how often what the function below reads was at most each of *bounds*."""

    def declare(read: Read) -> Read:
        DECLARED.append(Metric(name, about, labels, read, bounds))
        return read

    return declare


# ---- the metrics


@counter(
    "extproc_exchanges_total",
    "Exchanges by their ending; in an upstream filter each attempt is one.",
    "role", "client", "upstream", "provider", "ending", "status",
)  # fmt: skip
def _exchanges(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    who = (outcome.role, outcome.client, outcome.upstream, outcome.provider)
    yield (*who, outcome.ending.value, f"{outcome.status // 100}xx" if outcome.status else "none"), 1


@counter(
    "extproc_tokens_total",
    "Tokens by type; input includes cache_read and cache_write, output includes reasoning.",
    "type", "provider", "model",
)  # fmt: skip
def _tokens(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    # A model has its place only here: a name that an upstream has answered for was not made up by a client.
    for kind, name in _TOKENS.items():
        if count := getattr(outcome.usage, name):
            yield (kind, outcome.provider, outcome.model_sent), count


@histogram(
    "extproc_first_token_seconds",
    "From a request's headers to the first content of its stream.",
    FIRST_TOKEN_SECONDS,
    "provider", "upstream",
)  # fmt: skip
def _first_token(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    if outcome.first_content_seconds is not None:
        yield (outcome.provider, outcome.upstream), outcome.first_content_seconds


@histogram(
    "extproc_duration_seconds",
    "From a request's headers to the end of the exchange.",
    DURATION_SECONDS,
    "role", "provider", "stream",
)  # fmt: skip
def _duration(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    yield (outcome.role, outcome.provider, "true" if outcome.stream else "false"), outcome.seconds


@counter("extproc_losses_total", "What translations changed or left out.", "action", "client", "upstream")
def _losses(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    for loss in outcome.losses:
        yield (loss.rpartition(":")[2], outcome.client, outcome.upstream), 1


@counter("extproc_denied_total", "Exchanges that a policy ended.", "policy", "client")
def _denied(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    if outcome.denied_by:
        yield (outcome.denied_by, outcome.client), 1


@counter("extproc_route_errors_total", "Exchanges that failed by the configuration's fault.", "error")
def _route_errors(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    if outcome.error in _OPERATORS_FAULT:
        yield (outcome.error,), 1


# ---- the counting


class _Counted:
    """The values of a counter."""

    kind = "counter"

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._values: dict[Labels, float] = {}

    def add(self, labels: Labels, value: float) -> None:
        self._values[labels] = self._values.get(labels, 0) + value

    def lines(self) -> Iterator[str]:
        for labels, value in self._values.items():
            yield sample(self._metric.name, zip(self._metric.labels, labels, strict=True), value)


class _Distributed:
    """The values of a histogram."""

    kind = "histogram"

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._cells: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def add(self, labels: Labels, value: float) -> None:
        bounds = self._metric.bounds
        cells = self._cells.setdefault(labels, [0] * (len(bounds) + 1))
        cells[sum(value > bound for bound in bounds)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self) -> Iterator[str]:
        name = self._metric.name
        marks = [*map(_number, self._metric.bounds), "+Inf"]
        for labels, cells in self._cells.items():
            named = list(zip(self._metric.labels, labels, strict=True))
            for mark, count in zip(marks, accumulate(cells), strict=True):
                yield sample(f"{name}_bucket", [*named, ("le", mark)], count)
            yield sample(f"{name}_sum", named, self._sums[labels])
            yield sample(f"{name}_count", named, sum(cells))


class Metrics:
    """The sink that counts. ``text`` is the page."""

    def __init__(self) -> None:
        self._counts = [(each, _Distributed(each) if each.bounds else _Counted(each)) for each in DECLARED]
        self._models: set[str] = set()

    def started(self, began: Began) -> None:
        """Counted at the end."""

    def first_content(self, began: Began, seconds: float) -> None:
        """Counted at the end."""

    def ended(self, began: Began, outcome: Outcome) -> None:
        """Count one exchange."""
        for metric, counts in self._counts:
            for labels, value in metric.read(outcome):
                counts.add(self._bounded(metric, labels) if "model" in metric.labels else labels, value)

    def _bounded(self, metric: Metric, labels: Labels) -> Labels:
        at = metric.labels.index("model")
        return (*labels[:at], self._model(labels[at]), *labels[at + 1 :])

    def _model(self, name: str) -> str:
        name = name[:MAX_NAME]
        if name not in self._models:
            if len(self._models) >= MAX_MODELS:
                return OTHER
            self._models.add(name)
        return name

    def text(
        self,
        open_streams: int,
        h2: Mapping[str, int | Mapping[str, int]] | None = None,
        side_calls: Mapping[str, int] | None = None,
        queued: Iterable[QueuedSink] = (),
    ) -> str:
        """The page. *open_streams*, the counters of the h2 transport, what became of *side_calls* and what *queued*
        sinks have dropped are read when they are asked for."""
        page: list[str] = []
        for metric, counts in self._counts:
            page += _headed(metric.name, counts.kind, metric.about, counts.lines())
        name = "extproc_open_streams"
        page += _headed(name, "gauge", "Streams of Envoy's that are open now.", [sample(name, [], open_streams)])
        name = "extproc_side_calls_total"
        called = [sample(name, [("result", result)], count) for result, count in (side_calls or {}).items()]
        page += _headed(name, "counter", "Calls to other services that policies asked for, by their result.", called)
        name = "extproc_sink_dropped_total"
        dropped = [sample(name, [("sink", sink.name)], sink.dropped) for sink in queued]
        page += _headed(name, "counter", "Exchanges that a sink had no room for, or could not write.", dropped)
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
