"""Envoy's configuration as Envoy Gateway (v1.9) writes it from the manifests in deploy/envoy-gateway.

Only what they use, by Envoy Gateway's own rules: the filter is on the listener, disabled, and each targeted route
enables it; response trailers are never sent to it; it may not change routing headers; a route's annotations stand in
its metadata without their prefix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).parents[2] / "deploy" / "envoy-gateway"
PREFIX = "gateway.envoyproxy.io/"
FILTER = "envoy.filters.http.ext_proc/envoyextensionpolicy/default/extproc/extproc/0"
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TYPES = "type.googleapis.com/"
MIB = 1024 * 1024
_BODIES = {"Buffered": "BUFFERED", "Streamed": "STREAMED"}


def manifests() -> list[dict[str, Any]]:
    """Every object of the kustomization."""
    files = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text("utf-8"))["resources"]
    return [item for file in files for item in yaml.safe_load_all((MANIFESTS / file).read_text("utf-8"))]


def with_upgrades() -> list[dict[str, Any]]:
    """The kustomization's objects, and the patch beside it."""
    return [*manifests(), *yaml.safe_load_all((MANIFESTS / "upgrades.yaml").read_text("utf-8"))]


def of_kind(kind: str, objects: Sequence[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Those of *objects*, by default of the kustomization, that are of *kind*."""
    return [item for item in (manifests() if objects is None else objects) if item["kind"] == kind]


def bootstrap(
    sidecar: str,
    upstreams: Mapping[str, int],
    secrets: Mapping[str, str],
    objects: Sequence[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """*sidecar* is its socket; *upstreams* maps a host to the port of loopback that stands in for it; *secrets* maps
    paths that routes name to others; *objects* are the manifests, by default those of the kustomization."""
    (policy,) = of_kind("EnvoyExtensionPolicy", objects)
    (client,) = of_kind("ClientTrafficPolicy", objects)
    targets = {ref["name"] for ref in policy["spec"]["targetRefs"]}
    (processor,) = policy["spec"]["extProc"]
    routes = [
        made
        for item in of_kind("HTTPRoute", objects)
        for rule in item["spec"]["rules"]
        for made in _routes(item, rule, item["metadata"]["name"] in targets, secrets)
    ]
    manager = {
        "@type": _TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "llm",
        "route_config": {"virtual_hosts": [{"name": "llm", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": FILTER, "disabled": True, "typed_config": _processor(processor)},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": _TYPES + "envoy.extensions.filters.http.router.v3.Router"},
            },
        ],
    }
    _admit(manager, client["spec"])
    for patch in of_kind("EnvoyPatchPolicy", objects):
        for each in patch["spec"]["jsonPatches"]:
            _patch(manager, each)
    listener = {
        "name": "llm",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "per_connection_buffer_limit_bytes": _bytes(client["spec"]["connection"]["bufferLimit"]),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    clusters = [_backend(item, upstreams) for item in of_kind("Backend", objects)]
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": [listener], "clusters": [*clusters, _sidecar(processor, sidecar)]},
    }


def _admit(manager: dict[str, Any], client: dict[str, Any]) -> None:
    """Which requests a ClientTrafficPolicy lets in, in a connection manager's words."""
    actions = {"Allow": "ALLOW", "DropHeader": "DROP_HEADER", "RejectRequest": "REJECT_REQUEST"}
    action = actions[client.get("headers", {}).get("withUnderscoresAction", "RejectRequest")]
    manager["common_http_protocol_options"] = {"headers_with_underscores_action": action}
    manager["http_protocol_options"] = {"accept_http_10": "http10" in client.get("http1", {})}


def _patch(manager: dict[str, Any], patch: dict[str, Any]) -> None:
    """A patch of the listener, as far as it concerns a member of its connection manager."""
    assert (patch["name"], patch["operation"]["op"]) == ("default/llm/http", "add")
    before, _, member = patch["operation"]["path"].rpartition("/")
    assert before == "/default_filter_chain/filters/0/typed_config"
    manager[member] = patch["operation"]["value"]


def _routes(
    item: dict[str, Any], rule: dict[str, Any], enabled: bool, secrets: Mapping[str, str]
) -> list[dict[str, Any]]:
    annotations = {
        key.removeprefix(PREFIX): _replaced(value, secrets)
        for key, value in item["metadata"].get("annotations", {}).items()
        if key.startswith(PREFIX)
    }
    name = item["metadata"]["name"]
    resource = {"kind": "HTTPRoute", "name": name, "namespace": "default", "annotations": annotations}
    (rewrite,) = rule["filters"]
    (backend,) = rule["backendRefs"]
    made = {
        "metadata": {"filter_metadata": {"envoy-gateway": {"resources": [resource]}}},
        "route": {
            "cluster": backend["name"],
            "host_rewrite_literal": rewrite["urlRewrite"]["hostname"],
            "timeout": "0s",
        },
    }
    if enabled:
        config = {"@type": _TYPES + "envoy.config.route.v3.FilterConfig", "config": {}}
        made["typed_per_filter_config"] = {FILTER: config}
    return [{**made, "match": _prefix(match["path"]["value"])} for match in rule["matches"]]


def _prefix(path: str) -> dict[str, str]:
    """Envoy takes no whole path for one that is followed by a slash."""
    return {"prefix": "/"} if path == "/" else {"path_separated_prefix": path}


def _replaced(text: str, secrets: Mapping[str, str]) -> str:
    for path, other in secrets.items():
        text = text.replace(path, other)
    return text


def _processor(item: dict[str, Any]) -> dict[str, Any]:
    mode = item["processingMode"]
    return {
        "@type": _TYPES + "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
        "grpc_service": {
            "envoy_grpc": {"cluster_name": "extproc"},
            "timeout": "10s",
            "retry_policy": {
                "retry_on": ",".join(item["backendSettings"]["retry"]["retryOn"]["triggers"]),
                "num_retries": item["backendSettings"]["retry"]["numRetries"],
            },
        },
        "processing_mode": {
            "request_header_mode": "SEND",
            "response_header_mode": "SEND",
            "request_body_mode": _BODIES[mode["request"]["body"]],
            "response_body_mode": _BODIES[mode["response"]["body"]],
            "request_trailer_mode": "SKIP",
            "response_trailer_mode": "SKIP",
        },
        "failure_mode_allow": item["failOpen"],
        "message_timeout": item["messageTimeout"],
        "request_attributes": mode["request"]["attributes"],
        "response_attributes": mode["response"]["attributes"],
        "allow_mode_override": mode["allowModeOverride"],
        "status_on_error": {"code": item["statusOnError"]},
        "metadata_options": {
            "forwarding_namespaces": {"untyped": item["metadata"]["accessibleNamespaces"]},
            "receiving_namespaces": {"untyped": item["metadata"]["writableNamespaces"]},
        },
    }


def _sidecar(item: dict[str, Any], path: str) -> dict[str, Any]:
    settings = item["backendSettings"]
    http2 = {
        "initial_stream_window_size": _bytes(settings["http2"]["initialStreamWindowSize"]),
        "initial_connection_window_size": _bytes(settings["http2"]["initialConnectionWindowSize"]),
    }
    return {
        **_cluster("extproc", {"pipe": {"path": path}}),
        "per_connection_buffer_limit_bytes": _bytes(settings["connection"]["bufferLimit"]),
        "circuit_breakers": {"thresholds": [{"max_requests": settings["circuitBreaker"]["maxParallelRequests"]}]},
        "typed_extension_protocol_options": {
            _HTTP: {"@type": _TYPES + _HTTP, "explicit_http_config": {"http2_protocol_options": http2}}
        },
    }


def _backend(item: dict[str, Any], upstreams: Mapping[str, int]) -> dict[str, Any]:
    """Without its TLS: what stands in for the provider speaks plain HTTP."""
    (endpoint,) = item["spec"]["endpoints"]
    address = {"address": "127.0.0.1", "port_value": upstreams[endpoint["fqdn"]["hostname"]]}
    return _cluster(item["metadata"]["name"], {"socket_address": address})


def _cluster(name: str, address: dict[str, Any]) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


def _bytes(quantity: str) -> int:
    return int(quantity[:-2]) * {"Ki": 1024, "Mi": MIB}[quantity[-2:]]
