"""Metrics pushed to a collector by OTLP, each process its own: those that ``metrics`` declares, by their names for
OpenTelemetry. Needs the packages of the extra ``otlp``, whose standard variables say the rest: headers, certificates,
intervals (``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_METRIC_EXPORT_INTERVAL`` ...).
"""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ..frozen import Frozen
from .metrics import Metric, Names, kept, readings
from .sinks import Entry

NO_OTLP = "OTLP needs more packages: pip install 'extproc-llm[otlp]'"
METRICS_PATH = "/v1/metrics"
CLOSE_SECONDS = 5.0


class Observed(Frozen):
    """A number that is kept elsewhere, and asked for when it is pushed: ``read`` gives its values by the one *label*
    that tells them apart, by an empty text where there is none. What *grows* is a counter, else it is a gauge."""

    name: str
    read: Callable[[], Mapping[str, float]]
    label: str = ""
    grows: bool = True
    unit: str = ""


class Pusher:
    """Records ended exchanges and pushes what they add up to. ``write`` is for a queued sink; ``close`` once, after it.

    *endpoint*: ``http://host:4318`` or https, for OTLP over HTTP (to ``/v1/metrics``, or to the path that is given);
    ``grpc://host:4317`` or grpcs, for OTLP over gRPC. *off*: patterns of metrics that are not kept. *observed* are
    pushed beside them. Raises ModuleNotFoundError.
    """

    def __init__(self, endpoint: str, off: Sequence[str], observed: Iterable[Observed]) -> None:
        sdk: Any = importlib.import_module("opentelemetry.sdk.metrics")
        export: Any = importlib.import_module("opentelemetry.sdk.metrics.export")
        view: Any = importlib.import_module("opentelemetry.sdk.metrics.view")
        metrics = kept(off)
        reader = export.PeriodicExportingMetricReader(
            exporter(endpoint, "metric_exporter.OTLPMetricExporter", METRICS_PATH)
        )
        self._provider: Any = sdk.MeterProvider(
            [reader],
            resource=resource(),
            views=[
                view.View(
                    instrument_name=metric.otel_name,
                    aggregation=view.ExplicitBucketHistogramAggregation(metric.bounds),
                )
                for metric in metrics
                if metric.bounds
            ],
        )
        self._names = Names()
        self._add = _instruments(self._provider.get_meter("extproc"), metrics, observed)

    def write(self, batch: Sequence[Entry]) -> None:
        """Add all of *batch*."""
        for _, outcome in batch:
            for metric, labels, value in readings(self._add, self._names, outcome):
                told = {name: text for name, text in zip(metric.labels, labels, strict=True) if text}
                self._add[metric](value, told)

    def close(self) -> None:
        """Push what there is, within a bound."""
        self._provider.shutdown(timeout_millis=CLOSE_SECONDS * 1000)


def resource() -> Any:
    """Who we are; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say more, and win. Raises ModuleNotFoundError."""
    resources: Any = importlib.import_module("opentelemetry.sdk.resources")
    who = {"service.name": "extproc", "service.instance.id": _INSTANCE}
    return resources.Resource(who).merge(resources.OTELResourceDetector().detect())


_INSTANCE = str(uuid.uuid4())


def exporter(endpoint: str, name: str, path: str) -> Any:
    """OpenTelemetry's exporter *name*, ``module.class``, to *endpoint*; over HTTP to *path*, unless that names one.
    Raises ModuleNotFoundError."""
    parts = urlsplit(endpoint)
    module, _, kind = name.partition(".")
    over = "grpc" if parts.scheme in ("grpc", "grpcs") else "http"
    made: Any = getattr(importlib.import_module(f"opentelemetry.exporter.otlp.proto.{over}.{module}"), kind)
    if over == "grpc":
        return made(endpoint=parts.netloc, insecure=parts.scheme == "grpc")
    return made(endpoint=parts._replace(path=parts.path.rstrip("/") or path).geturl())


def _instruments(
    meter: Any, metrics: Iterable[Metric], observed: Iterable[Observed]
) -> dict[Metric, Callable[[float, Mapping[str, str]], None]]:
    observation: Any = importlib.import_module("opentelemetry.metrics").Observation
    made: dict[Metric, Callable[[float, Mapping[str, str]], None]] = {}
    for metric in metrics:
        told = (metric.otel_name, metric.unit or "1", metric.about)
        made[metric] = meter.create_histogram(*told).record if metric.bounds else meter.create_counter(*told).add
    for each in observed:

        def observe(_: Any, each: Observed = each) -> list[Any]:
            # A copy: the server's loop goes on.
            values = dict(each.read())
            return [observation(value, {each.label: text} if text else {}) for text, value in values.items()]

        create = meter.create_observable_counter if each.grows else meter.create_observable_gauge
        create(each.name, [observe], each.unit or "1")
    return made
