"""Edits of the placement in which the router's stream translates, each wrong in one way, or in none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from extproc.exchange.attributes import ROUTES
from tests.support import placements

Edit = Callable[[dict[str, Any]], Any]


def host(config: dict[str, Any]) -> dict[str, Any]:
    found = placements.one_streams_metadata(config)
    assert found is not None
    return found


def matched(name: str, *headers: dict[str, Any]) -> Edit:
    return lambda config: placements.route(config, name)["match"].update(headers=list(headers))


def asked(config: dict[str, Any]) -> list[str]:
    found: list[str] = placements.manager(config)["http_filters"][0]["typed_config"]["request_attributes"]
    return found


ABSENT = {"name": "x-extproc-route", "present_match": False}
MODEL = {"name": "x-extproc-model", "string_match": {"prefix": "x"}}
ONE_STREAM_EDITS: list[tuple[str, Edit]] = [
    ("key-astray", matched("no_such_model")),
    ("key-astray", matched("no_such_model", {"name": "x-other", "present_match": True})),
    ("key-astray", matched("no_such_model", {"name": "x-extproc-route", "present_match": True})),
    ("key-astray", matched("no_such_model", {"name": "x-extproc-route", "string_match": {"prefix": "o"}})),
    ("key-astray", matched("any_provider", {**MODEL, "invert_match": True})),
    ("key-astray", matched("any_provider", {**MODEL, "treat_missing_header_as_empty": True})),
    ("", matched("no_such_model", ABSENT)),
    ("", matched("any_provider", MODEL)),
    ("", matched("no_such_model", {"name": "x-extproc-route", "exact_match": "more"})),
    ("route-unnamed", lambda config: placements.routes(config).remove(placements.route(config, "openai"))),
    ("route-unnamed", lambda config: host(config)["routes"].pop("openai")),
    ("route-unnamed", lambda config: asked(config).remove(f"{ROUTES}['openai']")),
    ("named-route", lambda config: host(config)["routes"].update(openai="provider: nobody")),
    ("named-route", lambda config: host(config)["routes"].update(openai={"provider": "openai"})),
    ("", lambda config: host(config)["routes"].update(openai="provider: openai\nauth: {gcp: {}}\n")),
    ("route-header-sent", lambda config: placements.manager(config)["route_config"].pop("request_headers_to_remove")),
]
"""Rule, edit."""
