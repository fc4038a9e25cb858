"""Rules about the ext_proc filters that call the sidecar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .. import policy
from ..exchange.attributes import ROUTE_NAME
from ..policy.base import PolicyError
from .levels import ANNOTATION_LEAF, CLUSTER, ENDPOINT, ROUTE, MetadataLevel, level, used_levels
from .rule import ERROR, WARNING, Found, rule
from .topology import EXT_PROC, LEAF, Cluster, Config, EnvoyRoute, Filter, type_of
from .tree import Node

ROLES = ("translator", "router")
NAMESPACE = "extproc"
BODIES = ("STREAMED", "BUFFERED", "NONE", "")
SHORT = 1.0
"""Seconds below which a message's timeout is too short for large bodies."""
DEFAULT_TIMEOUT = 0.2


def translators(config: Config) -> Iterator[Filter]:
    return (item for item in config.filters if item.translates)


def upstream(config: Config) -> Iterator[Filter]:
    return (item for item in config.filters if item.placement == "upstream")


def _mode(item: Filter, name: str) -> Node:
    return item.mode.get(name)


def _sends(node: Node, default: bool) -> bool:
    return node.text == "SEND" or (default and node.text in ("", "DEFAULT"))


@rule(
    "request-headers-skip", ERROR, "request_header_mode is SKIP",
    then="Envoy has sent the headers on before the body is translated: path, key and length stay the client's, and the "
    "sidecar answers 500",
    write="processing_mode: {request_header_mode: SEND}",
)  # fmt: skip
def request_headers(config: Config) -> Found:
    name = "request_header_mode"
    return (_mode(item, name) for item in config.filters if not _sends(_mode(item, name), True))


@rule(
    "request-body-mode", ERROR, "request_body_mode is not BUFFERED",
    then="the sidecar never gets the request as a whole: every request fails, or goes on untranslated with the "
    "client's own key",
    write="processing_mode: {request_body_mode: BUFFERED}",
)  # fmt: skip
def request_body(config: Config) -> Found:
    return (_mode(i, "request_body_mode") for i in config.filters if _mode(i, "request_body_mode").text != "BUFFERED")


@rule(
    "response-headers-skip", ERROR, "response_header_mode is SKIP",
    then="answers break off before their first byte",
    write="processing_mode: {response_header_mode: SEND}; on the listener SKIP and allow_mode_override: true",
)  # fmt: skip
def response_headers(config: Config) -> Found:
    # Before a translator on the same listener a router need see no answers: those of Envoy itself are the translator's.
    spared = [node for manager in config.managers for item in manager.translators for node in item.before]
    for item in config.filters:
        mode = _mode(item, "response_header_mode")
        free = _asks(item) or (not item.translates and any(item.node.same(node) for node in spared))
        if not free and not _sends(mode, True):
            yield mode


def _asks(item: Filter) -> bool:
    """Whether the sidecar asks for responses' headers itself, by an override of the mode."""
    return item.placement == "listener" and item.config.get("allow_mode_override").true


@rule(
    "answers-lost", ERROR, "before the translation on the listener stands a filter that sees answers' heads alone",
    then="of some streamed answers (one in twenty, seen on 1.40) Envoy passes the head and an end, and nothing between",
    write="processing_mode: {response_header_mode: SKIP} and allow_mode_override: false of the first filter",
)  # fmt: skip
def answers_lost(config: Config) -> Found:
    for manager in config.managers:
        for item in manager.translators:
            for node in item.before:
                mode = node.get("typed_config", "processing_mode")
                heads = type_of(node.get("typed_config")) == EXT_PROC and _sends(mode.get("response_header_mode"), True)
                asks = any(other.node.same(node) and _asks(other) for other in manager.filters)
                if (heads or asks) and mode.get("response_body_mode").text in ("", "NONE"):
                    yield mode


@rule(
    "response-body-mode", ERROR, "response_body_mode is one that is not understood",
    then="answers come in a form in which they cannot be translated: they break off, or become a 500",
    write="processing_mode: {response_body_mode: STREAMED}",
)  # fmt: skip
def response_body(config: Config) -> Found:
    name = "response_body_mode"
    return (_mode(item, name) for item in translators(config) if _mode(item, name).text not in BODIES)


