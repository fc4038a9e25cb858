"""Bodies that are handed over in the process: the store, and both roles with it."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from extproc.envoy_api.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import CommonResponse
from extproc.exchange.attempts import HELD
from extproc.exchange.handover import Handover
from extproc.exchange.machine import Shared
from extproc.exchange.phases import Phase
from extproc.exchange.router import Router
from extproc.exchange.translator import Translator

from .conversation import ANTHROPIC, NOW, OPENAI, Conversation, leaf

BODY = {"model": "gpt-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
WHOLE = msgspec.json.encode(BODY)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def store(max_bytes: int = 100, seconds: float = 5.0) -> tuple[Handover, Clock]:
    clock = Clock()
    return Handover(clock, max_bytes, seconds), clock


# ---- the store


def test_what_is_left_is_taken_once() -> None:
    made, _ = store()
    key = made.leave(b"a body")
    assert len(key) == 32 and made.size == 6
    assert made.take(key) == b"a body" and made.take(key) is None and made.size == 0


def test_no_two_keys_are_alike_and_another_opens_nothing() -> None:
    made, _ = store(10_000)
    keys = {made.leave(b"x") for _ in range(100)}
    assert len(keys) == 100
    for other in ("", "0" * 32, next(iter(keys))[:-1], next(iter(keys)).upper() + "x"):
        assert made.take(other) is None
    assert made.size == 100


def test_what_waits_longest_makes_room() -> None:
    made, _ = store(10)
    first, second = made.leave(b"1234"), made.leave(b"5678")
    third = made.leave(b"90ab")
    assert made.take(first) is None and made.size == 8
    assert (made.take(second), made.take(third)) == (b"5678", b"90ab")


def test_one_that_can_never_fit_drives_nobody_out() -> None:
    made, _ = store(10)
    key = made.leave(b"1234")
    assert made.leave(b"x" * 11) == "" and made.take(key) == b"1234"


def test_after_its_time_it_is_of_no_use_and_goes_with_the_next() -> None:
    made, clock = store(seconds=5.0)
    key, other = made.leave(b"1234"), made.leave(b"5678")
    clock.now += 5.0
    assert made.take(key) is None and made.size == 4
    made.leave(b"9")
    assert made.size == 1 and made.take(other) is None


def test_the_bytes_are_never_more_than_the_bound() -> None:
    made, clock = store(64, 3.0)
    keys: list[str] = []
    for number in range(500):
        keys.append(made.leave(bytes(number * 7 % 40)))
        if number % 3 == 0:
            made.take(keys[number // 2])
        if number % 5 == 0:
            made.withdraw(keys[-1])
        clock.now += 0.7
        assert 0 <= made.size <= 64
    clock.now += 10
    made.leave(b"")
    assert made.size == 0


# ---- the two roles


def shared(handover: Handover | None) -> Shared:
    ids = itertools.count(1)
    return Shared(now=lambda: NOW, ticks=lambda: NOW, new_id=lambda: f"id-{next(ids)}", handover=handover)


def routed(handover: Handover | None, **headers: str) -> Conversation:
    """A router's stream that has named a model."""
    envoy = Conversation(Router(shared(handover)), mode=0)
    envoy.headers(headers={"content-type": "application/json", **headers})
    envoy.body(BODY)
    return envoy


def attempt(
    handover: Handover | None, key: str, *, number: int = 1, length: int = len(WHOLE), route: str = OPENAI
) -> tuple[Conversation, Any]:
    """A translator's stream, and what its request's headers were answered with."""
    envoy = Conversation(Translator(shared(handover)))
    envoy.sent = WHOLE
    made = {"upstream.request_attempt_count": float(number), **leaf(route)}
    head = {"content-type": "application/json", "content-length": str(length)}
    return envoy, envoy.headers(headers=head, attributes=made, recalled={HELD: key})


def is_carried(envoy: Conversation, answer: Any) -> bool:
    """Whether the translator waits for the body, as ever."""
    common = answer.request_headers.response
    untouched = common.status == CommonResponse.CONTINUE and not common.HasField("body_mutation")
    return untouched and envoy.exchange.phase is Phase.REQUEST


def test_a_first_attempt_translates_at_the_head() -> None:
    made, _ = store(10_000)
    key = routed(made).metadata[HELD]
    envoy, answer = attempt(made, key)
    common = answer.request_headers.response
    assert common.status == CommonResponse.CONTINUE_AND_REPLACE
    sent = msgspec.json.decode(common.body_mutation.body)
    assert sent["messages"] == BODY["messages"] and "max_completion_tokens" in sent
    assert envoy.metadata["content_length"] == str(len(common.body_mutation.body))
    assert made.size == 0
    envoy.answer(200, {"content-type": "application/json"})
    assert envoy.exchange.phase is Phase.WHOLE


def test_a_body_that_stays_as_it_is_is_not_carried_at_all() -> None:
    made, _ = store(10_000)
    key = routed(made).metadata[HELD]
    _, answer = attempt(made, key, route=ANTHROPIC)
    common = answer.request_headers.response
    assert common.status == CommonResponse.CONTINUE and not common.HasField("body_mutation")
    mode = answer.mode_override
    assert mode.request_body_mode == ProcessingMode.NONE
    assert mode.response_header_mode == mode.response_trailer_mode == ProcessingMode.SEND
    assert mode.response_body_mode == ProcessingMode.STREAMED


@pytest.mark.parametrize("case", ["a second attempt", "another key", "no key", "another length", "off", "too late"])
def test_otherwise_envoy_carries_the_body(case: str) -> None:
    made, clock = store(10_000)
    key = routed(made).metadata[HELD]
    if case == "too late":
        clock.now += 60
    envoy, answer = attempt(
        None if case == "off" else made,
        {"another key": "0" * 32, "no key": ""}.get(case, key),
        number=2 if case == "a second attempt" else 1,
        length=len(WHOLE) + (case == "another length"),
    )
    assert is_carried(envoy, answer)
    carried = envoy.body(BODY)
    assert carried is not None and carried.request_body.response.body_mutation.body
    assert envoy.exchange.phase is Phase.SENT


def test_a_wrong_request_is_refused_at_the_head() -> None:
    made, _ = store(10_000)
    key = made.leave(b"{}")
    envoy, _ = attempt(made, key, length=2)
    assert envoy.immediate is not None and envoy.immediate[0] == 400


def test_what_nobody_takes_goes_with_the_routers_stream() -> None:
    made, _ = store(10_000)
    envoy = routed(made)
    assert made.size == len(WHOLE)
    envoy.close()
    assert made.size == 0


@pytest.mark.parametrize("handover", [None, Handover(lambda: 0.0, 1, 5.0)])
def test_without_room_no_key_is_named(handover: Handover | None) -> None:
    assert HELD not in routed(handover).metadata


def test_a_clients_word_is_no_key() -> None:
    made, _ = store(10_000)
    envoy = routed(made, **{"x-extproc-held": "0" * 32})
    assert envoy.metadata[HELD] != "0" * 32
