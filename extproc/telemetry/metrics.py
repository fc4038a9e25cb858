"""Counters and histograms of exchanges, in Prometheus' text format (version 0.0.4).

A metric is declared once, by ``@counter`` or ``@histogram`` over the function that reads it out of an outcome: what is
declared is counted, and what is counted is on the page, or pushed (``otlp.py``). Every label has few values. Names from
outside are clipped; models are counted by name once an upstream has answered for them, up to a bound, errors up to
another, beyond it as ``other``; where one metric would have too many series a new one is counted without its models.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate

from ..frozen import Frozen
from ..llm.events import NO_USAGE
from .outcome import Began, Outcome
from .sinks import QueuedSink

log = logging.getLogger(__name__)

MAX_NAME = 64
"""Characters of a name from outside."""
MAX_MODELS = 256
"""Models that are counted by name, over all providers."""
MAX_ERRORS = 64
"""Errors that are counted by name: upstreams make some up."""
MAX_SERIES = 2048
"""Of one metric, before what is new is counted without its models."""
OTHER = "other"
FIRST_TOKEN_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
DURATION_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
TOKENS = tuple(float(4**n) for n in range(14))
SERVER_SECONDS = tuple(0.01 * 2**n for n in range(14))
FIRST_TOKEN_BOUNDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
"""The bounds that OpenTelemetry's semantic conventions for generative AI name (metrics, 1.37)."""
WAIT_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
WHO = (
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.original.model", "gen_ai.request.model",
    "gen_ai.response.model", "extproc.route", "extproc.client", "extproc.upstream",
)  # fmt: skip
PROVIDERS = {
    "azure-openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex-ai": "gcp.vertex_ai",
}
"""What the conventions call them otherwise."""
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
    """One metric: what it is called, and what an outcome adds to it. With *bounds* it is a histogram. A *name* with
    dots is one of OpenTelemetry's, without its unit."""

    name: str
    about: str
    labels: Labels
    read: Read
    bounds: tuple[float, ...] = ()
    unit: str = ""

    @property
    def page_name(self) -> str:
        """Its name for Prometheus."""
        suffix = "_seconds" if self.unit == "s" and "." in self.name else ""
        return self.name.replace(".", "_") + suffix

    @property
    def page_labels(self) -> Labels:
        return tuple(label.replace(".", "_") for label in self.labels)

    @property
    def otel_name(self) -> str:
        """Its name for OpenTelemetry: the collector makes Prometheus' of it."""
        return self.name.removesuffix("_total").removesuffix("_seconds").replace("extproc_", "extproc.", 1)


DECLARED: list[Metric] = []
"""In the order of the page."""


def counter(name: str, about: str, *labels: str) -> Callable[[Read], Read]:
    """Declare a number for each combination of *labels*, that the function below adds to; it only grows."""
    return histogram(name, about, (), *labels)


def histogram(name: str, about: str, bounds: tuple[float, ...], *labels: str, unit: str = "") -> Callable[[Read], Read]:
    """Declare how often what the function below reads was at most each of *bounds*."""

    def declare(read: Read) -> Read:
        kind = unit or ("s" if name.endswith("_seconds") else "")
        DECLARED.append(Metric(name, about, labels, read, bounds, kind))
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