@rule(
    "mode-override", ERROR, "allow_mode_override is not true",
    then="an answer that is no stream cannot be asked for as a whole: in several pieces it ends as an error",
    write="allow_mode_override: true",
)  # fmt: skip
def mode_override(config: Config) -> Found:
    name = "allow_mode_override"
    return (item.config.get(name) for item in translators(config) if not item.config.get(name).true)


@rule(
    "response-trailers", ERROR, "response_trailer_mode is not SEND",
    then="an answer that ends in trailers (HTTP/2) is never seen to end: the client's last events are missing",
    write="processing_mode: {response_trailer_mode: SEND}",
)  # fmt: skip
def response_trailers(config: Config) -> Found:
    name = "response_trailer_mode"
    asked = (item for item in translators(config) if not _asks(item))
    return (_mode(item, name) for item in asked if not _sends(_mode(item, name), False))


@rule(
    "message-timeout", WARNING, "message_timeout is shorter than a second",
    then="on a busy machine a request with images takes longer to be translated, and the client gets a 500 or 504",
    write="message_timeout: 10s",
)  # fmt: skip
def message_timeout(config: Config) -> Found:
    for item in config.filters:
        node = item.config.get("message_timeout")
        said = node.seconds() if node else DEFAULT_TIMEOUT
        if said is not None and said < SHORT:
            yield node


class _Anybody:
    """An operator who has every secret, and whom one can have asked: what they are does not matter here."""

    def secret(self, path: str, text: str) -> Any:
        return None

    def served(self, path: str, members: Mapping[str, Any], *, embeds: bool = False) -> Any:
        return None


@rule(
    "max-message-timeout", WARNING, "a policy asks another service, and the filter has no max_message_timeout",
    then="Envoy waits no longer than message_timeout for what the service says: then the client gets a 500 or 504",
    write="max_message_timeout: 60s  # longer than --max-wait-seconds and a second",
)  # fmt: skip
def max_message_timeout(config: Config) -> Found:
    for route in config.routes:
        for cluster in config.reached(route):
            owners = (route.node, cluster.node, *cluster.endpoints)
            if any(_asks_services(level(owner)) for owner in owners):
                filters = [*route.filters, *route.enabled(cluster.filters, cluster)]
                bare = (item for item in filters if item.translates and not item.config.has("max_message_timeout"))
                yield from (item.config.get("max_message_timeout") for item in bare)


def _asks_services(found: MetadataLevel) -> bool:
    """Whether one of the policies that a level lists asks a service."""
    listed = found.member("policies") if "policies" in (found.text or "") else None
    return isinstance(listed, list) and any(map(_asks_one, listed))


def _asks_one(entry: Any) -> bool:
    try:
        return any(each.asks for each in policy.configured([entry], _Anybody()))
    except (PolicyError, TypeError, ValueError):
        return False  # which the rule for wrong routes tells


@rule(
    "failure-mode-allow", ERROR, "failure_mode_allow is true",
    then="while the sidecar is away, requests go to the provider untranslated and with the client's own key",
    write="failure_mode_allow: false",
)  # fmt: skip
def failure_mode_allow(config: Config) -> Found:
    return (i.config.get("failure_mode_allow") for i in config.filters if i.config.get("failure_mode_allow").true)


@rule(
    "override-mode", ERROR, "a route takes from the filter what the translation needs",
    then="the sidecar gets no body or no headers for its requests: each is a 500, or goes on with the client's own key",
    write="no processing_mode, metadata_options, request_attributes, failure_mode_allow in the route's "
    "ExtProcPerRoute.overrides",
)  # fmt: skip
def override_mode(config: Config) -> Found:
    for route in config.routes:
        for cluster, item in _overridden(config, route):
            yield from _taken_away(item)
            asked = item.override("request_attributes")
            for wanted in sorted(_wanted(route, cluster, item) - set(item.attributes)) if asked is not None else ():
                yield asked or item.node, f"a route's override does not ask for {wanted}"


