"""Metrics by OTLP, to a receiver on loopback that reads them with OpenTelemetry's own messages."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from msgspec.structs import replace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)

from extproc.server.service import Service
from extproc.settings import SettingError, Settings
from extproc.telemetry.metrics import DECLARED
from extproc.telemetry.otlp import Observed, Pusher
from extproc.telemetry.outcome import Began, Ending, Outcome

from ..support.side_service import SideService
from .test_metrics import GEN_AI

BEGAN = Began("translator", 0.0)


OBSERVED = [
    Observed("extproc.open_streams", lambda: {"": 3}, grows=False),
    Observed("extproc.side_calls", lambda: {"answered": 2}, "result", unit="s"),
]


class Receiver(MetricsServiceServicer):
    def __init__(self) -> None:
        self.got: list[ExportMetricsServiceRequest] = []

    def Export(self, request: ExportMetricsServiceRequest, context: Any) -> ExportMetricsServiceResponse:
        self.got.append(request)
        return ExportMetricsServiceResponse()


@pytest.fixture
def http() -> Iterator[SideService]:
    made = SideService()
    made.body, made.headers = b"", {"content-type": "application/x-protobuf"}
    yield made
    made.close()


def told(request: ExportMetricsServiceRequest) -> dict[str, Any]:
    """The metrics by name."""
    return {m.name: m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics}


def attributes(point: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in point.attributes}


def pushed(pusher: Pusher) -> None:
    pusher.write(
        [(BEGAN, GEN_AI), (BEGAN, replace(GEN_AI, ending=Ending.CUT)), (BEGAN, Outcome("router", Ending.PASSED))]
    )
    pusher.close()


def test_over_http(http: SideService) -> None:
    pushed(Pusher(http.url, ["extproc_duration_seconds"], OBSERVED))
    (asked,) = http.asked
    assert asked.path == "/v1/metrics"
    request = ExportMetricsServiceRequest.FromString(asked.body)
    found = told(request)
    duration = found["gen_ai.server.request.duration"]
    assert duration.unit == "s" and len(duration.histogram.data_points) == 2
    (cut,) = [p for p in duration.histogram.data_points if attributes(p).get("error.type") == "cut"]
    assert attributes(cut)["gen_ai.response.model"] == "gpt-5-2026" and cut.sum == 1.5
    usage = found["gen_ai.client.token.usage"]
    assert usage.unit == "{token}" and list(usage.histogram.data_points[0].explicit_bounds)[:3] == [1, 4, 16]
    kinds = {attributes(p)["gen_ai.token.type"] for p in usage.histogram.data_points}
    assert kinds == {"input", "output", "cached_input", "cache_creation_input", "reasoning"}
    assert {attributes(p)["role"]: p.as_double or p.as_int for p in found["extproc.exchanges"].sum.data_points}[
        "router"
    ] == 1
    assert [p.as_int for p in found["extproc.open_streams"].gauge.data_points] == [3]
    assert "extproc.duration" not in found
    assert set(found) <= {m.otel_name for m in DECLARED} | {each.name for each in OBSERVED}
    (calls,) = found["extproc.side_calls"].sum.data_points
    assert (attributes(calls), calls.as_int, found["extproc.side_calls"].unit) == ({"result": "answered"}, 2, "s")
    resource = {pair.key: pair.value.string_value for pair in request.resource_metrics[0].resource.attributes}
    assert resource["service.name"] == "extproc" and resource["service.instance.id"]


def test_over_grpc() -> None:
    receiver = Receiver()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add_MetricsServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        pushed(Pusher(f"grpc://127.0.0.1:{port}", [], []))
    finally:
        server.stop(None)
    assert "gen_ai.server.time_to_first_token" in told(receiver.got[-1])


def test_a_service_pushes_at_its_end(http: SideService) -> None:
    service = Service(Settings(otlp_metrics=f"{http.url}/otel/v1/metrics"))
    service.open().close()
    service.close()
    assert http.asked[-1].path == "/otel/v1/metrics"
    found = told(ExportMetricsServiceRequest.FromString(http.asked[-1].body))
    assert found["extproc.exchanges"].sum.is_monotonic
    assert {attributes(p)["sink"] for p in found["extproc.sink_dropped"].sum.data_points} == {"otlp"}
    assert [p.as_int for p in found["extproc.open_streams"].gauge.data_points] == [0]


def test_it_needs_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.metrics", None)
    with pytest.raises(SettingError, match=r"pip install 'extproc-llm\[otlp\]'"):
        Service(Settings(otlp_metrics="http://127.0.0.1:1"))


def test_every_metric_has_a_name_that_collectors_turn_back() -> None:
    for metric in DECLARED:
        suffix = "_seconds" if metric.unit == "s" else ""
        back = metric.otel_name.replace(".", "_") + suffix + ("" if metric.bounds else "_total")
        assert back == metric.page_name
