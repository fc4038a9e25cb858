"""Spans by OTLP, to receivers on loopback that read them with OpenTelemetry's own messages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from extproc.server.records import spans_to
from extproc.server.service import Service
from extproc.settings import SettingError, Settings
from extproc.telemetry.outcome import Ending
from extproc.telemetry.sinks import Full
from extproc.tracing import otlp
from extproc.tracing.otlp import SpanExporter

from ..support.collector import Collector, attributes, collector
from ..support.upstream import eventually
from .exchanges import BEGAN, DONE, TRACED, content


@pytest.fixture(params=["http", "grpc"])
def receiver(request: pytest.FixtureRequest) -> Iterator[Collector]:
    with collector(request.param) as made:
        yield made


def test_a_span_arrives_as_it_was_said(receiver: Collector) -> None:
    exporter = SpanExporter(receiver.url)
    exporter.write([(BEGAN, replace(DONE, content=content())), (BEGAN, replace(DONE, ending=Ending.CUT))])
    exporter.close()
    done, cut = receiver.spans
    assert (done.trace_id.hex(), done.span_id.hex(), done.parent_span_id.hex()) == (
        TRACED.trace_id, TRACED.span_id, TRACED.parent_id,
    )  # fmt: skip
    assert (done.name, done.kind, done.status.code) == ("chat gpt-5.4-mini", done.SPAN_KIND_CLIENT, 0)
    assert (done.start_time_unix_nano, done.end_time_unix_nano) == (
        1_800_000_000_250_000_000,
        1_800_000_001_750_000_000,
    )
    told = attributes(done)
    assert told["gen_ai.usage.input_tokens"] == 23 and told["gen_ai.response.finish_reasons"] == ["tool_call"]
    assert '"name":"get_weather"' in told["gen_ai.output.messages"]
    assert [event.name for event in done.events] == ["extproc.loss", "extproc.first_content", "extproc.loss"]
    assert attributes(done.events[0]) == {"extproc.loss.path": "top_k", "extproc.loss.action": "dropped"}
    assert (cut.status.code, cut.status.message) == (cut.status.STATUS_CODE_ERROR, "cut")
    assert "gen_ai.output.messages" not in attributes(cut)


def test_who_sends_it(receiver: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway-7")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=seven")
    exporter = SpanExporter(receiver.url)
    exporter.write([(BEGAN, DONE)])
    exporter.close()
    if receiver.http is None:
        (request,) = receiver.requests
        assert attributes(request.resource_spans[0].resource)["service.name"] == "gateway-7"
    else:
        (asked,) = receiver.http.asked
        assert (asked.path, asked.headers["x-team"]) == ("/v1/traces", "seven")


def test_content_is_sent_in_requests_of_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = content()
    monkeypatch.setattr(otlp, "MAX_BYTES", 2 * kept.size)
    with collector("grpc") as receiver:
        exporter = SpanExporter(receiver.url)
        exporter.write([(BEGAN, replace(DONE, content=kept))] * 5 + [(BEGAN, DONE)])
        exporter.close()
        sizes = [len(request.resource_spans[0].scope_spans[0].spans) for request in receiver.requests]
    assert sizes == [2, 2, 2]


def test_what_the_collector_does_not_take_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with collector("http") as receiver:
        assert receiver.http is not None
        receiver.http.status = 400
        exporter = SpanExporter(receiver.url)
        with pytest.raises(Full) as error:
            exporter.write([(BEGAN, DONE), (BEGAN, DONE)])
        assert error.value.lost == 2
        sink = spans_to(exporter, Settings())
        sink.ended(BEGAN, DONE)
        sink.ended(BEGAN, replace(DONE, trace=None))
        sink.close()
        exporter.close()
        assert (sink.name, sink.dropped) == ("traces", 1)


def test_a_bug_in_one_span_loses_no_other(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with collector("http") as receiver:
        exporter = SpanExporter(receiver.url)
        with pytest.raises(Full) as error:
            exporter.write([(BEGAN, replace(DONE, trace=None)), (BEGAN, DONE)])
        exporter.close()
        assert error.value.lost == 1 and len(receiver.spans) == 1 and "a bug in a span" in caplog.text


def test_a_slow_collector_holds_up_nobody_and_a_full_queue_is_counted() -> None:
    with collector("http") as receiver:
        assert receiver.http is not None
        receiver.http.gate.clear()
        exporter = SpanExporter(receiver.url)
        sink = spans_to(exporter, Settings(records_queued=1))
        sink.ended(BEGAN, DONE)
        assert eventually(lambda: sink.waiting == 0), "the thread has taken it, and waits"
        sink.ended(BEGAN, DONE)
        sink.ended(BEGAN, DONE)
        assert (sink.waiting, sink.dropped) == (1, 1)
        receiver.http.gate.set()
        sink.close()
        exporter.close()
        assert len(receiver.spans) == 2


def test_a_service_sends_what_waits_at_its_end_and_names_what_it_lost() -> None:
    with collector("http") as receiver:
        service = Service(Settings(otlp_traces=f"{receiver.url}/otel/v1/traces", admin="127.0.0.1:0"))
        assert 'extproc_sink_dropped_total{sink="traces"} 0' in service.page({})
        (sink,) = service.queued
        sink.ended(BEGAN, DONE)
        service.close()
        assert receiver.http is not None and receiver.http.asked[-1].path == "/otel/v1/traces"


def test_it_needs_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingError, match=r"--otlp-traces: .*pip install 'extproc-llm\[otlp\]'"):
        Service(Settings(otlp_traces="http://127.0.0.1:1"))
