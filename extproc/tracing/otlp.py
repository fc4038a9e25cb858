"""Spans to a collector by OTLP, with the packages of the extra ``otlp``, whose standard variables say the rest:
headers, certificates, timeouts, who the service is (``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_SERVICE_NAME`` ...)."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from ..telemetry.otlp import exporter, resource
from ..telemetry.sinks import Entry, Full
from .spans import ExchangeSpan, span_of

log = logging.getLogger(__name__)

TRACES_PATH = "/v1/traces"
MAX_BYTES = 1024 * 1024
"""Of content in one request: collectors take 4 MiB by default, and JSON in attributes is longer than what it says."""


class SpanExporter:
    """Exports the spans of ended exchanges. ``write`` is for a queued sink, raises Full, and waits as long as the
    exporter tries; ``close`` once, after it. *endpoint* as for metrics. Raises ModuleNotFoundError."""

    def __init__(self, endpoint: str) -> None:
        self._sdk: Any = importlib.import_module("opentelemetry.sdk.trace")
        self._api: Any = importlib.import_module("opentelemetry.trace")
        self._scope: Any = importlib.import_module("opentelemetry.sdk.util.instrumentation").InstrumentationScope(
            "extproc"
        )
        self._exporter = exporter(endpoint, "trace_exporter.OTLPSpanExporter", TRACES_PATH)
        self._done: Any = importlib.import_module("opentelemetry.sdk.trace.export").SpanExportResult.SUCCESS
        self._resource = resource()

    def write(self, batch: Sequence[Entry]) -> None:
        lost = 0
        for part in _parts(batch):
            spans = [span for entry in part if (span := self._span(entry)) is not None]
            lost += len(part) - len(spans)
            if spans and self._exporter.export(spans) is not self._done:
                lost += len(spans)
        if lost:
            raise Full("the collector did not take them", lost)

    def _span(self, entry: Entry) -> Any:
        """``None`` where a bug is in the way, which is no reason to lose the others."""
        try:
            return self._made(span_of(*entry))
        except Exception:
            log.exception("a bug in a span")
            return None

    def close(self) -> None:
        self._exporter.shutdown()

    def _made(self, span: ExchangeSpan) -> Any:
        """*span* in the words of OpenTelemetry's library."""
        api, sdk, trace = self._api, self._sdk, span.trace
        number = int(trace.trace_id, 16)
        flags = api.TraceFlags(trace.flags)
        parent = api.SpanContext(number, int(trace.parent_id, 16), True, flags) if trace.parent_id else None
        code = api.StatusCode.ERROR if span.error else api.StatusCode.UNSET
        return sdk.ReadableSpan(
            name=span.name,
            context=api.SpanContext(number, int(trace.span_id, 16), False, flags),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            events=[sdk.Event(name, attributes, at) for name, at, attributes in span.events],
            kind=api.SpanKind.CLIENT if span.asks else api.SpanKind.INTERNAL,
            status=api.Status(code, span.error or None),
            start_time=span.start,
            end_time=span.end,
            instrumentation_scope=self._scope,
        )


def _parts(batch: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """*batch* in parts with no more content than goes into one request."""
    part: list[Entry] = []
    size = 0
    for entry in batch:
        content = entry[1].content
        more = content.size if content is not None else 0
        if part and size + more > MAX_BYTES:
            yield part
            part, size = [], 0
        part.append(entry)
        size += more
    if part:
        yield part
