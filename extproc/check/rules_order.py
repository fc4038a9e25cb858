"""Rules about what stands beside ours: the order of filters and of routes, and what Envoy itself refuses."""

from __future__ import annotations

from collections.abc import Iterator

from .matching import implies, is_anything, takes_path
from .rule import ERROR, WARNING, Found, rule
from .topology import EXT_PROC, Config, EnvoyRoute, Manager, type_of
from .tree import MERGE, Node

_ROUTER = "envoy.extensions.filters.http.router.v3.Router"
_CODEC = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
_COMPRESSOR = "envoy.extensions.filters.http.compressor.v3.Compressor"
_CORS = "envoy.extensions.filters.http.cors.v3.Cors"
_CONDITIONS = (
    "headers", "query_parameters", "dynamic_metadata", "filter_state", "grpc", "runtime_fraction", "tls_context",
    "cookies",
)  # fmt: skip
"""What a match may ask for beside the path."""


@rule(
    "filter-after-router", ERROR, "the filter stands behind Envoy's router",
    then="Envoy does not start: its router ends the chain on the listener, its upstream_codec that of a cluster",
    write="http_filters: [..., the ext_proc filter, envoy.filters.http.router]",
)  # fmt: skip
def filter_after_router(config: Config) -> Found:
    for item in config.filters:
        last = _ROUTER if item.placement == "listener" else _CODEC
        if any(type_of(node.get("typed_config")) == last for node in item.before):
            yield item.node.get("name"), f"the filter stands behind {_ENDS[last]}"
        elif item.placement == "upstream" and not any(type_of(node.get("typed_config")) == last for node in item.after):
            yield item.node.get("name"), f"no {_ENDS[last]} ends the chain of the cluster's filters"


_ENDS = {_ROUTER: "Envoy's router", _CODEC: "envoy.filters.http.upstream_codec"}


@rule(
    "google-grpc", WARNING, "the filter calls the sidecar by google_grpc",
    then="no cluster of Envoy's holds the sidecar then: neither its bounds nor health checks nor a second instance "
    "apply, and the library's own limit of 4 MB a message breaks larger bodies",
    write="grpc_service: {envoy_grpc: {cluster_name: extproc}}, and the cluster of deploy/envoy.yaml",
)  # fmt: skip
def google_grpc(config: Config) -> Found:
    for item in config.filters:
        node = item.config.get("grpc_service", "google_grpc")
        if node:
            yield node


@rule(
    "duplex-order", WARNING, "another ext_proc of the mode FULL_DUPLEX_STREAMED stands behind our filter",
    then="of fast streams Envoy loses some ends, as if they were whole (one in ten to a hundred, seen on 1.40), and on "
    "1.37 the rest of many an answer above 62 kB",
    write="http_filters: [the other ext_proc, ours, envoy.filters.http.router]; and Envoy 1.39 or later",
)  # fmt: skip
def duplex_order(config: Config) -> Found:
    for item in config.filters:
        for node in item.after if item.placement == "listener" else ():
            mode = node.get("typed_config", "processing_mode", "response_body_mode")
            if type_of(node.get("typed_config")) == EXT_PROC and mode.text == "FULL_DUPLEX_STREAMED":
                yield mode


@rule(
    "compressor-order", WARNING, "a compressor stands behind the translation",
    then="it never compresses: the sidecar has removed the client's accept-encoding before it sees the request",
    write="http_filters: [envoy.filters.http.compressor, the ext_proc filter, envoy.filters.http.router]",
)  # fmt: skip
def compressor_order(config: Config) -> Found:
    for item in config.filters:
        if item.placement == "listener" and item.translates:
            yield from (node for node in item.after if type_of(node.get("typed_config")) == _COMPRESSOR)


@rule(
    "cors-route", WARNING, "a cors filter, and a last route without a cluster",
    then="before the model is known the last route is the one that matches, and Envoy reads its CORS policy only from "
    "a route with a cluster: browsers get no access-control-allow-origin",
    write="route: {cluster: no_such_model, cluster_not_found_response_code: NOT_FOUND}, as in deploy/envoy.yaml",
)  # fmt: skip
def cors_route(config: Config) -> Found:
    for route in config.routes:
        manager = route.table.manager
        if manager is None or not any(not item.translates for item in route.filters) or not _is_catch_all(route):
            continue
        cors = any(type_of(node.get("typed_config")) == _CORS for node in manager.chain)
        if cors and route.node.has("direct_response"):
            yield route.node.get("direct_response")


def _is_catch_all(route: EnvoyRoute) -> bool:
    return _is_any_path(route.node.get("match")) and not _has_conditions(route)


def _is_any_path(match: Node) -> bool:
    prefix = match.get("prefix")
    return (bool(prefix) and prefix.text in ("", "/")) or is_anything(match.get("safe_regex", "regex").text)


