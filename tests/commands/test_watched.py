"""Which exchanges a command means, and what an admin port says."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from extproc.commands.watched import AdminPort, NotShown, add_filters, named, wanted
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.ring import Ring
from tests.commands.admin_port import admin_port


def records(*given: dict[str, Any]) -> list[dict[str, Any]]:
    usual = {
        "request_id": "1", "upstream": "gemini", "role": "translator", "model_asked": "m", "route": "", "provider": "p",
        "ending": "complete", "status": 200, "error": "", "losses": [],
    }  # fmt: skip
    return [{**usual, **each} for each in given]


def meant(given: list[dict[str, Any]], *flags: str) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser()
    add_filters(parser)
    return list(wanted(parser.parse_args(flags), given))


def test_a_router_is_shown_where_it_alone_knows_what_went_wrong() -> None:
    router = {"role": "router", "upstream": ""}
    beside, alone, refused = router, {**router, "request_id": "2"}, {**router, "request_id": "3", "status": 404}
    translating = {"role": "router", "request_id": "4"}
    found = meant(records({}, beside, alone, refused, translating))
    assert [(each["request_id"], each["role"]) for each in found] == [
        ("1", "translator"),
        ("3", "router"),
        ("4", "router"),
    ]


def test_a_route_is_named_by_its_name_or_by_whose_it_is() -> None:
    assert [named(each) for each in records({}, {"route": "r"})] == ["p", "r"]
    assert len(meant(records({}, {"route": "r"}), "--route", "p")) == 1


@pytest.mark.parametrize("wrong", [{"status": 500}, {"ending": "cut"}, {"error": "x"}])
def test_what_an_error_is(wrong: dict[str, Any]) -> None:
    assert meant(records({}, wrong), "--error") == records(wrong)


def test_a_look_goes_on_where_the_last_one_ended() -> None:
    ring = Ring(10, 10, process=7)
    outcome = Outcome("translator", Ending.COMPLETE)
    ring.ended(Began("translator", 1.0, "id-1"), outcome)
    with admin_port(ring) as (address, _):
        port = AdminPort(f"http://{address}/", "")
        assert [each["request_id"] for each in port.news()] == ["id-1"] and port.news() == []
        ring.ended(Began("translator", 1.0, "id-2"), outcome)
        (record,) = port.news()
        assert port.one(record)["request_id"] == "id-2"
        with pytest.raises(NotShown, match="404"):
            port.one({"id": "7-99"})
