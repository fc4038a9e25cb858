"""Minimal edits of deploy/envoy.yaml with a filter in each cluster, each wrong in exactly one way."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from extproc.exchange.attributes import MODELS
from tests.support import placements

GONE = object()
"""As a value: take it away."""
MIB = 1024 * 1024
Edit = Callable[["Places"], None]


class Places:
    """The parts of a configuration that edits name."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.listener = config["static_resources"]["listeners"][0]
        self.manager = placements.manager(config)
        self.table = self.manager["route_config"]
        self.host = self.table["virtual_hosts"][0]
        self.router = self.manager["http_filters"][0]
        self.clusters = placements.clusters(config)
        self.cluster = self.clusters["openai"]
        self.options = placements.http_options(self.cluster)
        self.filter = self.options["http_filters"][0]
        self.endpoint = self.cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
        self.sidecar = self.clusters["extproc"]
        self.route = placements.route(config, "openai")
        self.action = self.route["route"]
        self.both = placements.route(config, "any_provider")["route"]

    def add_cluster(self, name: str, *, like: str = "openai", filters: bool = True, text: str | None = None) -> None:
        port = 443
        made = placements.add_cluster(self.config, name, like, port, text)
        if not filters:
            placements.http_options(made).pop("http_filters")


def put(part: str, path: str, value: Any) -> Edit:
    """Set the member *path* ("a.b.0.c") of a part."""

    def edit(places: Places) -> None:
        target = getattr(places, part)
        *parents, last = path.split(".")
        for name in parents:
            target = target[int(name)] if isinstance(target, list) else target.setdefault(name, {})
        if value is GONE:
            del target[last]
        else:
            target[last] = value

    return edit


def many(*edits: Edit) -> Edit:
    def edit(places: Places) -> None:
        for one in edits:
            one(places)

    return edit


def mode(part: str, name: str, value: Any) -> Edit:
    return put(part, f"typed_config.processing_mode.{name}", value)


def config(part: str, path: str, value: Any) -> Edit:
    return put(part, f"typed_config.{path}", value)


def without(part: str, attribute: str, member: str = "request_attributes") -> Edit:
    def edit(places: Places) -> None:
        getattr(places, part)["typed_config"][member].remove(attribute)

    return edit


def asking(part: str, attribute: str) -> Edit:
    def edit(places: Places) -> None:
        getattr(places, part)["typed_config"]["request_attributes"].append(attribute)

    return edit


def leaf(part: str, text: Any) -> Edit:
    return put(part, "metadata.filter_metadata.extproc.route", text)


