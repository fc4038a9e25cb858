"""Rules about the router's stream that also translates: where the key goes that it puts into a request."""

from __future__ import annotations

from collections.abc import Iterator

from ..exchange.attributes import ROUTES
from ..headers import ROUTE_HEADER
from ..route import RouteError
from ..route.catalogue import Catalogue, read_catalogue
from .levels import Combination, MetadataLevel, problem
from .rule import ERROR, WARNING, Found, rule
from .topology import Config, EnvoyRoute, Table
from .tree import Node


def _hosts(config: Config) -> Iterator[tuple[Node, Table, Node, Catalogue]]:
    """Each virtual host whose list of models names routes: the host, its table, the list."""
    for table in config.tables:
        for host in table.node.get("virtual_hosts"):
            leaf = host.get("metadata", "filter_metadata", "extproc", "models")
            try:
                catalogue = read_catalogue(leaf.text) if leaf.text else None
            except RouteError:
                # Another rule says it.
                continue
            if catalogue is not None and catalogue.routes:
                yield host, table, leaf, catalogue


def _by_model(route: Node) -> bool:
    """Whether *route* wants the header of a model, which a request with a key never bears."""
    return any(
        header.get("name").text.lower() == "x-extproc-model"
        and not header.get("invert_match").true
        and not header.get("treat_missing_header_as_empty").true
        for header in route.get("match", "headers")
    )


@rule(
    "key-astray", ERROR, "a request that bears a provider's key can take this route",
    then="where no other matches, the key of another provider goes to this route's cluster",
    write="headers: [{name: x-extproc-route, present_match: true, invert_match: true}] in its match, or an exact value",
)  # fmt: skip
def key_astray(config: Config) -> Found:
    for host, table, _, _ in _hosts(config):
        for route in host.get("routes"):
            if route.get("route") and EnvoyRoute(route, host, table).takes is None and not _by_model(route):
                yield route


@rule(
    "route-unnamed", ERROR, "a model's line names a route that there is not",
    then="every request for it gets a 500, or a 404",
    write="extproc.routes.NAME beside models, a route that matches x-extproc-route exactly, and the path of "
    "extproc.routes.NAME in request_attributes of the router's filter",
)  # fmt: skip
def route_unnamed(config: Config) -> Found:
    for host, table, leaf, catalogue in _hosts(config):
        texts = host.get("metadata", "filter_metadata", "extproc", "routes")
        matched = {EnvoyRoute(route, host, table).takes for route in host.get("routes")}
        filters = table.manager.filters if table.manager else ()
        asked = {text for item in filters if item.role == "router" for text in item.attributes}
        for name in sorted(catalogue.routes):
            if not texts.get(name).text:
                yield leaf, f"no extproc.routes.{name} stands beside models"
            elif name not in matched:
                yield leaf, f"no route matches x-extproc-route: {name}"
            elif table.manager and f"{ROUTES}['{name}']" not in asked:
                yield leaf, f"the router's filter does not ask for {ROUTES}['{name}']"


@rule(
    "named-route", ERROR, "a route that the router translates by is wrong",
    then="every request for its models gets a 500 that names the same path",
    write="what the message says",
)  # fmt: skip
def named_route(config: Config) -> Found:
    for host, _, _, catalogue in _hosts(config):
        texts = host.get("metadata", "filter_metadata", "extproc", "routes")
        for name in sorted(catalogue.routes):
            leaf = texts.get(name)
            if leaf.is_mapping or leaf.is_list:
                yield leaf, f"extproc.routes.{name} is a mapping: write it as one string of YAML, as in `{name}: |`"
            elif leaf.text and (
                wrong := problem(Combination(MetadataLevel(leaf, leaf.text), MetadataLevel(leaf), MetadataLevel(leaf)))
            ):
                yield leaf, str(wrong)


@rule(
    "route-header-sent", WARNING, "the provider is told which of your routes was taken",
    then="x-extproc-route, and who the client is to your network, go on to the provider",
    write="request_headers_to_remove: [x-extproc-route, x-forwarded-proto, x-forwarded-for] in the route_config",
)  # fmt: skip
def route_header_sent(config: Config) -> Found:
    for host, table, leaf, _ in _hosts(config):
        removed = {*table.node.get("request_headers_to_remove").texts, *host.get("request_headers_to_remove").texts}
        if ROUTE_HEADER not in {name.lower() for name in removed}:
            yield leaf
