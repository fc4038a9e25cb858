"""An exchange that must wait: it asks, and answers when it is told what came of that."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.effects import Ask, Failed, Failure, HttpAnswer, HttpCall
from extproc.exchange.machine import MARGIN_SECONDS
from extproc.exchange.translator import Translator
from extproc.settings import Limits
from extproc.telemetry.outcome import Ending
from tests.policy.policies import policies as policies
from tests.policy.test_chain import STREAMS

from .conversation import NOW, Conversation, leaf, shared

pytestmark = pytest.mark.usefixtures("policies")

CHAT: Any = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}


def begun(*policies: str, stream: bool = False, exchange: Translator | None = None) -> Conversation:
    envoy = Conversation(exchange)
    route = f"{{provider: openai, auth: none, policies: [{', '.join(policies)}]}}"
    envoy.headers("/v1/chat/completions", attributes=leaf(route))
    envoy.body({**CHAT, "stream": stream})
    return envoy


SERVICE = "{service: {url: 'http://s'}}"
ANSWERS = "{service: {url: 'http://s', answers: true}}"


def test_the_body_is_answered_when_the_service_has_answered() -> None:
    envoy = begun(SERVICE)
    ask = envoy.exchange.asks
    assert ask is not None and isinstance(ask.effect, HttpCall) and ask.seconds == Limits().max_wait_seconds
    answer = envoy.resume(HttpAnswer(200))
    assert answer is not None and answer.HasField("request_body")
    assert envoy.exchange.asks is None and envoy.metadata["service_status"] == 200
    assert envoy.sent_json == {**CHAT, "stream": False}
    assert envoy.close().waits == (("policy", 0.0),), "what it waited for is told"


def test_a_denial_is_told_to_envoy_and_to_the_record() -> None:
    envoy = begun(SERVICE)
    envoy.resume(HttpAnswer(451))
    assert envoy.immediate is not None
    status, _, body, details = envoy.immediate
    assert (status, details) == (200, "extproc_denied")
    assert body["choices"][0]["message"]["content"] or body["choices"][0]["message"]["refusal"]
    assert envoy.metadata["denied_by"] == "service" and envoy.metadata["ending"] == "answered"
    outcome = envoy.close()
    assert (outcome.ending, outcome.denied_by, outcome.model_asked) == (Ending.ANSWERED, "service", "gpt-5")


def test_one_asks_behind_the_other() -> None:
    envoy = begun(SERVICE, "{marker: {text: more}}", SERVICE)
    first = envoy.exchange.asks
    assert envoy.resume(HttpAnswer(200)) is None
    second = envoy.exchange.asks
    assert first is not None and second is not None and first.key != second.key
    assert envoy.exchange.resume(first, HttpAnswer(451)) == [], "it is not asked any more"
    assert envoy.resume(HttpAnswer(200)) is not None and "more" in str(envoy.sent_json)


def test_all_of_them_together_have_one_bound_of_time() -> None:
    now = [float(NOW)]
    exchange = Translator(shared(Limits(max_wait_seconds=10.0), now=lambda: now[0]))
    envoy = begun(SERVICE, SERVICE, exchange=exchange)
    assert exchange.patience().patience_ms == 1000 * (10 + MARGIN_SECONDS)
    now[0] += 8
    envoy.resume(HttpAnswer(200))
    assert exchange.asks is not None and exchange.asks.seconds == pytest.approx(2)
    assert exchange.patience().patience_ms == pytest.approx(3000, abs=2)
    now[0] += 60
    assert exchange.patience().patience_ms == 1000


def test_an_exchange_that_ends_meanwhile_asks_no_more() -> None:
    envoy = begun(SERVICE)
    ask = envoy.exchange.asks
    assert envoy.close().ending is Ending.CANCELLED
    assert ask is not None and envoy.exchange.asks is None and envoy.exchange.resume(ask, HttpAnswer(200)) == []


def test_a_stream_waits_piece_by_piece() -> None:
    envoy = begun(ANSWERS, stream=True)
    envoy.resume(HttpAnswer(200))
    envoy.answer(200, {"content-type": "text/event-stream"})
    for piece in STREAMS["openai_chat"]:
        assert envoy.chunk(piece) == b"" and envoy.exchange.asks is not None
        envoy.resume(HttpAnswer(200))
    envoy.chunk(b"", end=True)
    assert envoy.exchange.asks is None, "there is nothing to ask about"
    assert b"good " in envoy.got and b"evening" in envoy.got and envoy.got.endswith(b"[DONE]\n\n")
    outcome = envoy.close()
    assert outcome.ending is Ending.COMPLETE and outcome.usage.output_tokens == 2


def test_a_stream_is_denied_in_its_middle() -> None:
    envoy = begun(ANSWERS, stream=True)
    envoy.resume(HttpAnswer(200))
    envoy.answer(200, {"content-type": "text/event-stream"})
    first, second, last = STREAMS["openai_chat"]
    envoy.chunk(first)
    envoy.resume(HttpAnswer(200))
    envoy.chunk(second)
    envoy.resume(HttpAnswer(451))
    envoy.chunk(last)
    envoy.chunk(b"", end=True)
    assert b"good " in envoy.got and b"evening" not in envoy.got and b"the service says no" in envoy.got
    assert envoy.metadata["denied_by"] == "service"
    assert envoy.close().finish == "refusal"


def test_a_whole_answer_waits() -> None:
    envoy = begun(ANSWERS)
    envoy.resume(HttpAnswer(200))
    envoy.answer(200, {"content-type": "application/json"})
    envoy.chunk(b'{"id":"r","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a"},'
                b'"finish_reason":"stop"}]}', end=True)  # fmt: skip
    assert envoy.exchange.asks is not None
    answer = envoy.resume(HttpAnswer(200))
    assert answer is not None and b'"a"' in answer.response_body.response.body_mutation.body


def test_a_service_that_does_not_answer_in_time_fails_closed() -> None:
    envoy = begun(SERVICE)
    envoy.resume(Failed(Failure.TIMEOUT))
    assert envoy.immediate is not None and envoy.immediate[0] == 503
    assert envoy.close().denied_by == "service"


def test_an_ask_of_another_exchange_changes_nothing() -> None:
    envoy = begun(SERVICE)
    assert envoy.exchange.resume(Ask(HttpCall("http://s"), 1, 1.0), HttpAnswer(200)) == []
    assert envoy.exchange.asks is not None
