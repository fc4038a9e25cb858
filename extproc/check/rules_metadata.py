"""Rules about the metadata that speaks to the sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..exchange.attributes import MODELS
from ..headers import CREDENTIAL_HEADERS
from ..route.catalogue import read_catalogue
from ..route.text import RouteError, read
from .levels import CLUSTER, ENDPOINT, ROUTE, Level, combinations, level, place, problem
from .rule import ERROR, WARNING, Found, rule
from .topology import Config, Table, type_of
from .tree import Node


@rule(
    "no-filter", ERROR, "metadata for the sidecar, and no filter that reads it",
    then="requests go on untranslated, with the client's own key",
    write="http_filters with the ext_proc filter, in the cluster's HttpProtocolOptions or on the listener",
)  # fmt: skip
def no_filter(config: Config) -> Found:
    for cluster in config.clusters.values():
        if cluster.filters:
            continue
        routes = config.routes_to(cluster)
        if not all(any(item.translates for item in route.filters) for route in routes if route.table.manager):
            owners = [cluster.node, *cluster.endpoints, *(route.node for route in routes)]
            found = next((found for owner in owners if (found := level(owner)).node), None)
            if found:
                yield found.node
    if not config.filters:
        for route in config.routes:
            found = level(route.node)
            if found.node and not config.reached(route):
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
            yield cluster.node.get("metadata"), f"no metadata for the sidecar reaches cluster {cluster.name}"


@rule(
    "metadata-form", ERROR, "extproc.route is a mapping, or is missing",
    then="Envoy hands on the words \"CelMap value\", or nothing: requests get a 500",
    write="route: |, and below it the same as text",
)  # fmt: skip
def metadata_form(config: Config) -> Found:
    asked = {name for item in config.filters for name in item.attributes}
    for kind, owner in _owners(config):
        found = level(owner)
        if found.struct and (found.node.path.endswith(".route") or kind not in asked):
            yield found.node


def _owners(config: Config) -> Iterator[tuple[str, Node]]:
    """All that may bear metadata, with the attribute that tells it."""
    for route in config.routes:
        yield ROUTE, route.node
    for cluster in config.clusters.values():
        yield CLUSTER, cluster.node
        for endpoint in cluster.endpoints:
            yield ENDPOINT, endpoint


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
    "no-effect", WARNING, "`logging` has no effect yet",
    then="nothing is logged for it, neither summaries nor payloads",
    write="%DYNAMIC_METADATA(extproc:model)% and the like in the access log instead",
)  # fmt: skip
def no_effect(config: Config) -> Found:
    for _, owner in _owners(config):
        found = level(owner)
        try:
            if found.text is not None and "logging" in read(found.text, "route"):
                yield found.node
        except RouteError:
            # Another rule says it.
            continue


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


_SECRET = CREDENTIAL_HEADERS - {"openai-organization", "openai-project", "x-amz-date", "x-goog-user-project"}


@rule(
    "secret-inline", ERROR, "a credential stands in the configuration itself",
    then="whoever can read the file, or Envoy's /config_dump, has the key",
    write="auth: {header: {Authorization: \"Bearer ${OPENAI_API_KEY}\"}}, and the key in the sidecar's environment",
)  # fmt: skip
def secret_inline(config: Config) -> Found:
    for _, owner in _owners(config):
        found = level(owner)
        auth = _auth(found)
        named = [("header", name) for name in auth.get("header", {}) if name.lower() in _SECRET]
        named += [("query", name) for name in auth.get("query", {})]
        for part, name in named:
            if "${" not in str(auth[part][name]):
                yield found.node, f"auth.{part}.{name} is a literal credential"


def _auth(found: Level) -> dict[str, Any]:
    """What *found* says of credentials, as mappings; empty where it cannot be read."""
    if found.text is None:
        return {}
    try:
        auth = read(found.text, "route").get("auth")
    except RouteError:
        return {}
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
        far = [item for item in cluster.endpoints if not _is_near(item)]
        texts = [level(cluster.node), *map(level, far), *(level(r.node) for r in config.routes_to(cluster))]
        if far and not cluster.node.has("transport_socket") and any(map(_auth, texts)):
            yield cluster.node.get("name"), f"cluster {cluster.name} has no TLS and sends a credential"


def _is_near(endpoint: Node) -> bool:
    address = endpoint.get("endpoint", "address")
    host = address.get("socket_address", "address").text
    return address.has("pipe") or host in ("::1", "localhost") or host.startswith("127.")


@rule(
    "tls-unverified", WARNING, "the certificate of an upstream is not verified",
    then="whoever stands between may pose as the provider and get the key: Envoy verifies nothing by default",
    write="common_tls_context: {validation_context: {trusted_ca: {filename: /etc/ssl/certs/ca-certificates.crt}}}",
)  # fmt: skip
def tls_unverified(config: Config) -> Found:
    for cluster in config.clusters.values():
        tls = cluster.node.get("transport_socket", "typed_config")
        common = tls.get("common_tls_context")
        kinds = ("validation_context", "combined_validation_context", "validation_context_sds_secret_config")
        ours = cluster.filters or any(level(route.node).node for route in config.routes_to(cluster))
        if ours and type_of(tls).endswith(".UpstreamTlsContext") and not any(common.has(kind) for kind in kinds):
            yield common