def _taken_away(item: Filter) -> Found:
    mode, failure = item.override("processing_mode"), item.override("failure_mode_allow")
    if mode and (mode.get("request_body_mode").text != "BUFFERED" or not _sends(mode.get("request_header_mode"), True)):
        yield mode, "a route's override takes the request's body or headers from the sidecar"
    elif mode and item.placement == "upstream" and not _sends(mode.get("response_header_mode"), True):
        yield mode, "a route's override takes the response's headers from the sidecar"
    elif mode and item.translates and mode.get("response_body_mode").text not in BODIES:
        yield mode, "a route's override has answers come in a form that cannot be translated"
    if failure and failure.true:
        yield failure, "a route's override lets requests pass untranslated"
    options = item.override("metadata_options")
    if options and NAMESPACE not in options.get("receiving_namespaces", "untyped").texts:
        yield options, "a route's override takes the namespace extproc from the sidecar"


def _overridden(config: Config, route: EnvoyRoute) -> Iterator[tuple[Cluster | None, Filter]]:
    """The filters that work for *route*, with the cluster that it then leads to."""
    clusters = config.reached(route)
    listed = route.table.manager.filters if route.table.manager else []
    if not clusters:
        yield from ((None, item) for item in route.filters)
    for cluster in clusters:
        yield from ((cluster, item) for item in route.enabled([*listed, *cluster.filters], cluster))


def _wanted(route: EnvoyRoute, cluster: Cluster | None, item: Filter) -> set[str]:
    """The attributes by which *item* is told what metadata says for *route* and *cluster*."""
    if not item.translates:
        return set()
    owners = [(ROUTE, route.node)] + ([(CLUSTER, cluster.node)] if cluster is not None else [])
    if cluster is not None and item.placement == "upstream":
        owners += [(ENDPOINT, endpoint) for endpoint in cluster.endpoints]
    found = [(kind, level(owner)) for kind, owner in owners]
    return {f"{kind}.{ANNOTATION_LEAF if said.annotation else LEAF}" for kind, said in found if said.node}


@rule(
    "observability-mode", ERROR, "observability_mode is true",
    then="Envoy does not wait for the sidecar's answers: nothing is translated, the client's own key goes upstream",
    write="observability_mode: false",
)  # fmt: skip
def observability_mode(config: Config) -> Found:
    return (i.config.get("observability_mode") for i in config.filters if i.config.get("observability_mode").true)


@rule(
    "immediate-response", ERROR, "disable_immediate_response is true",
    then="a refusal that says what is wrong with the request (400) becomes a 500 that says nothing",
    write="disable_immediate_response: false",
)  # fmt: skip
def immediate_response(config: Config) -> Found:
    name = "disable_immediate_response"
    return (item.config.get(name) for item in config.filters if item.config.get(name).true)


@rule(
    "routing-mutation", ERROR, "mutation_rules.allow_all_routing is not true",
    then="Envoy ignores the :authority and :method that the sidecar sets: providers answer 404 or 421",
    write="mutation_rules: {allow_all_routing: true}",
)  # fmt: skip
def routing_mutation(config: Config) -> Found:
    for item in translators(config):
        node = item.config.get("mutation_rules", "allow_all_routing")
        if not node.true:
            yield node


@rule(
    "mutation-disallowed", ERROR, "mutation_rules forbid changes of headers",
    then="the request keeps the client's path or credential, or ends in a 500",
    write="mutation_rules: {allow_all_routing: true}, and nothing that disallows",
)  # fmt: skip
def mutation_disallowed(config: Config) -> Found:
    for item in config.filters:
        rules = item.config.get("mutation_rules")
        for name in ("disallow_all", "disallow_system", "disallow_expression"):
            node = rules.get(name)
            if node and not node.false:
                yield node, f"mutation_rules.{name} stands in the way of changes of headers"


@rule(
    "forward-rules", ERROR, "forward_rules keep headers from the sidecar",
    then="what it does not see it neither translates nor removes: the client's own credential reaches the provider",
    write="no forward_rules",
)  # fmt: skip
def forward_rules(config: Config) -> Found:
    return (i.config.get("forward_rules") for i in config.filters if i.config.get("forward_rules"))


