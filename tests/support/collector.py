"""Receivers of OTLP on loopback, over both of its protocols, that read spans with OpenTelemetry's own messages."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from .side_service import SideService


class Collector(TraceServiceServicer):
    """``spans`` are those that came, the oldest first."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.url = ""
        self.http: SideService | None = None

    def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:
        self.requests.append(request)
        return ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Any]:
        came = [*self.requests]
        if self.http is not None:
            came = [ExportTraceServiceRequest.FromString(asked.body) for asked in self.http.asked]
        return [span for each in came for r in each.resource_spans for s in r.scope_spans for span in s.spans]

    def of(self, path: str, value: Any) -> list[Any]:
        """Spans whose attribute *path* is *value*, in the order of their beginnings."""
        found = [span for span in self.spans if attributes(span).get(path) == value]
        return sorted(found, key=lambda span: int(span.start_time_unix_nano))


def attributes(span: Any) -> dict[str, Any]:
    """Of a span, an event or a resource."""
    return {pair.key: _value(pair.value) for pair in span.attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)


@contextmanager
def collector(protocol: str) -> Iterator[Collector]:
    """One that runs: over ``http`` or ``grpc``."""
    made = Collector()
    if protocol == "http":
        made.http = SideService()
        made.http.body, made.http.headers = b"", {"content-type": "application/x-protobuf"}
        made.url = made.http.url
        try:
            yield made
        finally:
            made.http.close()
        return
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(made, server)  # type: ignore[no-untyped-call]
    made.url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield made
    finally:
        server.stop(None)