def _has_conditions(route: EnvoyRoute) -> bool:
    """Whether its match asks for more than the path, and the absence of the header by which the router names a route:
    no client's own reaches it."""
    match = route.node.get("match")
    asks = [name for name in _CONDITIONS if match.get(name)]
    return bool(asks) and not (asks == ["headers"] and route.takes == "" and len(list(match.get("headers"))) == 1)


def _takes_all_of(first: EnvoyRoute, second: EnvoyRoute) -> bool:
    """Whether what matches *second* always matches *first*."""
    if first.takes == "" and second.takes:
        # What bears the name of a route is not for the first.
        return False
    earlier, later = first.node.get("match"), second.node.get("match")
    if earlier.get("runtime_fraction"):
        return False
    return takes_path(earlier, later) and (not _has_conditions(first) or _asks_no_more(earlier, later))


def _asks_no_more(earlier: Node, later: Node) -> bool:
    """Whether whatever *earlier* asks for beside the path, *later* asks for as well."""
    for name in _CONDITIONS:
        wanted = earlier.get(name)
        if wanted.is_list:
            if not all(any(implies(own, each) for own in later.get(name)) for each in wanted):
                return False
        elif wanted and wanted.plain() != later.get(name).plain():
            return False
    return True


@rule(
    "unreachable-route", WARNING, "no request can reach this route: one before it takes all of them",
    then="its requests go where the earlier route leads, to another model or provider than is meant",
    write="the narrower routes first",
)  # fmt: skip
def unreachable_route(config: Config) -> Found:
    for table in config.tables:
        if not _is_ours(config, table.manager):
            continue
        for host in table.node.get("virtual_hosts"):
            seen: list[EnvoyRoute] = []
            for node in host.get("routes"):
                route = EnvoyRoute(node, host, table)
                if any(_takes_all_of(earlier, route) for earlier in seen):
                    yield node.get("match")
                seen.append(route)


def _is_ours(config: Config, manager: Manager | None) -> bool:
    """Whether anything of ours works on *manager*."""
    routes = config.routes_of(manager)
    return any(route.filters or config.is_translated(route) for route in routes)


# ---- what Envoy refuses by itself


@rule(
    "duplicate-domain", ERROR, "a domain stands in two virtual hosts, or twice in one",
    then="Envoy does not start, or rejects the update",
    write="one virtual host for each domain, with the routes of both",
)  # fmt: skip
def duplicate_domain(config: Config) -> Found:
    for table in config.tables:
        seen: set[str] = set()
        for host in table.node.get("virtual_hosts"):
            for domain in host.get("domains"):
                if domain.text.lower() in seen:
                    yield domain, f"the domain {domain.text[:100]!r} stands twice in one route configuration"
                seen.add(domain.text.lower())


@rule(
    "merge-key", ERROR, "a merge key of YAML (<<) stands in a file that Envoy reads",
    then="Envoy does not start: to it `<<` is a member that no message has",
    write="the members themselves, or an alias for the whole value: retry_policy: *retry",
)  # fmt: skip
def merge_key(config: Config) -> Found:
    if config.root.has("static_resources") or config.root.has("resources"):
        yield from (node for name, node in config.walk() if name == MERGE)


@rule(
    "duplicate-cluster", ERROR, "two clusters bear one name",
    then="Envoy does not start, or rejects the update",
    write="one of the two, or another name",
)  # fmt: skip
def duplicate_cluster(config: Config) -> Found:
    seen: set[str] = set()
    for cluster in config.root.get("static_resources", "clusters"):
        if cluster.get("name").text in seen:
            yield cluster.get("name")
        seen.add(cluster.get("name").text)


@rule(
    "no-such-cluster", ERROR, "a route leads to a cluster that there is none of",
    then="Envoy does not start; with validate_clusters: false, the route's requests get a 503",
    write="the name of a cluster; cluster_not_found_response_code: NOT_FOUND where none is meant",
)  # fmt: skip
def no_such_cluster(config: Config) -> Found:
    if config.dynamic:
        return
    for route in config.routes:
        for node in _named(route):
            if node.text not in config.clusters and not _is_meant(route):
                yield node, f"there is no cluster {node.text[:100]!r}"


def _named(route: EnvoyRoute) -> Iterator[Node]:
    if route.action.get("cluster").text:
        yield route.action.get("cluster")
    yield from (item.get("name") for item in route.action.get("weighted_clusters", "clusters") if item.get("name").text)
    yield from (item.get("cluster") for item in route.action.get("request_mirror_policies") if item.get("cluster").text)


def _is_meant(route: EnvoyRoute) -> bool:
    code = route.action.get("cluster_not_found_response_code").text
    return code == "NOT_FOUND" and route.table.node.get("validate_clusters").false