@rule(
    "receiving-namespace", ERROR, "the namespace extproc is not among receiving_namespaces",
    then="the access log shows no model and no tokens, and a second attempt takes the path and headers that the first "
    "one left for the client's",
    write="metadata_options: {receiving_namespaces: {untyped: [extproc]}}",
)  # fmt: skip
def receiving_namespace(config: Config) -> Found:
    return _namespace(config.filters, "receiving_namespaces")


@rule(
    "forwarding-namespace", ERROR, "the namespace extproc is not among forwarding_namespaces",
    then="a second attempt takes the path that the first one set for the client's: it answers in another API's shape",
    write="metadata_options: {forwarding_namespaces: {untyped: [extproc]}}",
)  # fmt: skip
def forwarding_namespace(config: Config) -> Found:
    return _namespace(upstream(config), "forwarding_namespaces")


def _namespace(filters: Iterator[Filter] | list[Filter], name: str) -> Found:
    for item in filters:
        node = item.config.get("metadata_options", name, "untyped")
        if NAMESPACE not in node.texts:
            yield node


@rule(
    "role", ERROR, "x-extproc-role is unknown, or has no meaning here",
    then="every request gets a 500, or goes on untranslated with the client's own key",
    write="initial_metadata: [{key: x-extproc-role, value: translator}], or router on a listener",
)  # fmt: skip
def role(config: Config) -> Found:
    for item in config.filters:
        node = item.config.get("grpc_service", "initial_metadata")
        if item.role not in ROLES:
            yield node, f"x-extproc-role says {item.role[:40]!r}"
        elif item.placement == "upstream" and not item.translates:
            yield node, "x-extproc-role says router in an upstream filter, where the route is chosen already"


@rule(
    "equal-names", ERROR, "a listener filter and an upstream filter bear one name",
    then="an override per route is looked up by name and reaches both: what is meant for one changes the other",
    write="name: extproc.listener for the one, name: extproc.translate for the other",
)  # fmt: skip
def equal_names(config: Config) -> Found:
    names = {item.name for item in config.filters if item.placement == "listener"}
    return (item.node.get("name") for item in upstream(config) if item.name in names)


@rule(
    "translated-twice", ERROR, "a listener filter and an upstream filter both translate",
    then="what one has translated the other takes for the client's: requests fail or arrive garbled",
    write="initial_metadata: [{key: x-extproc-role, value: router}] in the listener's filter",
)  # fmt: skip
def translated_twice(config: Config) -> Found:
    for manager in config.managers:
        routes = config.routes_of(manager)
        if any(config.is_translated(route) for route in routes):
            yield from (item.node for item in manager.translators)


@rule(
    "no-router", ERROR, "routes match x-extproc-model, and no filter sets it",
    then="no such route is ever chosen, but for clients that send the header themselves",
    write="a listener filter with initial_metadata: [{key: x-extproc-role, value: router}]",
)  # fmt: skip
def no_router(config: Config) -> Found:
    for route in config.routes:
        if route.table.manager is None or any(not item.translates for item in route.filters):
            continue
        for header in route.node.get("match", "headers"):
            if header.get("name").text == "x-extproc-model":
                yield header


@rule(
    "route-cache", ERROR, "the router role may not have the route chosen again",
    then="the route is chosen before the model is known: requests get 404, or another model's provider",
    write="route_cache_action: DEFAULT",
)  # fmt: skip
def route_cache(config: Config) -> Found:
    for item in config.filters:
        if not item.translates:
            if item.config.get("disable_clear_route_cache").true:
                yield item.config.get("disable_clear_route_cache")
            if item.config.get("route_cache_action").text == "RETAIN":
                yield item.config.get("route_cache_action")


@rule(
    "attributes-missing", ERROR, "metadata that is set is not asked for",
    then="the sidecar does not see it: requests get a 500, or another level's provider and key",
    write=f"request_attributes: [\"xds.upstream_host_metadata.{LEAF}\"], and so for route and cluster",
)  # fmt: skip
def attributes_missing(config: Config) -> Found:
    for item in translators(config):
        for kind, annotation in sorted(used_levels(config, item)):
            wanted = f"{kind}.{ANNOTATION_LEAF if annotation else LEAF}"
            if wanted not in item.attributes and kind not in item.attributes:
                yield item.config.get("request_attributes"), f"{wanted} is not among request_attributes"


