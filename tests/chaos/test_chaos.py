"""The table of ``make chaos``, for a moment; and that it would say what is lost, and what is counted twice."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak.traffic import PLANS, Exchange, Got
from tests.support.upstream import chat

from .rig import Counted, Guarded, Rig, Seen
from .rows import HEAD, ROWS, Told, carried_out, judged, line

NONE = Counted(0, 0, 0, 0, 0, 0, 0, 0, 0)
WHOLE = next(plan for plan in PLANS if plan.name == "whole")


@pytest.mark.envoy
def test_nothing_is_lost_and_nothing_counted_twice() -> None:
    async def table(folder: Path) -> list[Told]:
        rig = Rig(folder)
        await rig.start()
        try:
            return [await carried_out(rig, row, 1.0) for row in ROWS]
        finally:
            await rig.stop()

    # A socket's path is short.
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        told = asyncio.run(table(Path(folder)))
    print(line(HEAD), *(line(row.cells()) for row in told), sep="\n")
    assert not [(row.name, row.lost, row.doubled) for row in told if not row.is_good]
    assert all(row.words["right"] for row in told if row.name != "the sidecar killed, and started again")


def seen(count: int = 2, got: Got | None = None) -> list[Seen]:
    """Exchanges that clients saw end well, each after a second."""
    made = []
    for number in range(count):
        exchange = Exchange(number, WHOLE, "messages" if number % 2 else "chat")
        (body,) = chat(exchange.text).chunks
        if exchange.api == "messages":
            body = b'{"content":[{"type":"text","text":"%b"}],"stop_reason":"end_turn"}' % exchange.text.encode()
        assert isinstance(body, bytes)
        made.append(Seen(exchange, 1.0, 2.0, got or Got(200, body, True)))
    return made


GOOD = Counted(exchanges=2, complete=2, tokens=10, seconds=2, open=0, logged=2, dropped=0, asked=2, again=0)


def judging(now: Counted, made: list[Seen] | None = None, excused: bool = False) -> Told:
    made = seen() if made is None else made
    return judged("x", made, {id(each): excused for each in made}, NONE, now)


def test_what_is_as_it_should_be() -> None:
    told = judging(GOOD)
    assert told.is_good and told.words == {"right": 2}
    assert line(told.cells()).split() == ["x", "2", "2", "0", "0", "0", "0", "2", "2", "2", "0", "no", "no"]


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (GOOD._replace(exchanges=1, logged=1), "lost"),
        (GOOD._replace(exchanges=3, logged=3), "doubled"),
        (GOOD._replace(complete=1), "lost"),
        (GOOD._replace(complete=3), "doubled"),
        (GOOD._replace(tokens=9), "lost"),
        (GOOD._replace(tokens=11), "doubled"),
        (GOOD._replace(seconds=-1), "lost"),
        (GOOD._replace(seconds=3600), "doubled"),
        (GOOD._replace(logged=1), "lost"),
        (GOOD._replace(logged=3), "doubled"),
        (GOOD._replace(dropped=1), "doubled"),
        (GOOD._replace(again=1), "doubled"),
        (GOOD._replace(open=1), "lost"),
    ],
)
def test_each_count_that_is_wrong_is_said(now: Counted, what: str) -> None:
    told = judging(now)
    assert not told.is_good and getattr(told, what), told
    assert ("LOST" if what == "lost" else "TWICE") in line(told.cells())


def test_what_is_dropped_and_counted_is_not_lost() -> None:
    assert judging(GOOD._replace(logged=0, dropped=2)).is_good


def test_a_client_that_saw_nothing_good_is_said() -> None:
    failed = seen(got=Got(503, b"", True))
    assert len(judging(GOOD, failed).lost) == 2
    assert judging(GOOD._replace(complete=0, tokens=0), failed, excused=True).words == {"excused": 2}
    stuck = [replace(each, stuck=True) for each in seen()]
    assert len(judging(GOOD, stuck).lost) == 2


def test_what_is_excused_may_be_gone_from_the_counts_of_what_was_killed() -> None:
    assert judging(NONE._replace(asked=2), excused=True).is_good
    guarded = [Seen(Guarded(1, WHOLE, "messages"), 1.0, 2.0, Got(500, b"{}", True))]
    assert b'"gpt-5-guarded"' in guarded[0].exchange.body()
    assert not judging(NONE, guarded, excused=True).is_good, "it fails by rule, and is counted"
