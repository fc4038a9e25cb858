"""Whose trace an exchange and its attempts belong to, and what their spans may show."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from extproc.exchange.machine import Exchange, Shared
from extproc.exchange.router import Router
from extproc.exchange.translator import Translator
from extproc.llm.fold import TextBlock, ToolCallBlock
from extproc.telemetry.outcome import Ending
from extproc.telemetry.traceparent import Tracing

from ..support.upstream import chat_chunk, events
from .conversation import ANTHROPIC, OPENAI, Conversation, leaf, shared

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
ASKED: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
SSE = {"content-type": "text/event-stream"}
CONTENT = "logging: {span_content: true}"


def tracing(ratio: float = 1.0, **others: Any) -> Shared:
    numbers = itertools.count(1)
    return msgspec.structs.replace(
        shared(), tracing=Tracing(ratio, lambda bits: next(numbers)), payload_bytes=10_000, **others
    )


def sent(
    exchange: Exchange,
    headers: Sequence[tuple[str, str]] = (),
    route: str = OPENAI,
    *,
    attempt: int = 1,
    recalled: dict[str, Any] | None = None,
    raw: list[tuple[str, str]] | None = None,
    path: str = "/v1/messages",
    **members: Any,
) -> Conversation:
    envoy = Conversation(exchange)
    attributes = {**leaf(route), "upstream.request_attempt_count": float(attempt)}
    envoy.headers(path, list(headers), attributes=attributes, recalled=recalled, raw=raw)
    envoy.body({**ASKED, **members})
    return envoy


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"], ids=["translated", "passed"])
def test_the_provider_is_asked_within_our_span(path: str) -> None:
    envoy = sent(Translator(tracing()), [("traceparent", PARENT), ("tracestate", "a=b")], path=path)
    outcome = envoy.close()
    assert outcome.trace is not None and outcome.trace.parent_id == SPAN
    assert envoy.upstream["traceparent"] == f"00-{TRACE}-{outcome.trace.span_id}-01"
    assert envoy.upstream["tracestate"] == "a=b"


def test_what_was_lost_when_the_request_was_sent_is_told_apart() -> None:
    envoy = sent(Translator(tracing()), top_k=5)
    envoy.answer(200, {"content-type": "application/json"})
    outcome = envoy.close()
    assert (outcome.losses, outcome.request_losses) == (("top_k:dropped",), 1) and outcome.sent_seconds is not None
    refused = sent(Translator(tracing()), model=7).close()
    assert (refused.request_losses, refused.sent_seconds) == (0, None)


def test_without_an_exporter_the_context_passes_as_it_came() -> None:
    envoy = sent(Translator(shared()), [("traceparent", PARENT)])
    assert envoy.upstream["traceparent"] == PARENT and envoy.close().trace is None


def test_who_says_not_to_sample_is_obeyed() -> None:
    unsampled = f"00-{TRACE}-{SPAN}-00"
    envoy = sent(Translator(tracing()), [("traceparent", unsampled)])
    assert envoy.upstream["traceparent"] == unsampled and envoy.close().trace is None


def test_a_trace_begins_here_and_the_provider_is_told_whether_it_is_sampled() -> None:
    envoy = sent(Translator(tracing()))
    made = envoy.close().trace
    assert made is not None and made.parent_id == "" and envoy.upstream["traceparent"] == made.header
    envoy = sent(Translator(tracing(0.0)))
    assert envoy.upstream["traceparent"].endswith("-02") and envoy.close().trace is None


def test_an_upload_that_passes_unread_is_asked_within_our_span_too() -> None:
    envoy = Conversation(Translator(tracing()))
    envoy.headers("/v1/files", [("traceparent", PARENT), ("content-type", "multipart/form-data; boundary=x")],
                  attributes=leaf(OPENAI[:-1] + ", endpoints: all}"))  # fmt: skip
    made = envoy.close().trace
    assert made is not None and envoy.upstream["traceparent"] == made.header


def attempts(first: Conversation, shared_: Shared, fresh: str | None = None) -> Conversation:
    """The attempt behind *first*, at another provider: it finds the headers that the first one left; or *fresh*, that
    Envoy's own tracing has set."""
    raw = [pair for pair in first.request if not (fresh and pair[0] == "traceparent")]
    raw += [("traceparent", fresh)] if fresh else []
    return sent(Translator(shared_), route=ANTHROPIC, attempt=2, recalled=first.left, raw=raw)


