"""Rules about the metadata that speaks to the sidecar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..exchange.attributes import MODELS
from ..headers import CREDENTIAL_HEADERS
from ..names import may_carry_credential
from ..route.catalogue import read_catalogue
from ..route.model import COSTS_NAMESPACE
from ..route.text import RouteError
from .levels import MetadataLevel, all_levels, combinations, level, named_level, place, problem
from .rule import ERROR, WARNING, Found, rule
from .topology import Cluster, Config, EnvoyRoute, Filter, Table, is_address, is_near
from .tree import Node


@rule(
    "no-filter", ERROR, "metadata for the sidecar, and no filter that reads it",
    then="requests go on untranslated, with the client's own key",
    write="http_filters with the ext_proc filter, in the cluster's HttpProtocolOptions or on the listener",
)  # fmt: skip
def no_filter(config: Config) -> Found:
    for route in config.routes:
        if route.table.manager is None or _waits(route, config):
            continue
        bare = [
            cluster
            for cluster in config.reached(route)
            if not route.enabled(cluster.filters, cluster) and not route.translated_before(cluster)
        ]
        owners = [owner for cluster in bare for owner in (cluster.node, *cluster.endpoints)]
        if bare and not config.is_translated(route) and not any(item.translates for item in route.filters):
            owners.append(route.node)
        found = next((found for owner in owners if (found := level(owner)).node), None)
        if found:
            yield found.node
    if not config.filters:
        for route in config.routes:
            found = level(route.node)
            if found.node and route.table.manager is not None and not config.reached(route):
                yield found.node


def _waits(route: EnvoyRoute, config: Config) -> bool:
    """Whether a filter of ours would translate for it if it were enabled anywhere: another rule's matter."""
    filters = [*(route.table.manager.filters if route.table.manager else ())]
    filters += [item for cluster in config.reached(route) for item in cluster.filters]
    return any(item.translates and item.node.get("disabled").true for item in filters)


@rule(
    "never-enabled", ERROR, "the filter is disabled, and this route's metadata counts on it",
    then="requests go on untranslated, and the client's own key reaches the upstream",
    write="no `disabled: true`, or typed_per_filter_config: {NAME OF THE FILTER: {\"@type\": ...ExtProcPerRoute, "
    "overrides: {}}} of the route",
)  # fmt: skip
def never_enabled(config: Config) -> Found:
    for route in config.routes:
        if _waits(route, config) and not config.is_served(route):
            owners = [route.node, *(owner for c in config.reached(route) for owner in (c.node, *c.endpoints))]
            found = next((found for owner in owners if (found := level(owner)).node), None)
            if found:
                yield found.node


@rule(
    "endpoint-on-listener", ERROR, "an endpoint's metadata, and a filter that only stands on the listener",
    then="a listener's filter runs before an endpoint is chosen, and never sees what it says",
    write="the metadata on the route, or the filter in the cluster's http_filters",
)  # fmt: skip
def endpoint_on_listener(config: Config) -> Found:
    for cluster in config.clusters.values():
        routes = config.routes_to(cluster)
        if not cluster.filters and any(item.translates for route in routes for item in route.filters):
            yield from (found.node for item in cluster.endpoints if (found := level(item)).node)


@rule(
    "no-metadata", ERROR, "a route leads through the translation, and no level says where to",
    then="its requests get a 500 that says so",
    write="metadata: {filter_metadata: {extproc: {route: \"...\"}}} on the route, the cluster or the endpoint",
)  # fmt: skip
def no_metadata(config: Config) -> Found:
    for combination, cluster in combinations(config):
        if not combination and cluster is not None:
            routes = config.routes_to(cluster)
            if cluster.filters or not routes or any(map(_takes_apis, routes)):
                yield cluster.node.get("metadata"), f"no metadata for the sidecar reaches cluster {cluster.name}"


_APIS = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses", "/v1/embeddings")


def _takes_apis(route: EnvoyRoute) -> bool:
    """Whether the path of an LLM API, at the root of the host, may be its."""
    match = route.node.get("match")
    prefix = match.get("prefix").text or match.get("path_separated_prefix").text
    if prefix:
        return any(path.startswith(prefix) or prefix.startswith(path) for path in _APIS)
    return match.get("path").text in ("", *_APIS)


