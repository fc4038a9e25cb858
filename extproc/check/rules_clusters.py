"""Rules about what holds and carries: the sidecar's cluster, the upstreams', the listeners."""

from __future__ import annotations

from .rule import ERROR, WARNING, Found, rule
from .topology import MIB, OPTIONS, Cluster, Config, EnvoyRoute, Manager

STREAMS = 4096
"""Requests in flight that the sidecar's cluster should carry at least."""
WINDOW = 16 * MIB
"""Envoy's window of an HTTP/2 stream where the configuration names none (seen on 1.40)."""
FRAMES, FRAME = 10_000, 16 * 1024 + 9
"""How many frames may wait for an HTTP/2 client where the configuration does not say, and bytes of the longest."""
LISTENER = 32 * MIB
"""What a request with images may need: Anthropic takes 32 MB."""
BODY = "request_body_buffer_limit"
"""On a route, else on its virtual host: more than the listener's bound, for whole bodies alone."""
HTTP2 = ("explicit_http_config", "http2_protocol_options")


def sidecars(config: Config) -> list[Cluster]:
    return [config.clusters[name] for name in config.sidecars if name in config.clusters]


def _largest_body(config: Config) -> int:
    """The most that Envoy may hand to the sidecar at once."""
    routes = [_held_for(route, route.table.manager) for route in config.routes if route.table.manager]
    bounds = [*map(_buffer, config.managers), *routes, *(c.buffer() for c in config.clusters.values() if c.filters)]
    return max(bounds, default=MIB)


def _buffer(manager: Manager) -> int:
    return manager.listener.get("per_connection_buffer_limit_bytes").number(MIB)


def _held_for(route: EnvoyRoute, manager: Manager) -> int:
    """How much of a request, or of an answer that is no stream, *manager* holds for the sidecar on *route*."""
    levels = [level.get(BODY) for level in (route.node, route.host) if level.has(BODY)]
    return max([_buffer(manager), *(node.number(0) for node in levels[:1])])


def _bounds_matter(config: Config) -> bool:
    return any(item.placement == "upstream" for item in config.filters)


@rule(
    "sidecar-missing", ERROR, "the cluster of the sidecar is not here",
    then="Envoy does not start, or every request gets a 500",
    write="a cluster of the name that grpc_service.envoy_grpc.cluster_name says",
)  # fmt: skip
def sidecar_missing(config: Config) -> Found:
    if not config.dynamic:
        for name, filters in config.sidecars.items():
            if name not in config.clusters and filters[0].config.get("grpc_service", "envoy_grpc"):
                yield filters[0].config.get("grpc_service", "envoy_grpc", "cluster_name")


@rule(
    "sidecar-http2", ERROR, "the sidecar's cluster does not speak HTTP/2",
    then="gRPC cannot work: Envoy does not start, or every request gets a 500",
    write="explicit_http_config: {http2_protocol_options: {}}, in the cluster's HttpProtocolOptions",
)  # fmt: skip
def sidecar_http2(config: Config) -> Found:
    for cluster in sidecars(config):
        if not cluster.options.get(*HTTP2) and not cluster.node.has("http2_protocol_options"):
            yield cluster.options if cluster.options else cluster.node.get("typed_extension_protocol_options", OPTIONS)


@rule(
    "sidecar-breakers", ERROR, "the sidecar's cluster bears fewer requests than there may be exchanges",
    then="with Envoy's default of 1024, exchange 1,025 (513 with two filters) gets a 500",
    write="circuit_breakers: {thresholds: [{max_connections: 1024, max_pending_requests: 65536, max_requests: 65536}]}",
)  # fmt: skip
def sidecar_breakers(config: Config) -> Found:
    for cluster in sidecars(config):
        thresholds = cluster.node.get("circuit_breakers", "thresholds")
        mine = next((t for t in thresholds if t.get("priority").text in ("", "DEFAULT")), thresholds)
        for name in ("max_requests", "max_pending_requests"):
            if mine.get(name).number(1024) < STREAMS:
                yield mine.get(name), f"{name} of the sidecar's cluster is {mine.get(name).number(1024)}"


