from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from extproc.llm.events import Usage
from extproc.telemetry import metrics as module
from extproc.telemetry.metrics import DECLARED, MAX_ERRORS, MAX_MODELS, PROVIDERS, Metrics, counter
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.sinks import QueuedSink

DONE = Outcome(
    "translator",
    Ending.COMPLETE,
    client="anthropic_messages",
    upstream="openai_chat",
    provider="openai",
    model_sent="gpt-5",
    stream=True,
    status=200,
    usage=Usage(input_tokens=11, output_tokens=5, cache_read_tokens=3),
    losses=("top_k:dropped", "messages[0].content:rewritten", "thinking:dropped"),
    seconds=1.5,
    first_content_seconds=0.25,
)


BEGAN = Began("translator", 0.0)


def page(*outcomes: Outcome) -> list[str]:
    metrics = Metrics()
    for outcome in outcomes:
        metrics.ended(BEGAN, outcome)
    return metrics.text(2).splitlines()


@pytest.mark.rows("F16")
def test_an_exchange_is_counted_by_who_and_how() -> None:
    lines = page(DONE, DONE, replace(DONE, ending=Ending.CUT), replace(DONE, status=0, ending=Ending.CANCELLED))
    who = 'role="translator",client="anthropic_messages",upstream="openai_chat",provider="openai"'
    assert f'extproc_exchanges_total{{{who},ending="complete",status="2xx"}} 2' in lines
    assert f'extproc_exchanges_total{{{who},ending="cut",status="2xx"}} 1' in lines
    assert f'extproc_exchanges_total{{{who},ending="cancelled",status="none"}} 1' in lines
    assert "extproc_open_streams 2" in lines


def test_tokens_by_type_and_losses_by_action() -> None:
    lines = page(DONE, DONE)
    for kind, count in (("input", 22), ("output", 10), ("cache_read", 6)):
        assert f'extproc_tokens_total{{type="{kind}",provider="openai",model="gpt-5"}} {count}' in lines
    assert not [line for line in lines if "reasoning" in line and "model=" in line], "unknown is not zero"
    assert 'extproc_losses_total{action="dropped",client="anthropic_messages",upstream="openai_chat"} 4' in lines


def test_histograms_count_upwards() -> None:
    lines = page(DONE, replace(DONE, seconds=0.25), replace(DONE, seconds=5000.0, first_content_seconds=None))
    labels = 'role="translator",provider="openai",stream="true"'
    for mark, count in (("0.1", 0), ("0.25", 1), ("1", 1), ("2.5", 2), ("900", 2), ("+Inf", 3)):
        assert f'extproc_duration_seconds_bucket{{{labels},le="{mark}"}} {count}' in lines
    assert f"extproc_duration_seconds_sum{{{labels}}} 5001.75" in lines
    assert f"extproc_duration_seconds_count{{{labels}}} 3" in lines
    assert 'extproc_first_token_seconds_count{provider="openai",upstream="openai_chat"} 2' in lines


@pytest.mark.parametrize(("error", "counted"), [("route_error", True), ("misconfigured", True), ("refused", False)])
def test_the_operators_faults_stand_apart(error: str, counted: bool) -> None:
    lines = page(replace(DONE, error=error))
    assert (f'extproc_route_errors_total{{error="{error}"}} 1' in lines) is counted


def test_names_from_outside_are_bounded() -> None:
    many = [replace(DONE, model_sent=f"m{n}") for n in range(MAX_MODELS + 50)]
    lines = page(replace(DONE, model_sent="x" * 9999), *many)
    models = {match[1] for line in lines if (match := re.search(r',model="([^"]*)"', line))}
    assert len(models) == MAX_MODELS + 1 and "other" in models
    assert max(map(len, models)) == 64
    assert 'extproc_tokens_total{type="input",provider="openai",model="other"} 561' in lines


def test_a_model_that_nobody_answered_for_takes_no_place() -> None:
    metrics = Metrics()
    for number in range(2 * MAX_MODELS):
        metrics.ended(BEGAN, replace(DONE, model_sent=f"made-up-{number}", usage=Usage(), status=404))
    metrics.ended(BEGAN, DONE)
    assert 'model="gpt-5"' in metrics.text(0) and "made-up" not in metrics.text(0)