def _mirrored(*, filters: bool, text: str | None) -> Edit:
    def edit(places: Places) -> None:
        places.add_cluster("mirror", filters=filters, text=text)
        if text is None:
            added = placements.clusters(places.config)["mirror"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
            del added["metadata"]
        places.action["request_mirror_policies"] = [{"cluster": "mirror"}]

    return edit


def _signer(places: Places) -> None:
    kind = "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector"
    places.options["http_filters"].insert(0, {"name": "injector", "typed_config": {"@type": kind}})


def _no_router(places: Places) -> None:
    places.manager["http_filters"].pop(0)
    del places.host["metadata"]  # the list of models that it read


def _log(value: str) -> Edit:
    path = "access_log.0.typed_config.log_format.json_format.more"
    return put("manager", path, value)


def _whole_bodies_alone(places: Places) -> None:
    places.listener["per_connection_buffer_limit_bytes"] = MIB
    places.host["request_body_buffer_limit"] = 64 * MIB


def _small_window(places: Places) -> None:
    http2 = placements.http_options(places.sidecar)["explicit_http_config"]["http2_protocol_options"]
    del http2["initial_stream_window_size"]


def translated_twice(places: Places) -> None:
    places.router["typed_config"]["grpc_service"]["initial_metadata"] = []
    del places.host["routes"][1:]
    del places.host["metadata"]
    places.route["match"].pop("headers", None)
    places.router["typed_config"].update(
        {k: v for k, v in places.filter["typed_config"].items() if k not in ("grpc_service",)}
    )


_REWRITING = """\
policies:
- request_rewrite:
    prompt: be brief
    provider: openai
    auth: {header: {Authorization: Bearer sk-1}}
    options: {model: m}
"""


def _impatient(places: Places) -> None:
    """A policy that waits for a service, and an Envoy that does not."""
    asks = "policies: [{moderation: {endpoint: 'http://guard.test'}}]"
    places.route["metadata"] = {"filter_metadata": {"extproc": {"route": asks}}}
    del places.filter["typed_config"]["max_message_timeout"]


def _same_name(places: Places) -> None:
    places.filter["name"] = places.router["name"]


def _annotated(text: str) -> dict[str, Any]:
    return {"resources": [{"kind": "HTTPRoute", "annotations": {"extproc": text}}]}


def _annotation_alone(places: Places) -> None:
    """A route that says all in its annotation, whose attribute no one asks for."""
    places.route["metadata"] = {"filter_metadata": {"envoy-gateway": _annotated("losses: report")}}
    name = "xds.route_metadata.filter_metadata['envoy-gateway']['resources'][0]['annotations']['extproc']"
    places.filter["typed_config"]["request_attributes"].remove(name)


def _router_before(places: Places) -> None:
    """A router on the listener before the translator there, seeing the heads of answers."""
    made = copy.deepcopy(places.filter)
    made["name"] = "extproc.router"
    made["typed_config"]["grpc_service"]["initial_metadata"] = [{"key": "x-extproc-role", "value": "router"}]
    made["typed_config"]["processing_mode"] = {"request_body_mode": "BUFFERED", "response_body_mode": "NONE"}
    places.manager["http_filters"].insert(1, made)


EXT = "type.googleapis.com/envoy.extensions.filters.http"
PER_ROUTE = f"{EXT}.ext_proc.v3.ExtProcPerRoute"


def _behind_the_router(places: Places) -> None:
    places.manager["http_filters"].reverse()


def _by_google(places: Places) -> None:
    service = places.filter["typed_config"]["grpc_service"]
    del service["envoy_grpc"]
    service["google_grpc"] = {"target_uri": "127.0.0.1:50051", "stat_prefix": "x"}


def _duplex_behind(places: Places) -> None:
    mode = {"request_body_mode": "FULL_DUPLEX_STREAMED", "response_body_mode": "FULL_DUPLEX_STREAMED"}
    service = {"envoy_grpc": {"cluster_name": "picker"}}
    kind = f"{EXT}.ext_proc.v3.ExternalProcessor"
    other = {"name": "picker", "typed_config": {"@type": kind, "grpc_service": service, "processing_mode": mode}}
    places.manager["http_filters"].insert(-1, other)


def _compressor_behind(places: Places) -> None:
    other = {"name": "compressor", "typed_config": {"@type": f"{EXT}.compressor.v3.Compressor"}}
    places.manager["http_filters"].insert(-1, other)


def _cors_without_a_cluster(places: Places) -> None:
    places.manager["http_filters"].insert(0, {"name": "cors", "typed_config": {"@type": f"{EXT}.cors.v3.Cors"}})
    last = places.host["routes"][-1]
    del last["route"]
    last["direct_response"] = {"status": 404}


def _catch_all_first(places: Places) -> None:
    places.host["routes"].insert(0, places.host["routes"].pop())


def _first(match: dict[str, Any]) -> Edit:
    """A copy of the last route before all others, with another match."""

    def edit(places: Places) -> None:
        routes = places.host["routes"]
        routes.insert(0, {**copy.deepcopy(routes[-1]), "match": match})

    return edit


def _narrower_behind(places: Places) -> None:
    """A route for one model behind one that takes all that begin as its name does."""
    routes = places.host["routes"]
    for kind, value in (("exact", "claude-opus-5-5"), ("prefix", "claude")):
        header = {"name": "x-extproc-model", "string_match": {kind: value}}
        route = {**copy.deepcopy(routes[0]), "name": kind, "match": {"prefix": "/", "headers": [header]}}
        routes.insert(0, route)


def _the_same_again(places: Places) -> None:
    routes = places.host["routes"]
    routes.insert(1, {**copy.deepcopy(routes[0]), "name": "again"})


def _mutating(places: Places) -> None:
    kind = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
    header = {"append": {"header": {"key": "X-Goog-Api-Key", "value": "AIza-1"}}}
    added = {"name": "add", "typed_config": {"@type": kind, "mutations": {"request_mutations": [header]}}}
    places.manager["http_filters"].insert(0, added)


def _behind_the_codec(places: Places) -> None:
    places.options["http_filters"].append(places.options["http_filters"].pop(0))


def _without_a_codec(places: Places) -> None:
    places.options["http_filters"].pop()


def _matched_tls(**said: Any) -> Edit:
    def edit(places: Places) -> None:
        socket = places.cluster.pop("transport_socket")
        for name, value in said.items():
            socket["typed_config"][name] = value
        places.cluster["transport_socket_matches"] = [{"name": "tls", "match": {}, "transport_socket": socket}]

    return edit


def _lua(code: str) -> Edit:
    kind = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
    config = {"@type": kind, "default_source_code": {"inline_string": code}}
    return lambda places: places.manager["http_filters"].insert(0, {"name": "lua", "typed_config": config})


def _again(places: Places) -> None:
    places.config["static_resources"]["clusters"].append(copy.deepcopy(places.clusters["anthropic"]))


def _plain(places: Places) -> None:
    load = {"endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}}}}]}]}  # fmt: skip
    places.config["static_resources"]["clusters"].append({"name": "web", "type": "STATIC", "load_assignment": load})
    own = {"match": {"prefix": "/web"}, "route": {"cluster": "web", "timeout": "0s"}}
    placements.routes(places.config).insert(0, own)


def override(name: str, **said: Any) -> Edit:
    return put("route", "typed_per_filter_config", {name: {"@type": PER_ROUTE, "overrides": said}})


def adding(part: str, header: str, value: str) -> Edit:
    return put(part, "request_headers_to_add", [{"header": {"key": header, "value": value}}])


PROBE = {"path": "/v1/models", "request_headers_to_add": [{"header": {"key": "authorization", "value": "Bearer sk-1"}}]}
UPSTREAM_LEAF = "xds.upstream_host_metadata.filter_metadata['extproc']['route']"
OPENAI = "provider: openai\nauth: {header: {Authorization: 'Bearer ${OPENAI_API_KEY}'}}\n"

EDITS: list[tuple[str, str, Edit]] = [
    ("request-headers-skip", "upstream", mode("filter", "request_header_mode", "SKIP")),
    ("request-headers-skip", "listener", mode("router", "request_header_mode", "SKIP")),
    ("request-body-mode", "streamed", mode("filter", "request_body_mode", "STREAMED")),
    ("request-body-mode", "left out", mode("router", "request_body_mode", GONE)),
    ("response-headers-skip", "", mode("filter", "response_header_mode", "SKIP")),
    ("response-headers-skip", "listener", config("router", "allow_mode_override", GONE)),
    ("response-body-mode", "partial", mode("filter", "response_body_mode", "BUFFERED_PARTIAL")),
    ("response-body-mode", "duplex", mode("filter", "response_body_mode", "FULL_DUPLEX_STREAMED")),
    ("mode-override", "left out", config("filter", "allow_mode_override", GONE)),
    ("response-trailers", "left out", mode("filter", "response_trailer_mode", GONE)),
    ("response-trailers", "skip", mode("filter", "response_trailer_mode", "SKIP")),
    ("message-timeout", "left out", config("filter", "message_timeout", GONE)),
    ("message-timeout", "short", config("router", "message_timeout", "0.5s")),
    ("max-message-timeout", "upstream", _impatient),
    ("failure-mode-allow", "", config("filter", "failure_mode_allow", True)),
    ("observability-mode", "", config("filter", "observability_mode", True)),
    ("immediate-response", "", config("filter", "disable_immediate_response", True)),
    ("routing-mutation", "", config("filter", "mutation_rules", {})),
    ("mutation-disallowed", "", config("filter", "mutation_rules.disallow_all", True)),
    ("forward-rules", "", config("filter", "forward_rules", {"allowed_headers": {"patterns": [{"exact": "x"}]}})),
    ("receiving-namespace", "upstream", config("filter", "metadata_options.receiving_namespaces.untyped", ["other"])),
    ("receiving-namespace", "listener", config("router", "metadata_options.receiving_namespaces", GONE)),
    ("forwarding-namespace", "", config("filter", "metadata_options.forwarding_namespaces", GONE)),
    ("role", "unknown", config("filter", "grpc_service.initial_metadata.0.value", "translater")),
    ("role", "router upstream", config("filter", "grpc_service.initial_metadata.0.value", "router")),
    ("equal-names", "", _same_name),
    ("translated-twice", "", translated_twice),
    ("no-router", "", _no_router),
    ("route-cache", "", config("router", "route_cache_action", "RETAIN")),
    ("attributes-missing", "", without("filter", UPSTREAM_LEAF)),
    ("attributes-missing", "annotation", _annotation_alone),
    ("attributes-map", "", asking("filter", "xds.route_metadata.filter_metadata['extproc']")),
    ("attributes-struct", "", asking("filter", "xds.route_metadata")),
    ("route-name", "unasked", without("filter", "xds.route_name")),
    ("route-name", "unnamed", put("route", "name", GONE)),
    ("attempt", "", without("filter", "upstream.request_attempt_count")),
    ("code-details", "", config("router", "response_attributes", GONE)),
    ("request-path", "", without("router", "request.path")),
    ("signer-order", "", _signer),
    ("no-metadata", "", many(put("route", "metadata", GONE), put("endpoint", "metadata", GONE))),
    ("metadata-form", "map in route", leaf("endpoint", {"provider": "openai", "auth": "none"})),
    ("metadata-form", "struct", put("route", "metadata.filter_metadata.extproc", {"losses": "report"})),
    ("route", "unknown provider", leaf("endpoint", "provider: nobody\nauth: none\n")),
    ("route", "no yaml", leaf("endpoint", "provider: [")),
    ("route", "an attribute of Envoy's", leaf("endpoint", f"{OPENAI}timeout: 30000\n")),
    ("route", "in the annotation", put("route", "metadata.filter_metadata", {"envoy-gateway": _annotated("x: 1")})),
    ("route", "wrong together", leaf("route", "upstream: bedrock_converse\n")),
    ("models", "", put("host", "metadata.filter_metadata.extproc.models", "a: {colour: blue}")),
    ("models", "mapping", put("host", "metadata.filter_metadata.extproc.models", {"a": {}})),
    ("models-unread", "", without("router", MODELS)),
    ("secret-inline", "", leaf("endpoint", "provider: openai\nauth: {header: {Authorization: Bearer sk-1}}\n")),
    ("secret-inline", "query", leaf("endpoint", "provider: openai\nauth: {query: {key: abc}}\n")),
    ("plain-text", "", put("cluster", "transport_socket", GONE)),
    ("tls-unverified", "", put("cluster", "transport_socket.typed_config.common_tls_context.validation_context", GONE)),
    ("sidecar-missing", "", config("filter", "grpc_service.envoy_grpc.cluster_name", "extprox")),
    ("sidecar-http2", "", put("sidecar", "typed_extension_protocol_options", GONE)),
    ("sidecar-breakers", "left out", put("sidecar", "circuit_breakers", GONE)),
    ("sidecar-breakers", "low", put("sidecar", "circuit_breakers.thresholds.0.max_requests", 2000)),
    ("sidecar-buffer", "left out", put("sidecar", "per_connection_buffer_limit_bytes", GONE)),
    ("sidecar-buffer", "as the listener's", put("sidecar", "per_connection_buffer_limit_bytes", 64 * MIB)),
    ("sidecar-window", "left out", _small_window),
    ("upstream-buffer", "", put("cluster", "per_connection_buffer_limit_bytes", 64 * MIB)),
    ("slow-client", "", put("listener", "per_connection_buffer_limit_bytes", GONE)),
    ("slow-client", "by http2", put("manager", "http2_protocol_options", GONE)),
    ("slow-client", "by frames", put("manager", "http2_protocol_options.max_outbound_frames", GONE)),
    ("slow-client", "whole bodies alone", _whole_bodies_alone),
    ("no-filter", "", put("options", "http_filters", GONE)),
    ("hedge-policy", "route", put("action", "hedge_policy", {"hedge_on_per_try_timeout": True})),
    ("hedge-policy", "host", put("host", "hedge_policy", {"hedge_on_per_try_timeout": True})),
    ("internal-redirect", "", put("action", "internal_redirect_policy", {"max_internal_redirects": 1})),
    ("mirror-filter", "", _mirrored(filters=False, text=OPENAI)),
    ("mirror-metadata", "", _mirrored(filters=True, text=None)),
    ("continue-100", "", put("manager", "proxy_100_continue", True)),
    ("upgrade", "manager", put("manager", "upgrade_configs", [{"upgrade_type": "websocket"}])),
    ("upgrade", "route", put("action", "upgrade_configs", [{"upgrade_type": "CONNECT"}])),
    ("route-timeout-default", "", put("action", "timeout", GONE)),
    ("route-timeout", "", put("action", "timeout", "60s")),
    ("idle-timeout", "", many(put("manager", "stream_idle_timeout", GONE), put("action", "idle_timeout", GONE))),
    ("retry-503-529", "503 alone", put("action", "retry_policy.retriable_status_codes", [429, 503])),
    ("retry-503-529", "gateway-error", put("action", "retry_policy", {"retry_on": "gateway-error"})),
    ("retry-codes-unused", "", put("action", "retry_policy.retry_on", "connect-failure")),
    ("retry-priority", "", put("both", "retry_policy.retry_priority", GONE)),
    ("log-credential", "", _log("%REQ(AUTHORIZATION)%")),
    ("log-credential", "second choice", _log("%REQ(X-NONE?X-API-KEY):20%")),
    ("log-path", "", _log("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%")),
    ("log-format", "", put("manager", "access_log.0.typed_config.log_format", GONE)),
    ("shadowed", "", put("route", "metadata.filter_metadata.envoy-gateway", _annotated("losses: report"))),
    ("filter-after-router", "", _behind_the_router),
    ("filter-after-router", "codec", _behind_the_codec),
    ("filter-after-router", "no codec", _without_a_codec),
    ("merge-key", "", put("action", "<<", {"priority": "HIGH"})),
    ("google-grpc", "", _by_google),
    ("duplex-order", "", _duplex_behind),
    ("cors-route", "", _cors_without_a_cluster),
    ("unreachable-route", "", _catch_all_first),
    ("unreachable-route", "pattern", _first({"safe_regex": {"regex": "/.*"}})),
    ("unreachable-route", "no prefix", _first({"prefix": ""})),
    ("unreachable-route", "narrower", _narrower_behind),
    ("unreachable-route", "twice", _the_same_again),
    ("duplicate-domain", "", put("host", "domains", ["*", "*"])),
    ("duplicate-cluster", "", _again),
    ("no-such-cluster", "", put("action", "cluster", "opnai")),
    ("no-such-cluster", "mirror", put("action", "request_mirror_policies", [{"cluster": "shadow"}])),
    ("no-such-cluster", "catch-all", put("table", "validate_clusters", GONE)),
    ("secret-literal", "policy", leaf("route", "policies: [{moderation: {provider: openai, api_key: sk-1}}]\n")),
    ("secret-literal", "policy's auth", leaf("route", _REWRITING)),
    ("secret-literal", "by its looks", adding("route", "x-info", "sk-abcdefghijklmnopqrstuvwx")),
    ("secret-literal", "in a script", _lua("h:headers():replace('a', 'Bearer sk-abcdefghijklmnopqrstuvwx')")),
    ("secret-literal", "among options", leaf("route", "options: {other: sk-abcdefghijklmnopqrstuvwx}\n")),
    ("secret-literal", "raw", put("route", "request_headers_to_add", [
        {"header": {"key": "x-api-key", "raw_value": "c2stMQ=="}}])),
    ("secret-inline", "signing", leaf("endpoint", "provider: bedrock\nprovider_conf: {region: us-east-1}\n"
                                      "auth: {aws: {access_key_id: AKIA1, secret_access_key: x}}\n")),
    ("secret-inline", "a header of one's own", leaf("endpoint", "provider: openai-compatible\n"
        "override: {endpoint: https://api.openai.com}\nauth: {header: {x-my-key: abc}}\n")),
    ("secret-literal", "route", adding("route", "x-api-key", "sk-1")),
    ("secret-literal", "another header", adding("route", "X-Portkey-Api-Key", "pk-1")),
    ("secret-literal", "filter", _mutating),
    ("secret-literal", "metadata to the sidecar", put("filter", "typed_config.grpc_service.initial_metadata",
        [{"key": "authorization", "value": "Bearer sk-1"}])),
    ("secret-literal", "rewritten path", put("action", "prefix_rewrite", "/v1/chat?api-key=k1")),
    ("secret-literal", "host", adding("host", "Authorization", "Bearer sk-1")),
    ("secret-literal", "probe", put("cluster", "health_checks", [{"http_health_check": PROBE}])),
    ("secret-literal", "probe's path", put("cluster", "health_checks", [{"http_health_check": {"path": "/?key=a"}}])),
    ("secret-literal", "endpoint", leaf("endpoint", f"{OPENAI}override: {{endpoint: 'https://h/v1/x?key=abc'}}\n")),
    ("never-enabled", "", put("filter", "disabled", True)),
    ("no-filter", "disabled by the route", put("route", "typed_per_filter_config",
        {"extproc.translate": {"@type": PER_ROUTE, "disabled": True}})),
    ("no-sni", "", put("cluster", "transport_socket.typed_config.auto_host_sni", GONE)),
    ("no-sni", "matched", _matched_tls(auto_host_sni=False)),
    ("tls-unverified", "matched", _matched_tls(common_tls_context={})),
    ("host-rewrite", "", put("action", "auto_host_rewrite", GONE)),
    ("host-rewrite", "false", put("action", "auto_host_rewrite", False)),
    ("limits-by-request", "", put("action", "rate_limits", [
        {"actions": [{"remote_address": {}}], "hits_addend": {"number": 0}}])),
    ("limits-by-request", "hits_addend", put("host", "rate_limits", [
        {"actions": [{"remote_address": {}}], "apply_on_stream_done": True,
         "hits_addend": {"format": "%DYNAMIC_METADATA(io.envoy.ai_gateway:tokens)%"}}])),
    ("costs-namespace", "", leaf("route", "losses: report\nmetadata: {costs: {in: input_tokens}}\n")),
    ("override-mode", "body", override("extproc.translate", processing_mode={"request_body_mode": "NONE"})),
    ("override-mode", "headers", override("extproc.translate", processing_mode={
        "request_body_mode": "BUFFERED", "response_header_mode": "SKIP"})),
    ("override-mode", "of the router", override("extproc.listener", processing_mode={"request_body_mode": "NONE"})),
    ("override-mode", "namespaces", override("extproc.translate", metadata_options={})),
    ("override-mode", "answers", override("extproc.translate", processing_mode={
        "request_body_mode": "BUFFERED", "response_body_mode": "FULL_DUPLEX_STREAMED"})),
    ("override-mode", "attributes", override("extproc.translate", request_attributes=["request.path"])),
    ("override-mode", "failures", override("extproc.translate", failure_mode_allow=True)),
    ("schema", "unknown field", config("filter", "mesage_timeout", "10s")),
    ("schema", "unknown word", mode("filter", "request_trailer_mode", "SENT")),
    ("schema", "no duration", config("filter", "deferred_close_timeout", "soon")),
]  # fmt: skip
"""Rule, variant, edit."""


def _listener_alone(places: Places) -> None:
    del places.config["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"]


def _bounded(places: Places) -> None:
    _listener_alone(places)
    for host in places.manager["route_config"]["virtual_hosts"]:
        host["request_body_buffer_limit"] = 64 * MIB


LISTENER_EDITS: list[tuple[str, str | None, Edit]] = [
    (
        "accept-encoding", "",
        put("route", "request_headers_to_add", [{"header": {"key": "Accept-Encoding", "value": "gzip"}}]),
    ),
    ("endpoint-on-listener", "", leaf("endpoint", OPENAI)),
    ("listener-buffer", "", _listener_alone),
    ("listener-buffer", "one route", many(_bounded, lambda places: places.route.update(request_body_buffer_limit=1))),
    ("listener-buffer", None, _bounded),
    ("signed-host", "", leaf("route", "provider: bedrock\nupstream: openai_chat\nprovider_conf: {region: us-west-2}\n"
                             "auth: {aws: {}}\n")),
    ("failure-mode-allow", "", config("filter", "failure_mode_allow", True)),
    ("answers-lost", "", _router_before),
    ("compressor-order", "", _compressor_behind),
    ("plain-route", "", _plain),
    ("plain-route", None, many(_plain, lambda places: placements.routes(places.config)[0].update(
        typed_per_filter_config={"extproc.translate": {"@type": PER_ROUTE, "disabled": True}}))),
    ("route", "", leaf("route", "provider: nobody\n")),
    ("hedge-policy", None, put("action", "hedge_policy", {"hedge_on_per_try_timeout": True})),
]  # fmt: skip
"""The same for translation on the listener; a variant of None: it finds nothing there."""
