"""``extproc tail``: exchanges as they happen, a line each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from extproc.commands.tail import cells
from extproc.llm.events import Usage
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.ring import Ring
from tests.commands.admin_port import Shown, admin_port
from tests.support.command_line import Run
from tests.support.ports import free_port

DONE = Outcome(
    "translator", Ending.COMPLETE, attempt=2, client="openai_chat", upstream="gemini", provider="gemini", status=200,
    model_asked="fast", model_sent="gemini-2.5-flash", usage=Usage(200, 10, 50), losses=("seed:dropped",),
    seconds=1.5, first_content_seconds=0.25, cost_usd=0.000123,
)  # fmt: skip
FAILED = replace(DONE, ending=Ending.CUT, losses=(), route="b", model_asked="slow\x1b[2J", attempt=1, cost_usd=None)


def begun(number: int) -> Began:
    return Began("translator", 100.0 + number, f"id-{number}", "POST", "/v1/chat/completions", "openai_chat")


@pytest.fixture
def port() -> Iterator[tuple[str, Shown]]:
    ring = Ring(100, 1000, process=7)
    ring.ended(begun(1), DONE)
    ring.ended(begun(2), FAILED)
    ring.ended(begun(2), Outcome("router", Ending.COMPLETE, status=200))
    ring.ended(begun(3), Outcome("router", Ending.COMPLETE, status=200))
    with admin_port(ring) as found:
        yield found


def test_a_line_for_each_in_columns(run: Run, port: tuple[str, Shown]) -> None:
    ran = run("tail", "--once", port[0])
    head, one, other = ran.out.decode().splitlines()
    assert ran.status == 0 and head.split()[:3] == ["time", "route", "client"]
    assert one.split() == [
        "00:01:41.000", "gemini", "openai_chat", ">", "gemini", "fast", ">", "gemini-2.5-flash", "200", "complete",
        "250", "1500", "200", "10", "25%", "0.000123", "1", "2",
    ]  # fmt: skip
    assert head.index("status") == one.index("200 complete")
    assert "200 cut" in other and "\x1b" not in ran.out.decode(), (
        "no colour where it is no terminal, and none of a client's"
    )


@pytest.mark.parametrize(
    ("flags", "found"),
    [([], ["id-1", "id-2"]), (["--error"], ["id-2"]), (["--loss"], ["id-1"]), (["--model", "f*"], ["id-1"]),
     (["--route", "b"], ["id-2"]), (["--route", "gem*", "--model", "x"], []), (["-n", "1"], ["id-2"]),
     (["-n", "0"], [])],
)  # fmt: skip
def test_those_that_are_meant(run: Run, port: tuple[str, Shown], flags: list[str], found: list[str]) -> None:
    ran = run("tail", "--once", "--format", "json", *flags, port[0])
    assert [json.loads(line)["request_id"] for line in ran.out.splitlines()] == found


def test_it_follows_what_happens_until_it_is_ended(
    run: Run, port: tuple[str, Shown], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, shown = port
    happened: list[int] = []

    def then() -> None:
        if not happened:
            happened.append(9)
            shown.ring.ended(begun(9), DONE)

    shown.then = then
    printed: list[Any] = []

    def shows(screen: Any, args: Any, records: list[dict[str, Any]]) -> None:
        printed.extend(record["request_id"] for record in records)
        if "id-9" in printed:
            raise KeyboardInterrupt

    monkeypatch.setattr("extproc.commands.tail._show", shows)
    ran = run("tail", address)
    assert ran.status == 130 and printed == ["id-1", "id-2", "id-9"]


def test_several_ports_are_shown_together(run: Run, port: tuple[str, Shown]) -> None:
    ring = Ring(100, 1000, process=8)
    ring.ended(begun(5), DONE)
    with admin_port(ring) as (other, _):
        ran = run("tail", "--once", "--format", "json", port[0], f"http://{other}/")
    assert [json.loads(line)["request_id"] for line in ran.out.splitlines()] == ["id-1", "id-2", "id-5"]


def test_the_token_is_by_reference(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "right")
    with admin_port(Ring(1, 1), token="right") as (address, _):
        assert run("tail", "--once", address, "--token", "${WORD}").status == 0
        wrong = run("tail", "--once", address)
        assert wrong.status == 1 and "answers 401" in wrong.err
    plain, unknown = run("tail", "--once", "--token", "right"), run("tail", "--once", "--token", "${NOT_THERE_AT_ALL}")
    assert plain.status == unknown.status == 2 and "right" not in plain.err and "NOT_THERE_AT_ALL" in unknown.err


def test_where_nobody_answers_it_says_so(run: Run) -> None:
    ran = run("tail", f"127.0.0.1:{free_port()}")
    assert ran.status == 1 and "--admin" in ran.err


def test_what_is_not_known_is_left_empty() -> None:
    bare: dict[str, Any] = {
        "time": "2026-11-26T08:00:00.250Z", "client": "", "path": "/x", "upstream": "", "provider": "", "usage": {},
        "model_asked": "", "model_sent": "", "status": 0, "ending": "cancelled", "first_token_ms": None,
        "duration_ms": 3, "losses": [], "attempt": None,
    }  # fmt: skip
    assert cells(bare) == ["08:00:00.250", "", "/x", "", "- cancelled", "", "3", "", "", "", "", "", ""]
