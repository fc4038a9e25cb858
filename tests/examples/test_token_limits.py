"""What Envoy tells its rate limit service of an exchange, by what the sidecar told Envoy."""

from __future__ import annotations

import http.client
import math
from typing import Any

import msgspec
import pytest

from extproc.costs.prices import packaged
from extproc.demo import as_openai
from extproc.demo.provider import Gate, Received, ScriptedAnswer, sse_answer
from extproc.llm.events import Usage
from tests.support.gateway import Gateway
from tests.support.rate_limits import Hit, RateLimits
from tests.support.upstream import events, eventually, message_events, text_block

from .conftest import World

TEAM = "team-b"
"""Another than the README's, whose requests other tests send: what is told of those may still come."""
CLIENT = {"authorization": f"Bearer key-of-{TEAM}"}
TOKENS, MONEY = ("client", "model"), ("budget",)


@pytest.fixture
def limited(world: World) -> Gateway:
    return world.example("token-limits")


def asking(model: str, **members: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}], **members}


def seen(limits: RateLimits) -> list[list[Hit]]:
    """What was asked about the team: tokens, money; before each exchange and after it."""
    return [hits for hits in [*limits.asked] if any(hit.whose.get("budget") == TEAM for hit in hits)]


def counted(limits: RateLimits) -> tuple[Hit, Hit]:
    """What was told of the exchange when its stream was done: tokens, money. It had asked for 0 before."""
    assert eventually(lambda: len(seen(limits)) == 2, 10), limits.asked
    before, after = seen(limits)
    assert [hit.hits for hit in before] == [0, 0] and [hit.whose for hit in before] == [hit.whose for hit in after]
    tokens, money = after
    return tokens, money


def models(limits: RateLimits) -> list[str]:
    """The models of three questions, in their order."""
    assert eventually(lambda: len(seen(limits)) == 3, 10), limits.asked
    return [tokens.whose["model"] for tokens, _ in seen(limits)]


def usage_of(body: bytes) -> Usage:
    """The counts that a client of OpenAI's or Anthropic's was told in a whole answer."""
    told = msgspec.json.decode(body)["usage"]
    by_openai = "prompt_tokens" in told
    came, went = ("prompt_tokens", "completion_tokens") if by_openai else ("input_tokens", "output_tokens")
    return Usage(told[came], told[went])


@pytest.mark.rows("A12")
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_what_an_answer_took_is_told_when_its_stream_is_done(world: World, limited: Gateway, path: str) -> None:
    reply = limited.send(path, asking("gpt-5.4-mini"), CLIENT)
    usage = usage_of(reply.body)
    tokens, money = counted(world.limits)
    assert tokens.whose == {"client": TEAM, "model": "gpt-5.4-mini"}
    assert tokens.hits == (usage.input_tokens or 0) + (usage.output_tokens or 0) > 0
    price = packaged().find("openai", "gpt-5.4-mini")
    assert price is not None and (usd := price.usd(usage)) is not None
    assert money == Hit({"budget": TEAM}, math.ceil(round(usd * 1e6, 6))) and world.limits.domains == {"llm"}
    assert TEAM not in repr(limited.openai_upstream.last), "neither the client's key nor its name is the provider's"


@pytest.mark.parametrize("model", ["gpt-5.4-mini", "claude-haiku-4-5"])
def test_so_is_what_a_stream_took(world: World, limited: Gateway, model: str) -> None:
    assert limited.send("/v1/messages", asking(model, stream=True), CLIENT).status == 200
    tokens, money = counted(world.limits)
    assert tokens.whose["model"] == model and tokens.hits and money.hits


def test_a_client_that_goes_away_pays_what_is_known_by_then(world: World, limited: Gateway) -> None:
    gate = Gate()
    start, *others = message_events(text_block("a", "b"))
    start["message"]["usage"] = {"input_tokens": 11, "output_tokens": 1}
    pieces = events(start, *others)

    def slowly(request: Received) -> ScriptedAnswer:
        return sse_answer([*pieces[:4], gate, *pieces[4:]])

    undo = limited.anthropic_upstream.always(slowly)
    connection = http.client.HTTPConnection("127.0.0.1", limited.envoy.port, timeout=20)
    try:
        body = msgspec.json.encode(asking("claude-haiku-4-5", stream=True))
        connection.request("POST", "/v1/messages", body, {**CLIENT, "content-type": "application/json"})
        answer, got = connection.getresponse(), b""
        while b"text_delta" not in got:
            # With the first content come the counts that are known by then.
            piece = answer.read1()
            assert piece, got
            got += piece
        assert eventually(lambda: len(seen(world.limits)) == 1)
    finally:
        connection.close()
        undo()
    tokens, money = counted(world.limits)
    gate.set()
    assert tokens.hits == 12 and money.hits, "the input, and the first token"


@pytest.mark.parametrize("keys", [TOKENS, MONEY])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_who_is_over_a_limit_is_told_in_its_own_api(
    world: World, limited: Gateway, keys: tuple[str, ...], path: str
) -> None:
    world.limits.refuses = lambda hit: tuple(hit.whose) == keys and TEAM in hit.whose.values()
    before = len(limited.openai_upstream.received)
    reply = limited.send(path, asking("gpt-5.4-mini"), CLIENT)
    assert (reply.status, reply.json["error"]["type"]) == (429, "rate_limit_error")
    assert (reply.json.get("type") == "error") is (path == "/v1/messages")
    assert len(limited.openai_upstream.received) == before, "no provider was asked"
    # A later question comes behind whatever there still was to tell.
    world.limits.refuses = lambda hit: False
    limited.send(path, asking("claude-haiku-4-5"), CLIENT)
    assert models(world.limits) == ["gpt-5.4-mini", "claude-haiku-4-5", "claude-haiku-4-5"]


def test_what_failed_takes_nothing(world: World, limited: Gateway) -> None:
    limited.openai_upstream.will(as_openai.failure(400, "no"))
    assert limited.send("/v1/chat/completions", asking("gpt-5.4-mini"), CLIENT).status == 400
    limited.send("/v1/chat/completions", asking("claude-haiku-4-5"), CLIENT)
    assert models(world.limits) == ["gpt-5.4-mini", "claude-haiku-4-5", "claude-haiku-4-5"]


def test_a_key_that_is_nobodys_is_refused(world: World, limited: Gateway) -> None:
    guessed = {"authorization": "Bearer guessed", "x-client-id": TEAM}
    reply = limited.send("/v1/messages", asking("gpt-5.4-mini"), guessed)
    assert reply.status == 401 and seen(world.limits) == []
