"""What a client's head says of the time that the sidecar took."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.exchange.incoming import Incoming
from extproc.exchange.machine import DURATION
from extproc.exchange.outgoing import Outgoing
from extproc.exchange.translator import Translator

from .conversation import ANTHROPIC, OPENAI, Conversation, leaf, shared
from .test_translator import CHAT, CLIENT, COMPLETION, JSON, MESSAGES, SSE, chunks

pytestmark = pytest.mark.replaces_code


class Slow(Translator):
    """Takes a millisecond for each message."""

    def __init__(self) -> None:
        self.moment, self.looks = 0.0, 0
        super().__init__(msgspec.structs.replace(shared(), ticks=self.look))

    def look(self) -> float:
        self.looks += 1
        return self.moment

    def _received(self, message: Incoming) -> list[Outgoing]:
        self.moment += 0.001
        return super()._received(message)


def timed(duration: str, provider: str = OPENAI) -> tuple[Conversation, Any]:
    """A conversation of which each message takes a millisecond, and the attributes of its route."""
    return Conversation(Slow()), leaf(provider[:-1] + (f", duration: {duration}" if duration else "") + "}")


def asked(duration: str, *, asks: bool, provider: str = OPENAI, stream: bool = False) -> Conversation:
    envoy, attributes = timed(duration, provider)
    headers = CLIENT | ({DURATION: "1"} if asks else {})
    envoy.headers("/v1/messages", headers, attributes=attributes)
    envoy.body({**MESSAGES, "stream": True} if stream else MESSAGES)
    assert DURATION not in envoy.upstream
    return envoy


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize(
    ("duration", "asks", "told"),
    [
        ("", True, False),
        ("never", True, False),
        ("asked", False, False),
        ("asked", True, True),
        ("always", False, True),
        ("always", True, True),
    ],
)
def test_it_is_told_where_the_route_lets_it(duration: str, asks: bool, told: bool, provider: str, stream: bool) -> None:
    envoy = asked(duration, asks=asks, provider=provider, stream=stream)
    envoy.answer(200, (SSE if stream else JSON) | {DURATION: "the upstream's"})
    if stream:
        for chunk in chunks("hi"):
            envoy.chunk(chunk)
    elif provider is OPENAI:
        envoy.chunk(msgspec.json.encode(COMPLETION), end=True)
    else:
        envoy.chunk(b'{"type":"message"}', end=True)
    assert (DURATION in envoy.client) is told
    if told:
        # A millisecond for each message before, and until the head is written.
        whole = provider is OPENAI and not stream
        assert envoy.client[DURATION] == ("4.000" if whole else "3.000")


def test_what_is_not_told_is_measured_no_more() -> None:
    looks = []
    for duration in ("never", "always"):
        envoy = asked(duration, asks=False)
        exchange = envoy.exchange
        assert isinstance(exchange, Slow)
        before = exchange.looks
        envoy.answer(200, JSON)
        envoy.chunk(msgspec.json.encode(COMPLETION), end=True)
        looks.append(exchange.looks - before)
    assert looks[1] - looks[0] == 5, "two for each message, and one for the head"


def test_errors_tell_it_too() -> None:
    envoy, attributes = timed("always")
    envoy.headers("/v1/messages", CLIENT, attributes=attributes)
    envoy.body({**MESSAGES, "max_tokens": "many"})
    assert envoy.immediate is not None and envoy.immediate[0] == 400 and float(envoy.immediate[1][DURATION]) > 0
    envoy = asked("always", asks=False)
    envoy.answer(503, {}, details="upstream_reset_before_response_started{connection_failure}")
    assert float(envoy.client[DURATION]) > 0


def test_a_head_that_is_gone_is_not_written_again() -> None:
    envoy = asked("always", asks=False, stream=True)
    envoy.answer(200, SSE)
    told = envoy.client[DURATION]
    for chunk in chunks("hi"):
        envoy.chunk(chunk)
    assert envoy.client[DURATION] == told


def test_the_next_attempt_knows_that_the_client_asked() -> None:
    first, attributes = timed("asked")
    first.headers("/v1/chat/completions", {DURATION: "1"}, attributes=attributes)
    first.body(CHAT)
    left = [pair for pair in first.request if pair[0] != "content-length"]
    second, _ = timed("asked")
    second.headers(raw=left, recalled=first.left, attributes={**attributes, "upstream.request_attempt_count": 2.0})
    second.body(CHAT)
    second.answer(200, JSON)
    second.chunk(msgspec.json.encode(COMPLETION), end=True)
    assert DURATION in second.client and DURATION not in second.upstream