@counter("extproc_cost_usd_total", "What exchanges cost in USD, by routes' prices.", "provider", "model")
def _cost(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    if outcome.cost_usd:
        yield (outcome.provider, outcome.model_sent), outcome.cost_usd


@counter("extproc_unpriced_total", "Exchanges whose route has their cost told, and of whose model no price is known.",
         "provider")  # fmt: skip
def _unpriced(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    if outcome.unpriced:
        yield (outcome.provider,), 1


@counter("extproc_denied_total", "Exchanges that a policy ended.", "policy", "client")
def _denied(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    if outcome.denied_by:
        yield (outcome.denied_by, outcome.client), 1


@counter("extproc_route_errors_total", "Exchanges that failed by the configuration's fault.", "error")
def _route_errors(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    if outcome.error in _OPERATORS_FAULT:
        yield (outcome.error,), 1


@histogram("extproc_wait_seconds", "How long exchanges waited for a credential, or for what policies asked.",
           WAIT_SECONDS, "for")  # fmt: skip
def _waits(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    for what, seconds in outcome.waits:
        yield (what,), seconds


# ---- by OpenTelemetry's semantic conventions for generative AI


def _who(outcome: Outcome) -> Labels:
    provider = PROVIDERS.get(outcome.provider, outcome.provider)
    models = (outcome.model_asked, outcome.model_sent, outcome.model_answered)
    return (outcome.operation, provider, *models, outcome.route, outcome.client, outcome.upstream)


@histogram("gen_ai.client.token.usage", "Tokens of each exchange, by type.", TOKENS, *WHO, "gen_ai.token.type",
           unit="{token}")  # fmt: skip
def _token_usage(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    who, usage = _who(outcome), outcome.usage
    for kind, name in _USED.items():
        if (count := getattr(usage, name)) is not None:
            yield (*who, kind), count


_USED = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cached_input": "cache_read_tokens",
    "cache_creation_input": "cache_write_tokens",
    "reasoning": "reasoning_tokens",
}


@histogram("gen_ai.server.request.duration", "From a request's headers to the end of the exchange.", SERVER_SECONDS,
           *WHO, "error.type", unit="s")  # fmt: skip
def _request_duration(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    if outcome.provider:
        yield (*_who(outcome), outcome.error_type), outcome.seconds


@histogram("gen_ai.server.time_to_first_token", "From a request's headers to the first content of its stream.",
           FIRST_TOKEN_BOUNDS, *WHO, unit="s")  # fmt: skip
def _time_to_first_token(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    if outcome.first_content_seconds is not None:
        yield _who(outcome), outcome.first_content_seconds


@histogram("gen_ai.server.time_per_output_token", "Of a stream, from its first content to its end, for each token "
           "after the first.", TOKEN_SECONDS, *WHO, unit="s")  # fmt: skip
def _time_per_output_token(outcome: Outcome) -> Iterator[tuple[Labels, float]]:
    whole, first, count = outcome.upstream_seconds, outcome.first_token_seconds, outcome.usage.output_tokens
    if outcome.stream and whole is not None and first is not None and count is not None and count > 1:
        yield _who(outcome), (whole - first) / (count - 1)


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
            yield sample(self._metric.page_name, zip(self._metric.page_labels, labels, strict=True), value)


class _Distributed:
    """The values of a histogram."""

    kind = "histogram"

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._cells: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def add(self, labels: Labels, value: float) -> None:
        bounds, cells = self._metric.bounds, self._cells.get(labels)
        if cells is None:
            cells = self._cells[labels] = [0] * (len(bounds) + 1)
        cells[bisect_left(bounds, value)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self) -> Iterator[str]:
        name = self._metric.page_name
        marks = [*map(_number, self._metric.bounds), "+Inf"]
        for labels, cells in self._cells.items():
            named = list(zip(self._metric.page_labels, labels, strict=True))
            for mark, count in zip(marks, accumulate(cells), strict=True):
                yield sample(f"{name}_bucket", [*named, ("le", mark)], count)
            yield sample(f"{name}_sum", named, self._sums[labels])
            yield sample(f"{name}_count", named, sum(cells))


class Names:
    """Names from outside that are counted as they are; beyond a bound as ``other``."""

    def __init__(self) -> None:
        self._models: set[str] = set()
        self._errors: set[str] = set()
        self._series: dict[str, set[Labels]] = {}

    def bounded(self, metric: Metric, labels: Labels, outcome: Outcome) -> Labels:
        """*labels* with each name that may stand there, and without models where that makes too many series."""
        series = self._series.setdefault(metric.name, set())
        if labels in series:
            return labels
        made = labels
        for at, label in enumerate(metric.labels):
            if label.endswith("model"):
                made = _with(made, at, self._model(labels[at], outcome))
            elif label == "error.type":
                made = _with(made, at, _known(self._errors, labels[at], MAX_ERRORS, new=True))
        if made not in series:
            if len(series) >= MAX_SERIES:
                return nameless(metric, made)
            series.add(made)
        return made

    def _model(self, name: str, outcome: Outcome) -> str:
        # A name that an upstream has answered for was not made up by a client.
        vouched = bool(outcome.model_answered) or outcome.usage != NO_USAGE
        return _known(self._models, name, MAX_MODELS, new=vouched)


def _known(names: set[str], name: str, most: int, *, new: bool) -> str:
    name = name[:MAX_NAME]
    if name and name not in names:
        if not new or len(names) >= most:
            return OTHER
        names.add(name)
    return name


def _with(labels: Labels, at: int, value: str) -> Labels:
    return (*labels[:at], value, *labels[at + 1 :])


def nameless(metric: Metric, labels: Labels) -> Labels:
    """*labels* without the names of models."""
    return tuple(OTHER if name.endswith("model") else text for name, text in zip(metric.labels, labels, strict=True))


def kept(off: Sequence[str]) -> list[Metric]:
    """The metrics that none of the patterns *off* names, as Prometheus has them."""
    return [metric for metric in DECLARED if not any(fnmatchcase(metric.page_name, pattern) for pattern in off)]


def readings(metrics: Iterable[Metric], names: Names, outcome: Outcome) -> Iterator[tuple[Metric, Labels, float]]:
    """What *outcome* adds to *metrics*. One that cannot be read is logged, and the others go on (B36)."""
    for metric in metrics:
        try:
            for labels, value in metric.read(outcome):
                yield metric, names.bounded(metric, labels, outcome), value
        except Exception:
            if metric.name not in _broken:
                _broken.add(metric.name)
                log.exception("a bug in the metric %s, which is not counted", metric.name)


_broken: set[str] = set()


class Metrics:
    """The sink that counts; those not that a pattern of *off* names. ``text`` is the page."""

    def __init__(self, off: Sequence[str] = ()) -> None:
        self._counts = {each: _Distributed(each) if each.bounds else _Counted(each) for each in kept(off)}
        self._names = Names()

    def started(self, began: Began) -> None:
        """Counted at the end."""

    def first_content(self, began: Began, seconds: float) -> None:
        """Counted at the end."""

    def ended(self, began: Began, outcome: Outcome) -> None:
        """Count one exchange."""
        for metric, labels, value in readings(self._counts, self._names, outcome):
            self._counts[metric].add(labels, value)

    def text(
        self,
        open_streams: int,
        h2: Mapping[str, int | Mapping[str, int]] | None = None,
        side_calls: Mapping[str, int] | None = None,
        queued: Iterable[QueuedSink] = (),
        spent: Mapping[str, tuple[int, float]] | None = None,
    ) -> str:
        """The page. *open_streams*, the counters of the h2 transport, what became of *side_calls* what *queued*
        sinks have dropped, and for how many messages of each phase how many seconds were *spent* are read when they are
        asked for."""
        page: list[str] = []
        for metric, counts in self._counts.items():
            page += _headed(metric.page_name, counts.kind, metric.about, counts.lines())
        name = "extproc_open_streams"
        page += _headed(name, "gauge", "Streams of Envoy's that are open now.", [sample(name, [], open_streams)])
        name = "extproc_side_calls_total"
        called = [sample(name, [("result", result)], count) for result, count in (side_calls or {}).items()]
        page += _headed(name, "counter", "Calls to other services that policies asked for, by their result.", called)
        name = "extproc_sink_dropped_total"
        dropped = [sample(name, [("sink", sink.name)], sink.dropped) for sink in queued]
        page += _headed(name, "counter", "Exchanges that a sink had no room for, or could not write.", dropped)
        by_phase = spent or {}
        name = "extproc_messages_total"
        messages = [sample(name, [("phase", phase)], count) for phase, (count, _) in by_phase.items()]
        page += _headed(name, "counter", "Messages of Envoy's that were answered.", messages)
        name = "extproc_processing_seconds_total"
        seconds = [sample(name, [("phase", phase)], taken) for phase, (_, taken) in by_phase.items()]
        page += _headed(name, "counter", "What answering them took, without what was waited for.", seconds)
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
