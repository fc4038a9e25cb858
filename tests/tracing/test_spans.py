"""One exchange as a span."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.tracing.spans import FIRST_CONTENT, LOSS, is_traced, span_of

from .exchanges import BEGAN, DONE, TRACED, content


def test_what_a_span_says() -> None:
    span = span_of(BEGAN, DONE)
    assert (span.name, span.trace, span.error, span.asks) == ("chat gpt-5.4-mini", TRACED, "", True)
    assert (span.start, span.end - span.start) == (1_800_000_000_250_000_000, 1_500_000_000)
    assert span.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.original.model": "best",
        "gen_ai.request.model": "gpt-5.4-mini",
        "gen_ai.response.model": "gpt-5.4-mini-2026-03-17",
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ("tool_call",),
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 23,
        "gen_ai.usage.output_tokens": 8,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.usage.cache_creation.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 3,
        "http.request.method": "POST",
        "http.request.resend_count": 1,
        "http.response.status_code": 200,
        "url.path": "/v1/messages",
        "extproc.request_id": "id-1",
        "extproc.role": "translator",
        "extproc.route": "my-route",
        "extproc.client": "anthropic_messages",
        "extproc.upstream": "openai_chat",
        "extproc.ending": "complete",
        "extproc.tool_calls": 1,
        "extproc.cost_usd": 0.00012,
        "extproc.wait.credential": 0.125,
    }


def test_losses_and_the_first_content_are_events() -> None:
    span = span_of(BEGAN, DONE)
    assert span.events == [
        (LOSS, span.start + 100_000_000, {"extproc.loss.path": "top_k", "extproc.loss.action": "dropped"}),
        (FIRST_CONTENT, span.start + 250_000_000, {}),
        (LOSS, span.end, {"extproc.loss.path": "messages[0].content[1]", "extproc.loss.action": "rewritten"}),
    ]


def test_what_was_lost_of_a_request_that_was_not_sent_was_lost_at_its_end() -> None:
    span = span_of(BEGAN, replace(DONE, sent_seconds=None))
    assert [at for name, at, _ in span.events if name == LOSS] == [span.end, span.end]


@pytest.mark.parametrize(
    ("ending", "error", "said"),
    [
        (Ending.COMPLETE, "", ""),
        (Ending.ANSWERED, "", ""),
        (Ending.CUT, "", "cut"),
        (Ending.CANCELLED, "", "cancelled"),
        (Ending.FAILED, "rate_limit_exceeded", "rate_limit_exceeded"),
        (Ending.REFUSED, "refused", "refused"),
    ],
)
def test_errors_and_cuts(ending: Ending, error: str, said: str) -> None:
    span = span_of(BEGAN, replace(DONE, ending=ending, error=error))
    assert (span.error, span.attributes.get("error.type", "")) == (said, said)
    assert span.asks is (ending not in (Ending.REFUSED, Ending.ANSWERED))


def test_of_what_was_refused_unread_little_is_known() -> None:
    outcome = Outcome("router", Ending.REFUSED, client="openai_chat", status=404, error="not_found", trace=TRACED)
    span = span_of(Began("router", 5.0, method="GET", path="/v1/x"), outcome)
    assert span.name == "GET openai_chat" and not span.asks
    assert span.attributes["http.response.status_code"] == 404 and "gen_ai.operation.name" not in span.attributes
    assert span_of(Began("router", 5.0), replace(outcome, client="")).name == "request unknown"


def test_only_what_is_sampled_and_ours_has_one() -> None:
    assert is_traced(DONE) and not is_traced(replace(DONE, trace=None))
    assert not is_traced(replace(DONE, ending=Ending.PASSED))


def test_content_stands_in_it_only_where_it_is_kept() -> None:
    assert not [name for name in span_of(BEGAN, DONE).attributes if "messages" in name]
    span = span_of(BEGAN, replace(DONE, content=content()))
    assert {"gen_ai.input.messages", "gen_ai.output.messages"} <= set(span.attributes)
