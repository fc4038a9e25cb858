"""What an exchange leaves in Envoy's dynamic metadata for access logs and rate limits (D34, D35)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from extproc.exchange.translator import Translator
from extproc.route import RouteError, compile_route
from extproc.telemetry.outcome import Ending

from ..support.upstream import chat_chunk, events, message, message_events, text_block
from .conversation import ANTHROPIC, OPENAI, Conversation, leaf, shared

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
ASKED: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
COSTS = "metadata: {costs: {llm_input_token: input_tokens, llm_total_token: total_tokens, cached: cache_read_tokens}}"
NAMESPACE = "io.envoy.ai_gateway"


class Paced(Conversation):
    def __init__(self, step: float) -> None:
        self.moment, self.step = 5.0, step
        super().__init__(Translator(shared(now=lambda: self.moment)))

    def say(self, message: ProcessingRequest) -> ProcessingResponse | None:
        self.moment += self.step
        return super().say(message)


def started(route: str = ANTHROPIC, *, path: str = "/v1/messages", step: float = 0.0, **members: Any) -> Conversation:
    """A conversation whose request was sent. Each message comes *step* seconds after the one before it."""
    envoy = Paced(step)
    envoy.headers(path, attributes=leaf(route))
    envoy.body({**ASKED, **members})
    return envoy


@pytest.mark.rows("A12")
def test_a_streams_numbers_and_the_time_to_its_first_content() -> None:
    envoy = started(step=0.25, stream=True)
    envoy.answer(200, SSE)
    first, *rest = events(*message_events(text_block("a", "b")))
    envoy.chunk(first)
    assert "first_token_ms" not in envoy.metadata, "a response that begins has said nothing yet"
    for chunk in rest:
        envoy.chunk(chunk)
    envoy.chunk(b"", end=True)
    outcome = envoy.close()
    told = envoy.metadata
    assert (told["input_tokens"], told["output_tokens"], told["finish"], told["ending"]) == (11, 5, "end", "complete")
    assert (told["model_asked"], told["model_sent"], told["model_answered"]) == ("m", "m", "claude-haiku-4-5")
    # The request's head and body, the answer's head, and of its events the third, the seventh, and an end without any.
    assert told["first_token_ms"] == 1500
    assert (outcome.first_content_seconds, outcome.first_token_seconds, outcome.upstream_seconds) == (1.5, 1.0, 2.0)
    assert outcome.seconds == 2.75


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
@pytest.mark.rows("A12")
def test_a_cancelled_stream_leaves_what_was_known(path: str) -> None:
    envoy = started(path=path, step=0.25, stream=True)
    envoy.answer(200, SSE)
    for chunk in events(*message_events(text_block("a"), stop=None)):
        envoy.chunk(chunk)
    assert envoy.close().ending is Ending.CUT
    told = envoy.metadata
    assert (told["input_tokens"], told["ending"], told["first_token_ms"]) == (11, "cut", 1500)
    assert "finish" not in told


@pytest.mark.rows("A12")
def test_a_request_that_was_never_answered() -> None:
    envoy = started()
    assert envoy.metadata["ending"] == "cancelled" and envoy.metadata["model_asked"] == "m"


def test_a_refusal_says_so() -> None:
    envoy = started(messages=3, route=OPENAI)
    assert envoy.metadata["ending"] == "refused" and envoy.metadata["error"] == "refused"


def test_a_whole_answer_has_no_first_token() -> None:
    envoy = started(OPENAI, path="/v1/chat/completions", step=0.25)
    envoy.answer(200, JSON)
    envoy.chunk(b'{"id":"x","object":"chat.completion","created":1,"model":"n","choices":[{"index":0,"message":'
                b'{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,'
                b'"completion_tokens":2,"total_tokens":5}}', end=True)  # fmt: skip
    outcome = envoy.close()
    assert "first_token_ms" not in envoy.metadata and outcome.first_content_seconds is None
    assert (envoy.metadata["input_tokens"], outcome.seconds > 0) == (3, True)


def test_counts_go_under_the_keys_that_the_route_names() -> None:
    envoy = started(f"{ANTHROPIC[:-1]}, {COSTS}}}", path="/v1/chat/completions")
    envoy.answer(200, JSON)
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 30}
    envoy.chunk(msgspec.json.encode(message({"type": "text", "text": "x"}, usage=usage)), end=True)
    assert envoy.elsewhere == {NAMESPACE: {"llm_input_token": 42, "llm_total_token": 47, "cached": 30}}


def test_what_is_not_known_is_not_said() -> None:
    envoy = started(f"{OPENAI[:-1]}, {COSTS}}}", stream=True)
    envoy.answer(200, SSE)
    for chunk in events(chat_chunk(content="a"), chat_chunk("stop"), done=True):
        envoy.chunk(chunk)
    envoy.chunk(b"", end=True)
    assert envoy.elsewhere == {}


USAGE = {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 30}


@pytest.mark.parametrize("prices", ["table", "{input: 1, cached: 0.1, cache_write: 1.25, output: 5}"])
def test_what_it_cost(prices: str) -> None:
    costs = "metadata: {costs: {micros: cost_usd * 1e6, weighed: {input: 1, cached: 0.5, output: 4}}}"
    envoy = started(f"{ANTHROPIC[:-1]}, prices: {prices}, {costs}}}", path="/v1/chat/completions")
    envoy.answer(200, JSON)
    envoy.chunk(msgspec.json.encode(message({"type": "text", "text": "x"}, usage=USAGE)), end=True)
    outcome = envoy.close()
    # As claude-haiku-4-5, which is what answers: 10 x 1, 2 x 1.25, 30 x 0.1, 5 x 5 dollars for a million.
    assert envoy.metadata["cost_usd"] == outcome.cost_usd == 0.0000405 and not outcome.unpriced
    assert envoy.elsewhere == {NAMESPACE: {"micros": 41, "weighed": 10 + 2 + 15 + 20}}


def test_a_stream_tells_what_it_cost_so_far() -> None:
    envoy = started(f"{ANTHROPIC[:-1]}, prices: {{input: 1, output: 1}}}}", stream=True)
    envoy.answer(200, SSE)
    for chunk in events(*message_events(text_block("a"), stop=None)):
        envoy.chunk(chunk)
    outcome = envoy.close()
    assert outcome.ending is Ending.CUT and outcome.cost_usd == envoy.metadata["cost_usd"] > 0.000011


def test_a_model_without_a_price_has_no_cost(caplog: pytest.LogCaptureFixture) -> None:
    envoy = started(f"{OPENAI[:-1]}, prices: table, metadata: {{costs: {{usd: cost_usd}}}}}}", model="of-my-own")
    envoy.answer(200, JSON)
    envoy.chunk(b'{"id":"x","object":"chat.completion","created":1,"model":"n","choices":[{"index":0,"message":'
                b'{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,'
                b'"completion_tokens":2,"total_tokens":5}}', end=True)  # fmt: skip
    outcome = envoy.close()
    assert outcome.cost_usd is None and outcome.unpriced and envoy.elsewhere == {}
    assert "cost_usd" not in envoy.metadata and "no price is known of the model 'of-my-own'" in caplog.text


def test_another_namespace() -> None:
    route = compile_route([f"{OPENAI[:-1]}, metadata: {{namespace: mine, costs: {{out: output_tokens}}}}}}"])
    assert (route.costs_namespace, route.costs["out"].written) == ("mine", "output_tokens")


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ("{costs: {x: dollars}}", "metadata.costs.x: unknown name 'dollars'; choose one of: input_tokens, "),
        ("{namespace: extproc}", "metadata.namespace: expected a namespace other than extproc"),
        ("{cost: {}}", "unknown key 'metadata.cost'"),
    ],
)
def test_a_wrong_key_is_named(metadata: str, problem: str) -> None:
    with pytest.raises(RouteError, match=problem):
        compile_route([f"{OPENAI[:-1]}, metadata: {metadata}}}"])


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/v1/embeddings", {"model": "m", "input": "hi"}), ("/v1/rerank", {"model": "m", "query": "q", "documents": []}),
     ("/v1/chat/completions", ASKED)],
)  # fmt: skip
def test_a_count_that_no_number_can_hold_is_none(path: str, asked: dict[str, Any]) -> None:
    """It would be an error where costs are reckoned, and on the page of metrics for as long as the process lives."""
    envoy = Conversation(Translator(shared()))
    envoy.headers(path, attributes=leaf(f"{{provider: openai, auth: none, {COSTS}}}"))
    envoy.body(asked)
    envoy.answer(200, JSON)
    usage = b'{"prompt_tokens": 1%s, "total_tokens": 1%s, "completion_tokens": 0}' % ((b"0" * 400,) * 2)
    said = b'{"object": "list", "model": "m", "choices": [], "data": [], "usage": ' + usage + b"}"
    envoy.chunk(said, end=True)
    outcome = envoy.close()
    assert outcome.ending in (Ending.COMPLETE, Ending.FAILED) and outcome.error != "internal_error"
    assert outcome.usage.input_tokens is None