@rule(
    "plain-route", WARNING, "a route of your own leads through the translation, and no level says anything to it",
    then="it works, but for paths beneath it that end as an LLM API's: those get a 500 that asks for metadata",
    write="typed_per_filter_config: {NAME OF THE FILTER: {\"@type\": ...ext_proc.v3.ExtProcPerRoute, disabled: true}}",
)  # fmt: skip
def plain_route(config: Config) -> Found:
    for route in config.routes:
        if _takes_apis(route) or not any(item.translates for item in route.filters):
            continue
        reached = [cluster for cluster in config.reached(route) if not cluster.filters]
        owners = [route.node, *(owner for cluster in reached for owner in (cluster.node, *cluster.endpoints))]
        if reached and not any(level(owner).node for owner in owners):
            yield route.node.get("route")


@rule(
    "metadata-form", ERROR, "extproc.route is a mapping, or is missing",
    then="Envoy hands on the words \"CelMap value\", or nothing: requests get a 500",
    write="route: |, and below it the same as text",
)  # fmt: skip
def metadata_form(config: Config) -> Found:
    asked = {name for item in config.filters for name in item.attributes}
    for kind, found in all_levels(config):
        if found.struct and (found.node.path.endswith(".route") or kind not in asked):
            yield found.node


@rule(
    "route", ERROR, "the route that these levels make is wrong",
    then="its requests get a 500 that names the same path",
    write="what the message says",
)  # fmt: skip
def wrong_route(config: Config) -> Found:
    for combination, _ in combinations(config):
        if combination and not any(item.struct for item in combination.levels):
            error = problem(combination)
            if error is not None:
                yield place(combination, str(error)), str(error)


@rule(
    "models", ERROR, "the list of models is wrong",
    then="every request to its virtual host gets a 500 that names the same path",
    write="what the message says",
)  # fmt: skip
def wrong_models(config: Config) -> Found:
    for leaf, _ in _catalogues(config):
        if leaf.is_mapping or leaf.is_list:
            yield leaf, "extproc.models is a mapping: write it as one string of YAML, as in `models: |`"
            continue
        try:
            read_catalogue(leaf.text)
        except RouteError as error:
            yield leaf, str(error)


@rule(
    "models-unread", WARNING, "a list of models, and no router that reads it",
    then="no other name for a model works, and GET /v1/models is a 404",
    write="request_attributes: [\"xds.virtual_host_metadata.filter_metadata['extproc']['models']\"] of the filter with "
    "the role router",
)  # fmt: skip
def models_unread(config: Config) -> Found:
    for leaf, table in _catalogues(config):
        filters = table.manager.filters if table.manager else []
        if table.manager and not any(item.role == "router" and MODELS in item.attributes for item in filters):
            yield leaf


def _catalogues(config: Config) -> Iterator[tuple[Node, Table]]:
    for table in config.tables:
        for host in table.node.get("virtual_hosts"):
            leaf = host.get("metadata", "filter_metadata", "extproc", "models")
            if leaf:
                yield leaf, table


SECRET_HEADERS = CREDENTIAL_HEADERS - {"openai-organization", "openai-project", "x-amz-date", "x-goog-user-project"}
"""Headers that bear a credential, not only whose account it is."""
_SIGNING = {"aws": ("access_key_id", "secret_access_key", "session_token"), "gcp": ("service_account_json",)}


@rule(
    "secret-inline", ERROR, "a credential stands in the configuration itself",
    then="whoever can read the file, or Envoy's /config_dump, has the key",
    write="auth: {header: {Authorization: \"Bearer ${OPENAI_API_KEY}\"}}, and the key in the sidecar's environment",
)  # fmt: skip
def secret_inline(config: Config) -> Found:
    for _, found in all_levels(config):
        yield from ((found.node, f"{path} is a literal credential") for path in literals(found))


def literals(found: MetadataLevel) -> Iterator[str]:
    """Where in its ``auth`` *found* has a credential as it is."""
    auth = _auth(found)
    named = [("header", name) for name in auth.get("header", {}) if _is_secret(name)]
    named += [("query", name) for name in auth.get("query", {})]
    named += [(part, name) for part, members in _SIGNING.items() for name in auth.get(part, {}) if name in members]
    for part, name in named:
        if auth[part][name] and "${" not in str(auth[part][name]):
            yield f"auth.{part}.{name}"


