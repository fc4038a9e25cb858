"""Rules about routes and connection managers: what breaks beside the translation, or defeats it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..headers import CREDENTIAL_HEADERS
from .levels import NONE, Combination, endpoint_levels, level, problem
from .rule import ERROR, WARNING, Found, rule
from .topology import Config, EnvoyRoute, type_of
from .tree import Node


def upstream_routes(config: Config) -> list[EnvoyRoute]:
    """The routes that an upstream filter of ours works for."""
    return [route for route in config.routes if config.is_translated(route)]


def served_routes(config: Config) -> list[EnvoyRoute]:
    """Those, and the routes that a filter on the listener translates for."""
    leading = [r for r in config.routes if r.action and config.leads_somewhere(r)]
    ours = [r for r in leading if config.is_served(r)]
    return [route for route in ours if route.table.manager is not None or config.is_translated(route)]


def _both(config: Config, name: str) -> Iterator[Node]:
    for route in upstream_routes(config):
        yield from route.inherited(name)


@rule(
    "hedge-policy", ERROR, "hedge_policy beside an upstream filter",
    then="Envoy crashes when one of two attempts in flight fails: all of its clients lose their connections",
    write="no hedge_policy; a retry_policy with per_try_timeout instead",
)  # fmt: skip
def hedge_policy(config: Config) -> Found:
    yield from _both(config, "hedge_policy")
    yield from (table.node.get("hedge_policy") for table in config.tables if table.node.has("hedge_policy"))


@rule(
    "internal-redirect", ERROR, "internal redirects beside an upstream filter",
    then="a redirect by one provider takes its key, and the translated request, to another",
    write="no internal_redirect_policy",
)  # fmt: skip
def internal_redirect(config: Config) -> Found:
    yield from _both(config, "internal_redirect_policy")
    for node in _both(config, "internal_redirect_action"):
        if node.text == "HANDLE_INTERNAL_REDIRECT":
            yield node


@rule(
    "limits-by-request", WARNING, "hits_addend in a route's or a virtual host's own rate_limits",
    then="Envoy reads it nowhere but in typed_per_filter_config: each request counts as one, whatever it took",
    write="typed_per_filter_config: {envoy.filters.http.ratelimit: {\"@type\": ...ratelimit.v3.RateLimitPerRoute, "
    "rate_limits: [...]}}, as in examples/token-limits",
)  # fmt: skip
def limits_by_request(config: Config) -> Found:
    for route in config.routes:
        for limits in route.inherited("rate_limits"):
            yield from (limit.get("hits_addend") for limit in limits if limit.has("hits_addend"))


def _mirrors(config: Config, routes: list[EnvoyRoute]) -> Iterator[tuple[Node, str]]:
    for route in routes:
        lists = list(route.inherited("request_mirror_policies")) or [route.table.node.get("request_mirror_policies")]
        for policies in lists:
            yield from ((item, item.get("cluster").text) for item in policies)


@rule(
    "mirror-filter", ERROR, "a mirror's cluster has no upstream filter",
    then="the mirror gets the client's own credential and an untranslated body",
    write="the ext_proc filter in the mirror cluster's http_filters",
)  # fmt: skip
def mirror_filter(config: Config) -> Found:
    for node, name in _mirrors(config, upstream_routes(config)):
        cluster = config.clusters.get(name)
        if cluster is not None and not cluster.filters:
            yield node


@rule(
    "mirror-metadata", ERROR, "a mirror's cluster and its endpoints do not say all by themselves",
    then="a mirrored request has no route metadata: each gets a 500 of the sidecar's in place of an answer",
    write="metadata: {filter_metadata: {extproc: {route: \"provider: ...\"}}} on the mirror's endpoints",
)  # fmt: skip
def mirror_metadata(config: Config) -> Found:
    for node, name in _mirrors(config, upstream_routes(config)):
        cluster = config.clusters.get(name)
        if cluster is None or not cluster.filters:
            continue
        if any(problem(Combination(NONE, level(cluster.node), end)) for end in endpoint_levels(cluster)):
            yield node


@rule(
    "mirror-key", WARNING, "a mirror of a route that a filter on the listener translates for",
    then="the mirror gets the same request, with the provider's key in it",
    write="no request_mirror_policies, unless the mirror is that provider's; or the ext_proc filter in both clusters",
)  # fmt: skip
def mirror_key(config: Config) -> Found:
    here = [route for route in served_routes(config) if not config.is_translated(route)]
    for node, name in _mirrors(config, here):
        if name in config.clusters:
            yield node


@rule(
    "continue-100", ERROR, "proxy_100_continue is true",
    then="a request with `Expect: 100-continue` hangs: Envoy waits for the provider, which waits for the body",
    write="proxy_100_continue: false",
)  # fmt: skip
def continue_100(config: Config) -> Found:
    for manager in config.managers:
        routes = config.routes_of(manager)
        ours = manager.filters or any(config.is_translated(route) for route in routes)
        if ours and manager.node.get("proxy_100_continue").true:
            yield manager.node.get("proxy_100_continue")


@rule(
    "upgrade", WARNING, "upgrades (websocket, CONNECT) are allowed on a translated route",
    then="an upgrade request waits for a body that never ends, and hangs",
    write="upgrade_configs: [{upgrade_type: websocket, enabled: false}] on the route",
)  # fmt: skip
def upgrade(config: Config) -> Found:
    for route in served_routes(config):
        own = list(route.action.get("upgrade_configs"))
        closed = {item.get("upgrade_type").text.lower() for item in own if item.get("enabled").false}
        general = route.table.manager.node.get("upgrade_configs") if route.table.manager else ()
        for item in [*own, *general]:
            if not item.get("enabled").false and item.get("upgrade_type").text.lower() not in closed:
                yield item


@rule(
    "route-timeout-default", ERROR, "the route says no timeout",
    then="Envoy's default cuts every answer after 15 s, in mid-stream too",
    write="timeout: 0s, and idle_timeout: 600s",
)  # fmt: skip
def route_timeout_default(config: Config) -> Found:
    return (r.action.get("timeout") for r in served_routes(config) if not r.action.get("timeout"))


@rule(
    "route-timeout", WARNING, "the route's timeout is not 0s",
    then="answers are cut after that time, in mid-stream too",
    write="timeout: 0s, and idle_timeout: 600s; max_stream_duration for a cap that is meant",
)  # fmt: skip
def route_timeout(config: Config) -> Found:
    for route in served_routes(config):
        if route.action.get("timeout") and route.action.get("timeout").seconds() != 0.0:
            yield route.action.get("timeout")


@rule(
    "idle-timeout", WARNING, "how long an exchange may be silent is not said",
    then="a model that thinks longer than Envoy's default of five minutes is cut off",
    write="idle_timeout: 600s on the route, or stream_idle_timeout: 600s on the connection manager",
)  # fmt: skip
def idle_timeout(config: Config) -> Found:
    for route in served_routes(config):
        manager = route.table.manager
        if not route.action.has("idle_timeout") and not (manager and manager.node.has("stream_idle_timeout")):
            yield route.action.get("idle_timeout")


@rule(
    "retry-503-529", WARNING, "a retry policy names 503 or 529, and not the other",
    then="the sidecar may turn one into the other before Envoy sees it: an overloaded provider is not tried again",
    write="retriable_status_codes: [429, 500, 502, 503, 504, 529]",
)  # fmt: skip
def retry_codes(config: Config) -> Found:
    for policy in _both(config, "retry_policy"):
        words = policy.get("retry_on").text.replace(" ", "").split(",")
        codes = set(policy.get("retriable_status_codes").texts) if "retriable-status-codes" in words else set()
        if "5xx" not in words and ("503" in codes or "gateway-error" in words) != ("529" in codes):
            yield policy.get("retriable_status_codes")


@rule(
    "retry-codes-unused", WARNING, "retriable_status_codes without retriable-status-codes in retry_on",
    then="no status leads to another attempt",
    write="retry_on: connect-failure,refused-stream,reset-before-request,retriable-status-codes",
)  # fmt: skip
def retry_codes_unused(config: Config) -> Found:
    policies = (policy for route in served_routes(config) for policy in route.inherited("retry_policy"))
    for policy in policies:
        if policy.get("retriable_status_codes") and "retriable-status-codes" not in policy.get("retry_on").text:
            yield policy.get("retry_on")


@rule(
    "retry-priority", WARNING, "a retry may go to the priority that has just failed",
    then="the second attempt asks the same provider again, and the other one is never tried",
    write="retry_priority: {name: envoy.retry_priorities.previous_priorities, typed_config: PreviousPrioritiesConfig}",
)  # fmt: skip
def retry_priority(config: Config) -> Found:
    for route in upstream_routes(config):
        if any(cluster.priorities > 1 for cluster in config.reached(route)):
            for policy in route.inherited("retry_policy"):
                if not policy.has("retry_priority"):
                    yield policy.get("retry_priority")


@rule(
    "accept-encoding", ERROR, "accept-encoding is added to requests",
    then="the provider answers compressed, after the sidecar has asked it not to: clients get a 502",
    write="no accept-encoding in request_headers_to_add",
)  # fmt: skip
def accept_encoding(config: Config) -> Found:
    for route in served_routes(config):
        if config.is_translated(route):
            continue  # An upstream filter removes what the route has added.
        owners = [route.node, route.host, route.table.node, *route.action.get("weighted_clusters", "clusters")]
        for owner in owners:
            for item in owner.get("request_headers_to_add"):
                if item.get("header", "key").text.lower() == "accept-encoding":
                    yield item


_HEADER = re.compile(r"%(?:REQ|REQUEST_HEADER|UPSTREAM_REQUEST_HEADER)\(([^)]*)\)")
_PATHS = (":path", "x-envoy-original-path")


def _logs(config: Config) -> Iterator[Node]:
    for manager in config.managers:
        ours = [r for r in config.routes_of(manager) if config.is_translated(r) or r.filters]
        if ours:
            yield from manager.node.get("access_log")


def _logged(config: Config) -> Iterator[tuple[Node, str]]:
    """Each request header that an access log prints, with where."""
    for log in _logs(config):
        for name, node in log.walk():
            for value in [node, *node]:
                for found in _HEADER.findall(value.text):
                    for header in found.lower().split("?"):
                        yield value, header.strip()
            if name.startswith("additional_request_headers"):
                yield from ((item, item.text.lower()) for item in node)


@rule(
    "log-credential", ERROR, "an access log prints a header that holds a credential",
    then="the provider's key stands in the log: the log reads the very headers that the upstream filter has set",
    write="%DYNAMIC_METADATA(extproc:provider)% in its place",
)  # fmt: skip
def log_credential(config: Config) -> Found:
    for node, header in _logged(config):
        if header in CREDENTIAL_HEADERS:
            yield node, f"an access log prints the request header {header}"


@rule(
    "log-path", WARNING, "an access log prints :path",
    then="it shows the provider's path, with its key where auth.query is used, and never the client's",
    write="%ROUTE_NAME% in its place",
)  # fmt: skip
def log_path(config: Config) -> Found:
    for node, header in _logged(config):
        if header in _PATHS:
            yield node


@rule(
    "log-format", WARNING, "an access log has no format of its own",
    then="Envoy's default format prints :path, which may hold a provider's key, and nothing of models and tokens",
    write="log_format: {json_format: {status: \"%RESPONSE_CODE%\", model: \"%DYNAMIC_METADATA(extproc:model)%\"}}",
)  # fmt: skip
def log_format(config: Config) -> Found:
    for log in _logs(config):
        settings = log.get("typed_config")
        prints = any(kind in type_of(settings) for kind in (".stream.v3.", ".file.v3."))
        if prints and not any(settings.has(name) for name in ("log_format", "format", "json_format")):
            yield settings


@rule(
    "shadowed", WARNING, "a route's annotation is hidden by its own extproc metadata",
    then="what the annotation says has no effect",
    write="one of the two",
)  # fmt: skip
def shadowed(config: Config) -> Found:
    for route in config.routes:
        spaces = route.node.get("metadata", "filter_metadata")
        noted = [item.get("annotations", "extproc") for item in spaces.get("envoy-gateway", "resources")]
        if spaces.get("extproc") and any(noted):
            yield from (item for item in noted if item)
