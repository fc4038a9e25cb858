"""The last exchanges, and those that go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from extproc.credentials.masking import mask_of
from extproc.telemetry import ring as module
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.payloads import Payloads
from extproc.telemetry.ring import Look, Ring

DONE = Outcome("translator", Ending.COMPLETE, provider="openai")


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def began(name: str) -> Began:
    return Began("translator", 100.0, name, "POST", "/v1/messages", "anthropic_messages")


def look(ring: Ring, since: float = 0.0, cursor: str = "", *, bodies: bool = True) -> Any:
    return msgspec.json.decode(ring.look(Look(since, cursor, bodies))())


def names(ring: Ring, since: float = 0.0) -> list[str]:
    return [each["request_id"] for each in look(ring, since)["exchanges"]]


def test_an_exchange_from_its_start_to_its_end() -> None:
    clock = Clock()
    ring, one = Ring(10, 1000, clock), began("id-1")
    ring.started(one)
    clock.at = 101.5
    (going,) = look(ring)["open"]
    assert (going["request_id"], going["duration_ms"], going["first_token_ms"]) == ("id-1", 1500, None)
    ring.first_content(one, 1.25)
    assert look(ring)["open"][0]["first_token_ms"] == 1250
    clock.at = 102.0
    ring.ended(one, DONE)
    told = look(ring)
    assert told["open"] == [] and told["exchanges"][0]["ended_at"] == 102.0
    assert (told["exchanges"][0]["number"], told["exchanges"][0]["ending"]) == (1, "complete")


def test_the_last_ones_and_those_since_then() -> None:
    clock = Clock()
    ring = Ring(3, 1000, clock)
    for number in range(5):
        clock.at = 100.0 + number
        ring.ended(began(f"id-{number}"), DONE)
    assert names(ring) == ["id-2", "id-3", "id-4"] and names(ring, since=103.0) == ["id-4"]
    assert names(ring, since=104.0) == []


def test_what_went_by_is_not_kept() -> None:
    ring, one = Ring(3, 1000), began("id-1")
    ring.started(one)
    ring.ended(one, replace(DONE, ending=Ending.PASSED))
    assert look(ring)["exchanges"] == look(ring)["open"] == []


def test_bodies_have_a_bound_in_bytes() -> None:
    ring = Ring(100, 1000)
    for number in range(5):
        payloads = Payloads(1000, mask_of)
        payloads.asked(b"x" * 400)
        ring.ended(began(f"id-{number}"), replace(DONE, payloads=payloads))
    assert names(ring) == ["id-3", "id-4"]
    ring.ended(began("id-5"), DONE)
    assert names(ring) == ["id-3", "id-4", "id-5"]


def test_an_answer_has_a_bound_and_the_newest_come_first(monkeypatch: Any) -> None:
    ring = Ring(100, 1000)
    for number in range(10):
        ring.ended(began(f"id-{number}"), DONE)
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 2000)
    kept = names(ring)
    assert 0 < len(kept) < 10 and kept[-1] == "id-9"
    assert look(ring)["left_out"] == 10 - len(kept)


def test_one_that_finds_room_in_no_answer_hides_no_other(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 5000)
    ring = Ring(100, 1_000_000)
    for name in ("a", "b" * 6000, "c"):
        ring.ended(began(name), Outcome("translator", Ending.COMPLETE))
    told = look(ring)
    assert [each["request_id"] for each in told["exchanges"]] == ["a", "c"] and told["left_out"] == 1


def test_a_cursor_stands_where_the_last_look_ended_whatever_the_clock_does() -> None:
    clock = Clock()
    ring = Ring(10, 1000, clock, process=7)
    assert ring.cursor == "7:0:0"
    ring.ended(began("id-1"), DONE)
    cursor = f"5:99:99,{ring.cursor}"
    clock.at = 1.0
    ring.ended(began("id-2"), DONE)
    told = look(ring, cursor=cursor)
    assert [each["id"] for each in told["exchanges"]] == ["7-2"] and told["cursor"] == ring.cursor
    assert look(ring, cursor=ring.cursor)["exchanges"] == []
    for strange in ("7:x:1", "7", "8:1:1", ",,", "7:-1:0"):
        assert len(look(ring, cursor=strange)["exchanges"]) == 2


def test_each_thing_that_happens_moves_the_cursor() -> None:
    ring, one = Ring(10, 1000, process=7), began("id-1")
    seen = [ring.cursor]
    happenings: list[Callable[[], None]] = [
        lambda: ring.started(one),
        lambda: ring.first_content(one, 1.0),
        lambda: ring.ended(one, DONE),
    ]
    for happens in happenings:
        happens()
        seen.append(ring.cursor)
    assert len(set(seen)) == 4


def test_of_many_that_go_on_the_newest_are_told_and_all_are_counted(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 3)
    ring, all_of_them = Ring(10, 1000), [began(f"id-{number}") for number in range(5)]
    for each in all_of_them:
        ring.started(each)
    told = look(ring)
    assert [each["request_id"] for each in told["open"]] == ["id-4", "id-3", "id-2"] and told["open_count"] == 5


def test_one_with_all_that_is_kept_of_it() -> None:
    ring = Ring(2, 10_000, process=7)
    payloads = Payloads(1000, mask_of)
    payloads.begun(5.0, "POST", "/v1/messages", [("anthropic-beta", "x"), ("cookie", "mine")], {"provider": "openai"})
    payloads.asked(b"{}")
    ring.ended(began("id-1"), replace(DONE, payloads=payloads))
    ring.ended(began("id-2"), DONE)
    assert "payloads" not in look(ring, bodies=False)["exchanges"][0]
    assert [each["has_payloads"] for each in look(ring, bodies=False)["exchanges"]] == [True, False]
    one, two = ring.one(1), ring.one(2)
    assert one is not None and two is not None
    told = one()
    assert told["id"] == "7-1" and told["payloads"]["client"]["request"]["body"] == {}
    assert told["course"]["request"]["headers"] == [["anthropic-beta", "x"]]
    assert told["course"]["route"] == {"provider": "openai"}
    assert "course" not in two()
    ring.ended(began("id-3"), DONE)
    assert ring.one(1) is None