def _is_secret(header: str) -> bool:
    return header.lower() in SECRET_HEADERS or (
        header.lower() not in CREDENTIAL_HEADERS and may_carry_credential(header)
    )


def _auth(found: MetadataLevel) -> dict[str, Any]:
    """What *found* says of credentials, as mappings; empty where it cannot be read."""
    auth = found.member("auth")
    return {k: v for k, v in auth.items() if isinstance(v, dict)} if isinstance(auth, dict) else {}


@rule(
    "plain-text", WARNING, "a credential goes to another host without TLS",
    then="whoever sees the network has the key and the conversations",
    write="transport_socket: {name: envoy.transport_sockets.tls, typed_config: UpstreamTlsContext}",
)  # fmt: skip
def plain_text(config: Config) -> Found:
    for cluster in config.clusters.values():
        if cluster.name in config.sidecars or cluster.node.has("transport_socket_matches"):
            continue
        far = [item for item in cluster.endpoints if not is_near(item)]
        texts = [level(cluster.node), *map(level, far)]
        for route in config.routes_to(cluster):
            texts += level(route.node), named_level(route)
        if far and not cluster.node.has("transport_socket") and any(map(_auth, texts)):
            yield cluster.node.get("name"), f"cluster {cluster.name} has no TLS and sends a credential"


@rule(
    "tls-unverified", WARNING, "the certificate of an upstream is not verified",
    then="whoever stands between may pose as the provider and get the key: Envoy verifies nothing by default",
    write="common_tls_context: {validation_context: {trusted_ca: {filename: /etc/ssl/certs/ca-certificates.crt}}}",
)  # fmt: skip
def tls_unverified(config: Config) -> Found:
    for cluster in config.clusters.values():
        kinds = ("validation_context", "combined_validation_context", "validation_context_sds_secret_config")
        routes = config.routes_to(cluster)
        ours = cluster.filters or any(level(r.node).node or named_level(r).node for r in routes)
        for tls in cluster.tls if ours else ():
            common = tls.get("common_tls_context")
            if not any(common.has(kind) for kind in kinds):
                yield common


@rule(
    "no-sni", WARNING, "TLS to an upstream names no host",
    then="a provider that serves several names shows another's certificate, or ends the handshake: requests get a 503",
    write="auto_host_sni: true and auto_sni_san_validation: true, or sni: and the name",
)  # fmt: skip
def no_sni(config: Config) -> Found:
    for cluster in config.clusters.values():
        far = any(not is_near(item) and not is_address(item) for item in cluster.endpoints)
        auto = cluster.options.get("upstream_http_protocol_options", "auto_sni").true
        ours = cluster.filters or any(config.is_served(route) for route in config.routes_to(cluster))
        for tls in cluster.tls if ours and far and not auto else ():
            if not tls.has("sni") and not tls.get("auto_host_sni").true:
                yield tls.get("sni")


@rule(
    "costs-namespace", WARNING, "counts of tokens go to a namespace that is not among receiving_namespaces",
    then="Envoy drops them and says nothing: rate limits that read them never count",
    write="metadata_options: {receiving_namespaces: {untyped: [extproc, io.envoy.ai_gateway]}}",
)  # fmt: skip
def costs_namespace(config: Config) -> Found:
    met: list[tuple[Sequence[MetadataLevel], list[Filter]]] = [
        (combination.levels, _translating(config, cluster)) for combination, cluster in combinations(config)
    ]
    met += [([named_level(route)], route.filters) for route in config.routes]
    for levels, filters in met:
        wanted = _costs_in(levels)
        if wanted is None:
            continue
        found, namespace = wanted
        for item in filters:
            if namespace not in item.config.get("metadata_options", "receiving_namespaces", "untyped").texts:
                yield found.node, f"{namespace} is not among receiving_namespaces of {item.name}"


def _costs_in(levels: Sequence[MetadataLevel]) -> tuple[MetadataLevel, str] | None:
    for found in reversed(levels):
        said = found.member("metadata")
        if isinstance(said, dict) and said.get("costs"):
            return found, str(said.get("namespace", COSTS_NAMESPACE))
    return None


def _translating(config: Config, cluster: Cluster | None) -> list[Filter]:
    if cluster is None:
        return []
    if cluster.filters:
        return cluster.filters
    return [item for route in config.routes_to(cluster) for item in route.filters if item.translates]