@pytest.mark.parametrize("headers", [[], [("traceparent", PARENT)]], ids=["begun here", "begun by the client"])
def test_each_attempt_has_a_span_of_its_own_in_one_trace(headers: list[tuple[str, str]]) -> None:
    common = tracing()
    first = sent(Translator(common), headers)
    second = attempts(first, common)
    third = attempts(second, common)
    made = [each.close().trace for each in (first, second, third)]
    spans = [each.span_id for each in made if each is not None]
    assert len(set(spans)) == 3
    assert {each.trace_id for each in made if each} == {TRACE if headers else "0" * 31 + "1"}
    assert {each.parent_id for each in made if each} == {SPAN if headers else ""}
    assert third.upstream["traceparent"].split("-")[2] == spans[2]


def test_a_trace_that_is_not_sampled_stays_so() -> None:
    common = tracing(0.0)
    first = sent(Translator(common))
    second = attempts(first, common)
    ids = {each.upstream["traceparent"].split("-")[1] for each in (first, second)}
    assert len(ids) == 1 and second.upstream["traceparent"].endswith("-02") and second.close().trace is None


def test_envoys_own_span_of_an_attempt_is_its_parent() -> None:
    common = tracing()
    first = sent(Translator(common), [("traceparent", PARENT)])
    second = attempts(first, common, fresh=f"00-{TRACE}-{'a' * 16}-01")
    made = second.close().trace
    assert made is not None and made.parent_id == "a" * 16
    third = attempts(second, common, fresh=f"00-{TRACE}-{'b' * 16}-00")
    assert third.close().trace is None and third.upstream["traceparent"] == f"00-{TRACE}-{'b' * 16}-00"


def test_a_refusal_of_the_routers_has_a_span() -> None:
    envoy = Conversation(Router(tracing()))
    models = {"xds.virtual_host_metadata.filter_metadata['extproc']['models']": "good: {}\n"}
    envoy.headers("/v1/messages", [("traceparent", PARENT)], attributes=models)
    envoy.body({**ASKED, "model": "bad"})
    outcome = envoy.close()
    assert (outcome.ending, outcome.status) == (Ending.REFUSED, 404)
    assert outcome.trace is not None and outcome.trace.parent_id == SPAN


TOOL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a'}}
MORE = {"index": 0, "function": {"arguments": '": 1}'}}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"], ids=["translated", "passed"])
def test_content_is_kept_whole_where_the_route_allows_it(path: str) -> None:
    envoy = sent(Translator(tracing()), route=f"{OPENAI[:-1]}, {CONTENT}}}", stream=True, path=path)
    envoy.answer(200, SSE)
    for chunk in events(
        chat_chunk(content="Let "), chat_chunk(content="me."), chat_chunk(tool_calls=[TOOL]),
        chat_chunk(tool_calls=[MORE]), chat_chunk("tool_calls"), done=True,
    ):  # fmt: skip
        envoy.chunk(chunk)
    envoy.chunk(b"", end=True)
    outcome = envoy.close()
    assert outcome.content is not None and outcome.payloads is None, "it is for the span alone"
    assert msgspec.json.decode(outcome.content.asking() or b"")["messages"] == ASKED["messages"]
    answer, cut = outcome.content.answer()
    text, call = answer.blocks
    assert isinstance(text, TextBlock) and isinstance(call, ToolCallBlock)
    assert (text.text, call.name, call.input, cut) == ("Let me.", "f", '{"a": 1}', False)
    assert outcome.payload_bytes == outcome.content.size > 0
    assert outcome.content.shown()["upstream"] == {}, "bodies are for records"


@pytest.mark.parametrize(
    ("headers", "logging"),
    [([("traceparent", f"00-{TRACE}-{SPAN}-00")], CONTENT), ([], "logging: {summaries: true}")],
    ids=["not sampled", "not allowed"],
)
def test_content_is_not_kept_otherwise(headers: list[tuple[str, str]], logging: str) -> None:
    exchange = Translator(tracing())
    outcome = sent(exchange, headers, f"{OPENAI[:-1]}, {logging}}}").close()
    assert exchange.payloads is None and outcome.content is None


def test_content_that_nobody_gets_is_said(caplog: pytest.LogCaptureFixture) -> None:
    sent(Translator(shared()), route=f"{OPENAI[:-1]}, {CONTENT}}}").close()
    assert "nobody gets spans: say where to, by --otlp-traces" in caplog.text