def test_a_strange_name_breaks_no_line() -> None:
    lines = page(replace(DONE, model_sent='a"b\\c\nd\ud800'))
    assert 'extproc_tokens_total{type="input",provider="openai",model="a\\"b\\\\c\\nd?"} 11' in lines
    assert all(re.fullmatch(r"#.*|[a-z0-9_]+(\{.*\})? [0-9.e+]+", line) for line in lines)


@pytest.mark.rows("B36", "F16")
def test_every_metric_is_declared_before_its_samples() -> None:
    declared: set[str] = set()
    metrics = Metrics()
    metrics.ended(BEGAN, replace(DONE, error="misconfigured"))
    for line in metrics.text(0, {"resets": 3, "abuse": {"max_pings": 1}}).splitlines():
        if line.startswith("# TYPE"):
            declared.add(line.split()[2])
        elif not line.startswith("#"):
            name = line.partition("{")[0].partition(" ")[0]
            assert name in declared or re.sub("_(bucket|sum|count)$", "", name) in declared
    assert {metric.page_name for metric in DECLARED} <= declared
    assert {"extproc_h2_resets_total", "extproc_h2_abuse_total", "extproc_tokens_total"} <= declared


@pytest.mark.rows("B36")
def test_the_transports_own_counters() -> None:
    lines = Metrics().text(0, {"resets": 3, "abuse": {"max_pings": 1}}).splitlines()
    assert "extproc_h2_resets_total 3" in lines and 'extproc_h2_abuse_total{bound="max_pings"} 1' in lines


def test_a_metric_is_declared_once_and_is_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.telemetry.metrics.DECLARED", list(DECLARED))
    counter("extproc_new_total", "What a newcomer counts.", "finish")(lambda outcome: [((outcome.finish,), 2.0)])
    assert 'extproc_new_total{finish="end_turn"} 2' in page(replace(DONE, finish="end_turn"))


def test_what_queued_sinks_dropped_is_on_the_page() -> None:
    sink = QueuedSink("kafka", lambda batch: None, bound=0)
    sink.ended(BEGAN, DONE)
    sink.close()
    assert 'extproc_sink_dropped_total{sink="kafka"} 1' in Metrics().text(0, queued=[sink]).splitlines()


WHO = (
    'gen_ai_operation_name="chat",gen_ai_provider_name="{provider}",gen_ai_original_model="{asked}",'
    'gen_ai_request_model="gpt-5",gen_ai_response_model="{answered}",extproc_route="openai",'
    'extproc_client="anthropic_messages",extproc_upstream="openai_chat"'
)
GEN_AI = replace(
    DONE, operation="chat", route="openai", model_asked="gpt-5", model_answered="gpt-5-2026", upstream_seconds=1.25,
    first_token_seconds=0.05, usage=Usage(11, 5, 3, 2, 1),
)  # fmt: skip


def test_by_opentelemetrys_names() -> None:
    lines = page(GEN_AI)
    who = WHO.format(provider="openai", asked="gpt-5", answered="gpt-5-2026")
    used = {"input": 11, "output": 5, "cached_input": 3, "cache_creation_input": 2, "reasoning": 1}
    for kind, count in used.items():
        assert f'gen_ai_client_token_usage_sum{{{who},gen_ai_token_type="{kind}"}} {count}' in lines
    assert f'gen_ai_client_token_usage_bucket{{{who},gen_ai_token_type="input",le="16"}} 1' in lines
    assert f'gen_ai_server_request_duration_seconds_sum{{{who},error_type=""}} 1.5' in lines
    assert f"gen_ai_server_time_to_first_token_seconds_sum{{{who}}} 0.25" in lines
    assert f"gen_ai_server_time_per_output_token_seconds_sum{{{who}}} 0.3" in lines


@pytest.mark.parametrize(("ours", "theirs"), PROVIDERS.items())
def test_providers_have_the_conventions_names(ours: str, theirs: str) -> None:
    assert any(f'gen_ai_provider_name="{theirs}"' in line for line in page(replace(GEN_AI, provider=ours)))


