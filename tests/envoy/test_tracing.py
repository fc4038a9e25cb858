"""Traces through a real Envoy, to a receiver of OTLP: a span of each attempt, below Envoy's own where it has some."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from extproc.demo import as_openai
from extproc.demo.processes import Envoy, Sidecar
from tests.support import placements
from tests.support.collector import Collector, attributes, collector
from tests.support.gateway import CLIENT_KEY, KEYS, Backends, Gateway, configured
from tests.support.upstream import eventually

SPAN = "00f067aa0ba902b7"
LOGGED = "logging: {span_content: true}\n"
TOOL = {"name": "get_weather", "input_schema": {"type": "object"}}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Collector]:
    with collector("grpc") as made:
        yield made


@pytest.fixture(scope="module")
def sidecar(receiver: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("sidecar")
    with Sidecar(folder, environ=KEYS, arguments=("--otlp-traces", receiver.url)) as made:
        yield made


@pytest.fixture(scope="module", params=["alone", "traced"])
def envoy(
    request: pytest.FixtureRequest, shared: Backends, sidecar: Sidecar, receiver: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:  # fmt: skip
    """An Envoy that knows nothing of traces, and one that has spans of its own."""
    folder = tmp_path_factory.mktemp("envoy")
    own = replace(shared, sidecar=sidecar)
    config = configured(own, "one-stream", folder / "access.log")
    placements.add_route(config, "told", "openai", placements.OPENAI + LOGGED)
    if request.param == "traced":
        with_envoys_spans(config, receiver)
    with Envoy(folder, config) as made:
        yield Gateway(request.param, made, own, folder / "access.log")


def with_envoys_spans(config: dict[str, Any], receiver: Collector) -> None:
    """Envoy's own tracing, to the same collector, of all requests whose client does not say otherwise."""
    made = placements.add_cluster(config, "collector", "openai", int(receiver.url.rpartition(":")[2]))
    made.pop("transport_socket", None)
    made["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
    placements.manager(config)["tracing"] = {
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "grpc_service": {"envoy_grpc": {"cluster_name": "collector"}},
                "service_name": "envoy",
            },
        },
        "spawn_upstream_span": True,
    }
    soon = {"tracing.opentelemetry.min_flush_spans": 1}
    config.setdefault("layered_runtime", {"layers": []})["layers"].append({"name": "soon", "static_layer": soon})


def ask(envoy: Gateway, model: str, trace: str, flags: str = "01", **members: Any) -> Any:
    headers = {"x-api-key": CLIENT_KEY, "traceparent": f"00-{trace}-{SPAN}-{flags}"}
    asked = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}], **members}
    reply = envoy.send("/v1/messages", asked, headers)
    assert reply.status == 200, reply.body
    return reply


def ours(receiver: Collector, trace: str, count: int = 1) -> list[Any]:
    """The sidecar's spans of *trace*, in the order of their beginnings, once there are so many."""
    found: list[Any] = []

    def look() -> bool:
        spans = [span for role in ("translator", "router") for span in receiver.of("extproc.role", role)]
        found[:] = [span for span in spans if span.trace_id.hex() == trace]
        return len(found) >= count

    assert eventually(look, 15), [(span.name, attributes(span)) for span in receiver.spans]
    assert len(found) == count
    return found


@pytest.mark.rows("F16")
def test_each_attempt_has_a_span_and_the_provider_is_asked_within_it(envoy: Gateway, receiver: Collector) -> None:
    envoy.backends.reset()
    envoy.openai_upstream.will(as_openai.failure(503, "not now", "server_error"))
    trace = secrets.token_hex(16)
    ask(envoy, "best", trace, top_k=5)
    failed, done = ours(receiver, trace, 2)
    for span, upstream in ((failed, envoy.openai_upstream), (done, envoy.anthropic_upstream)):
        assert upstream.last.header("traceparent") == f"00-{trace}-{span.span_id.hex()}-01"
    told = attributes(failed)
    assert (failed.name, told["error.type"], failed.status.code) == ("chat gpt-5", "overloaded", 2)
    (loss,) = failed.events
    assert attributes(loss)["extproc.loss.path"] == "top_k"
    assert failed.start_time_unix_nano < loss.time_unix_nano < failed.end_time_unix_nano, "when it was sent"
    assert attributes(done)["http.request.resend_count"] == 1 and done.status.code == 0
    assert attributes(done)["gen_ai.usage.output_tokens"] > 0 and not done.events
    parents = [span.parent_span_id.hex() for span in (failed, done)]
    if envoy.placement == "alone":
        assert parents == [SPAN, SPAN]
        return
    # Envoy's own span of each attempt stands between.
    assert eventually(lambda: set(parents) <= {span.span_id.hex() for span in receiver.spans}, 15)
    assert len(set(parents)) == 2


def test_a_streamed_call_is_whole_in_its_span_where_the_route_allows_content(
    envoy: Gateway, receiver: Collector
) -> None:
    envoy.backends.reset()
    trace = secrets.token_hex(16)
    ask(envoy, "told", trace, tools=[TOOL], stream=True)
    (span,) = ours(receiver, trace)
    told = attributes(span)
    (answer,) = json.loads(told["gen_ai.output.messages"])
    (call,) = [part for part in answer["parts"] if part["type"] == "tool_call"]
    assert (call["name"], call["arguments"], answer["finish_reason"]) == ("get_weather", {"city": "Paris"}, "tool_call")
    (asked,) = json.loads(told["gen_ai.input.messages"])
    assert asked == {"role": "user", "parts": [{"type": "text", "content": "hi"}]}
    assert "extproc.first_content" in [event.name for event in span.events]
    text = repr(told)
    assert not [key for key in (CLIENT_KEY, *KEYS.values()) if key in text]
    # A listener's filter comes before Envoy's own span of the attempt, which is then what the provider sees.
    seen = envoy.openai_upstream.last.header("traceparent") or ""
    assert seen.split("-")[1] == trace and (seen.split("-")[2] == span.span_id.hex()) is (envoy.placement == "alone")


def test_a_client_that_says_not_to_sample_is_obeyed(envoy: Gateway, receiver: Collector) -> None:
    envoy.backends.reset()
    quiet, loud = secrets.token_hex(16), secrets.token_hex(16)
    ask(envoy, "told", quiet, "00")
    ask(envoy, "gpt-5", loud)
    (span,) = ours(receiver, loud)
    assert "gen_ai.input.messages" not in attributes(span), "content only where the route says so"
    ours(receiver, quiet, 0)
    first = envoy.openai_upstream.received[0].header("traceparent") or ""
    assert first.split("-")[1] == quiet and first.endswith("-00")
