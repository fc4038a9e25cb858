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


def action(**said: Any) -> Edit:
    """Members of the action of a route that the router translates by; ``None``: without it."""

    def edit(config: dict[str, Any]) -> None:
        found = placements.route(config, "openai")["route"]
        found.update(said)
        for name in [name for name, value in said.items() if value is None]:
            del found[name]

    return edit


def cluster(config: dict[str, Any]) -> dict[str, Any]:
    return placements.clusters(config)["openai"]


def tls(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = cluster(config)["transport_socket"]["typed_config"]
    return found


def said(text: str) -> Edit:
    return lambda config: host(config)["routes"].update(openai=text)


def cors_without_a_cluster(config: dict[str, Any]) -> None:
    kind = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"
    placements.manager(config)["http_filters"].insert(0, {"name": "cors", "typed_config": {"@type": kind}})
    last = placements.routes(config)[-1]
    del last["route"]
    last["direct_response"] = {"status": 404}


def catch_all_before(config: dict[str, Any]) -> None:
    """Before the route for a model, and behind those that the router names: they are not for it."""
    routes = placements.routes(config)
    routes.insert(2, routes.pop())


def both(*edits: Edit) -> Edit:
    def edit(config: dict[str, Any]) -> None:
        for one in edits:
            one(config)

    return edit


OPENAI = "provider: openai\nauth: {header: {Authorization: 'Bearer ${OPENAI_API_KEY}'}}\n"
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
    ("route-timeout-default", action(timeout=None)),
    ("route-timeout", action(timeout="60s")),
    ("upgrade", action(upgrade_configs=[{"upgrade_type": "websocket"}])),
    ("host-rewrite", action(auto_host_rewrite=None)),
    (
        "",
        both(action(auto_host_rewrite=None), said(f"{OPENAI}override: {{endpoint: 'https://api.openai.com:8443'}}\n")),
    ),
    ("retry-codes-unused", action(retry_policy={"retry_on": "reset", "retriable_status_codes": [503]})),
    ("", action(retry_policy={"retry_on": "retriable-status-codes", "retriable_status_codes": [503]})),
    ("", action(hedge_policy={"hedge_on_per_try_timeout": True})),
    ("mirror-key", action(request_mirror_policies=[{"cluster": "anthropic"}])),
    ("no-such-cluster", action(cluster="opnai")),
    ("plain-text", lambda config: cluster(config).pop("transport_socket")),
    ("tls-unverified", lambda config: tls(config)["common_tls_context"].pop("validation_context")),
    ("no-sni", lambda config: tls(config).pop("auto_host_sni")),
    ("secret-inline", said("provider: openai\nauth: {header: {Authorization: Bearer sk-1}}\n")),
    ("secret-literal", said(f"{OPENAI}override: {{endpoint: 'https://h/v1/x?key=abc'}}\n")),
    ("costs-namespace", said(f"{OPENAI}metadata: {{costs: {{in: input_tokens}}}}\n")),
    ("cors-route", cors_without_a_cluster),
    ("unreachable-route", catch_all_before),
    ("route-header-sent", lambda config: placements.manager(config)["route_config"].pop("request_headers_to_remove")),
]
"""Rule, edit."""