@pytest.mark.parametrize(
    ("ending", "error", "told"),
    [(Ending.COMPLETE, "", ""), (Ending.CANCELLED, "", "cancelled"), (Ending.CUT, "", "cut"),
     (Ending.FAILED, "rate_limit", "rate_limit"), (Ending.REFUSED, "refused", "refused")],
)  # fmt: skip
def test_each_ending_has_its_error(ending: Ending, error: str, told: str) -> None:
    lines = page(replace(GEN_AI, ending=ending, error=error))
    found = [line for line in lines if line.startswith("gen_ai_server_request_duration_seconds_count{")]
    assert len(found) == 1 and f'error_type="{told}"' in found[0]


def test_what_has_no_upstream_or_no_stream_has_none_of_them() -> None:
    lines = page(Outcome("router", Ending.PASSED), Outcome("translator", Ending.CANCELLED))
    assert not [line for line in lines if line.startswith("gen_ai")]
    whole = page(replace(GEN_AI, stream=False, first_content_seconds=None))
    assert not [line for line in whole if line.startswith("gen_ai_server_time")]


def test_models_that_clients_make_up_take_no_place_and_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SERIES", 50)
    made_up = [
        replace(
            GEN_AI,
            model_asked=f"made-up-{n}",
            model_answered="",
            usage=Usage(),
            error=f"e{n}",
            ending=Ending.FAILED,
            first_content_seconds=None,
        )
        for n in range(200)
    ]
    lines = page(*made_up, *(replace(GEN_AI, model_asked=f"true-{n}", route=f"r{n}") for n in range(60)))
    text = "\n".join(lines)
    assert "made-up" not in text and "true-1" in text
    errors = {match[1] for line in lines if (match := re.search(r'error_type="([^"]*)"', line))}
    assert len(errors) == MAX_ERRORS + 2 and "other" in errors
    durations = [line for line in lines if line.startswith("gen_ai_server_time_to_first_token_seconds_count{")]
    assert len(durations) == 60 and sum('gen_ai_request_model="other"' in line for line in durations) == 10


def test_waits_and_the_sidecars_own_time() -> None:
    metrics = Metrics()
    metrics.ended(BEGAN, replace(DONE, waits=(("credential", 0.02), ("policy", 0.5), ("policy", 0.25))))
    text = metrics.text(0, spent={"request_body": (3, 0.5)})
    assert 'extproc_wait_seconds_sum{for="policy"} 0.75' in text and 'wait_seconds_count{for="credential"} 1' in text
    assert 'extproc_messages_total{phase="request_body"} 3' in text
    assert 'extproc_processing_seconds_total{phase="request_body"} 0.5' in text


@pytest.mark.rows("B36")
def test_a_metric_that_is_off_is_not_there_and_harms_none() -> None:
    metrics = Metrics(["gen_ai_*", "extproc_tokens_total"])
    metrics.ended(BEGAN, GEN_AI)
    text = metrics.text(0)
    assert "gen_ai" not in text and "extproc_tokens" not in text and "extproc_exchanges_total{" in text


@pytest.mark.rows("B36")
def test_a_metric_that_cannot_be_read_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "DECLARED", list(DECLARED))
    counter("extproc_broken_total", "What breaks.", "x")(lambda outcome: [(("x",), 1 / 0)])
    counter("extproc_last_total", "What is behind it.", "x")(lambda outcome: [(("x",), 1)])
    lines = page(GEN_AI, GEN_AI)
    assert 'extproc_last_total{x="x"} 2' in lines
    assert caplog.text.count("a bug in the metric extproc_broken_total") == 1


def test_what_exchanges_cost() -> None:
    lines = page(replace(DONE, cost_usd=0.25), replace(DONE, cost_usd=0.000001), replace(DONE, unpriced=True), DONE)
    assert 'extproc_cost_usd_total{provider="openai",model="gpt-5"} 0.250001' in lines
    assert 'extproc_unpriced_total{provider="openai"} 1' in lines