@rule(
    "sidecar-buffer", ERROR, "the sidecar's cluster holds less than a body may be long",
    then="Envoy crashes on an answer beyond the limit: every client of this Envoy loses its connection",
    write="per_connection_buffer_limit_bytes: 268435456, and at least four times the listener's",
)  # fmt: skip
def sidecar_buffer(config: Config) -> Found:
    largest = _largest_body(config)
    for cluster in sidecars(config) if _bounds_matter(config) else []:
        if cluster.buffer() <= largest:
            node = cluster.node.get("per_connection_buffer_limit_bytes")
            yield node, f"the sidecar's cluster holds {cluster.buffer()} bytes, a body may have {largest}"


@rule(
    "sidecar-window", ERROR, "an HTTP/2 stream to the sidecar holds less than a body may be long",
    then="Envoy crashes on an answer beyond the window (seen at 18 MB with the default of 16 MiB)",
    write="http2_protocol_options: {initial_stream_window_size: 268435456, initial_connection_window_size: 268435456}",
)  # fmt: skip
def sidecar_window(config: Config) -> Found:
    largest = _largest_body(config)
    for cluster in sidecars(config) if _bounds_matter(config) else []:
        node = cluster.options.get(*HTTP2, "initial_stream_window_size")
        if cluster.options.get(*HTTP2) and node.number(WINDOW) <= largest:
            yield node, f"a stream to the sidecar holds {node.number(WINDOW)} bytes, a body may have {largest}"


@rule(
    "upstream-buffer", WARNING, "an upstream's cluster reads far ahead of the client",
    then="the more Envoy holds of an answer, the nearer it comes to a crash: seen at 80 MB with 64 MiB here",
    write="per_connection_buffer_limit_bytes: 1048576",
)  # fmt: skip
def upstream_buffer(config: Config) -> Found:
    for cluster in config.clusters.values():
        if cluster.filters and cluster.buffer() > 4 * MIB:
            yield cluster.node.get("per_connection_buffer_limit_bytes")


def _is_before_filters(config: Config, manager: Manager) -> bool:
    """Whether routes of *manager* lead to a cluster with a filter of ours."""
    routes = config.routes_of(manager)
    return any(cluster.filters for route in routes for cluster in config.reached(route))


@rule(
    "slow-client", ERROR, "a listener before an upstream filter holds less than an answer may be long",
    then="Envoy crashes where a client is slow to read a streamed answer: when its end has come, no more may wait "
    "than this (seen on 1.37 to 1.40)",
    write="per_connection_buffer_limit_bytes: 67108864, and in the connection manager "
    "http2_protocol_options: {initial_stream_window_size: 67108864, max_outbound_frames: 4000}",
)  # fmt: skip
def slow_client(config: Config) -> Found:
    for manager in config.managers:
        if not _is_before_filters(config, manager):
            continue
        if manager.listener and _buffer(manager) < LISTENER:
            yield manager.listener.get("per_connection_buffer_limit_bytes")
        if manager.node.get("codec_type").text == "HTTP1":
            continue
        window = manager.node.get("http2_protocol_options", "initial_stream_window_size")
        frames = manager.node.get("http2_protocol_options", "max_outbound_frames")
        if window.number(WINDOW) < LISTENER:
            yield window, "an HTTP/2 client's stream before an upstream filter holds less than an answer may be long"
        elif LISTENER <= _buffer(manager) < frames.number(FRAMES) * FRAME:
            yield frames, "more frames of unread answers may wait for an HTTP/2 client than the listener holds"


@rule(
    "listener-buffer", WARNING, "the listener holds less than a request with images may be long",
    then="larger requests get a 413, and larger answers that are no stream a 500",
    write="per_connection_buffer_limit_bytes: 67108864; or request_body_buffer_limit: 67108864 on the virtual "
    "host, where no cluster has a filter",
)  # fmt: skip
def listener_buffer(config: Config) -> Found:
    for manager in config.managers:
        routes = config.routes_of(manager)
        held = [_held_for(route, manager) for route in routes if route.filters] or [_buffer(manager)]
        if not manager.listener or _is_before_filters(config, manager):
            continue
        if manager.filters and min(held) < LISTENER:
            yield manager.listener.get("per_connection_buffer_limit_bytes")