@rule(
    "attributes-map", ERROR, "an attribute is asked for that is a map",
    then="it arrives as the words \"CelMap value\": every request gets a 500",
    write=f"request_attributes: [\"xds.route_metadata.{LEAF}\"]",
)  # fmt: skip
def attributes_map(config: Config) -> Found:
    for item in config.filters:
        for node in item.config.get("request_attributes"):
            if node.text.replace('"', "'").endswith(("filter_metadata", "filter_metadata['extproc']")):
                yield node


@rule(
    "attributes-struct", WARNING, "metadata is asked for as a whole",
    then="its form is meant for people: it differs between Envoy's versions, and 0.5 arrives as text",
    write=f"request_attributes: [\"xds.route_metadata.{LEAF}\"]",
)  # fmt: skip
def attributes_struct(config: Config) -> Found:
    # Envoy Gateway's policy can ask for nothing smaller.
    noted = any(level(route.node).annotation for route in config.routes)
    for item in config.filters:
        for node in item.config.get("request_attributes"):
            if node.text in (CLUSTER, ENDPOINT) or (node.text == ROUTE and not noted):
                yield node


@rule(
    "attempt", ERROR, "upstream.request_attempt_count is not asked for",
    then="a second attempt cannot be told from the first, and fails where the first one could not connect",
    write="request_attributes: [upstream.request_attempt_count]",
)  # fmt: skip
def attempt(config: Config) -> Found:
    for item in upstream(config):
        if "upstream.request_attempt_count" not in item.attributes:
            yield item.config.get("request_attributes")


@rule(
    "code-details", WARNING, "response.code_details is not asked for",
    then="Envoy's own errors (503, 413) cannot be told from the upstream's: clients get them as plain text",
    write="response_attributes: [response.code_details]",
)  # fmt: skip
def code_details(config: Config) -> Found:
    for item in config.filters:
        if "response.code_details" not in item.config.get("response_attributes").texts:
            yield item.config.get("response_attributes")


@rule(
    "request-path", WARNING, "request.path is not asked for on the listener",
    then="when Envoy answers before the request reached the sidecar, the error's shape cannot be told from the path",
    write="request_attributes: [request.path, request.method]",
)  # fmt: skip
def request_path(config: Config) -> Found:
    for item in config.filters:
        if item.placement == "listener" and "request.path" not in item.attributes:
            yield item.config.get("request_attributes")


@rule(
    "route-name", WARNING, "several routes are translated, and the sidecar does not know which one a request took",
    then="metrics and records do not tell them apart: their label extproc_route is empty",
    write="request_attributes: [xds.route_name], and a name for each route",
)  # fmt: skip
def route_name(config: Config) -> Found:
    # One that the sidecar names itself it knows.
    unnamed = (route for route in config.routes if route.named is None and config.is_served(route))
    served = [route for route in unnamed if config.reached(route) and _is_spoken_to(route, config)]
    if len(served) < 2:
        return
    asked = [item for item in translators(config) if ROUTE_NAME in item.attributes]
    yield from (item.config.get("request_attributes") for item in translators(config) if item not in asked)
    if asked:
        yield from (
            (each.node, "a route that is translated has no name") for each in served if not each.node.has("name")
        )


def _is_spoken_to(route: EnvoyRoute, config: Config) -> bool:
    """Whether some level says for the route what the sidecar is to do."""
    clusters = config.reached(route)
    owners = (route.node, *(owner for cluster in clusters for owner in (cluster.node, *cluster.endpoints)))
    return any(level(owner).node for owner in owners)


_SIGNERS = (
    "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
    "envoy.extensions.filters.http.aws_request_signing.v3.AwsRequestSigning",
    "envoy.extensions.filters.http.gcp_authn.v3.GcpAuthnFilterConfig",
)


@rule(
    "signer-order", ERROR, "a filter that adds the credential stands before the translation",
    then="the sidecar takes the credential for the client's own and removes it, or changes what was signed: 401",
    write="http_filters: [extproc.translate, the signer, upstream_codec]",
)  # fmt: skip
def signer_order(config: Config) -> Found:
    for item in translators(config):
        for node in item.before:
            if type_of(node.get("typed_config")) in _SIGNERS:
                yield node
