"""The metadata that speaks to the sidecar: where it stands, and which of it meets in one exchange."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..exchange.attributes import ROUTES
from ..route import RouteError, compile_route
from ..route.compile import LEVELS
from ..route.model import checked
from ..route.text import read
from .topology import Cluster, Config, EnvoyRoute, Filter
from .tree import Node, Unreadable, parse

ANNOTATION_LEAF = "filter_metadata['envoy-gateway']['resources'][0]['annotations']['extproc']"
ROUTE, CLUSTER, ENDPOINT = "xds.route_metadata", "xds.cluster_metadata", "xds.upstream_host_metadata"


@dataclass(frozen=True)
class MetadataLevel:
    """What one of route, cluster and endpoint says; ``node`` is false where it says nothing."""

    node: Node
    text: str | None = None
    annotation: bool = False
    struct: bool = False
    """It is a mapping where a string is wanted."""

    def member(self, name: str) -> Any:
        """A member of what it says; ``None`` where there is none, or the text cannot be read: another rule says so."""
        try:
            return read(self.text, "route").get(name) if self.text is not None else None
        except RouteError:
            return None


def level(owner: Node) -> MetadataLevel:
    """What the metadata of *owner* says to the sidecar."""
    spaces = owner.get("metadata", "filter_metadata")
    space = spaces.get("extproc")
    leaf = space.get("route")
    if leaf:
        return MetadataLevel(leaf, leaf.text, struct=leaf.is_mapping or leaf.is_list)
    if space:
        return MetadataLevel(space, struct=True)
    for resource in spaces.get("envoy-gateway", "resources"):
        noted = resource.get("annotations", "extproc")
        return MetadataLevel(noted, noted.text if noted else None, annotation=bool(noted))
    return MetadataLevel(leaf)


@dataclass(frozen=True)
class Combination:
    """Levels that meet in one exchange: a route, one of its clusters, one of that cluster's endpoints."""

    route: MetadataLevel
    cluster: MetadataLevel
    endpoint: MetadataLevel

    @property
    def levels(self) -> tuple[MetadataLevel, MetadataLevel, MetadataLevel]:
        return self.route, self.cluster, self.endpoint

    def __bool__(self) -> bool:
        return any(item.node for item in self.levels)


NONE = MetadataLevel(Node(None, "", 0))
"""One that says nothing."""


def named_level(route: EnvoyRoute) -> MetadataLevel:
    """What its virtual host says of *route* to the router's stream, which then translates for it."""
    return NONE if route.named is None else MetadataLevel(route.named, route.named.text)


def all_levels(config: Config) -> Iterator[tuple[str, MetadataLevel]]:
    """All that metadata says, with the attribute that tells it."""
    for route in config.routes:
        yield ROUTE, level(route.node)
        yield ROUTES, named_level(route)
    for cluster in config.clusters.values():
        yield CLUSTER, level(cluster.node)
        for endpoint in cluster.endpoints:
            yield ENDPOINT, level(endpoint)


def endpoint_levels(cluster: Cluster) -> list[MetadataLevel]:
    """What each endpoint of *cluster* says; one that says nothing where it has none."""
    return [level(item) for item in cluster.endpoints] or [NONE]


def met(route: EnvoyRoute, cluster: Cluster, *, served: bool = True) -> Iterator[Combination]:
    """What meets where *route* leads to *cluster*; nothing if none of our filters works there, though one is *served*
    by them elsewhere."""
    mine = level(route.node)
    listener, upstream = route.translated_before(cluster), bool(route.enabled(cluster.filters, cluster))
    if served and not listener and not upstream:
        return
    if listener and not upstream:
        # A listener filter runs before a host is chosen: only route and cluster are known to it.
        yield Combination(mine, level(cluster.node), NONE)
        return
    for endpoint in endpoint_levels(cluster):
        yield Combination(mine, level(cluster.node), endpoint)


def combinations(config: Config) -> Iterator[tuple[Combination, Cluster | None]]:
    """All that can occur, with the cluster. One that no known route reaches is heard if it names a provider itself."""
    reached: set[str] = set()
    for route in config.routes:
        mine = level(route.node)
        reached.update(route.clusters)
        served = config.is_served(route)
        for cluster in config.reached(route):
            if served or mine.node:
                for found in met(route, cluster, served=served):
                    yield found, cluster
        if not config.reached(route) and ("provider" in (mine.text or "") or (served and not route.clusters)):
            yield Combination(mine, NONE, NONE), None
    for cluster in config.clusters.values():
        if cluster.name not in reached and cluster.filters:
            mine = level(cluster.node)
            for endpoint in endpoint_levels(cluster):
                if "provider" in f"{mine.text}{endpoint.text}":
                    yield Combination(NONE, mine, endpoint), cluster


def used_levels(config: Config, item: Filter) -> set[tuple[str, bool]]:
    """The attributes, each with whether it is Envoy Gateway's annotation, that *item* must ask for."""
    used = set()
    if item.placement == "upstream":
        served = [c for c in config.clusters.values() if any(f.node.same(item.node) for f in c.filters)]
        routes = [route for cluster in served for route in config.routes_to(cluster)]
        owners = [(ENDPOINT, endpoint) for cluster in served for endpoint in cluster.endpoints]
    else:
        routes = [r for r in config.routes if any(f.node.same(item.node) for f in r.filters)]
        served = [cluster for route in routes for cluster in config.reached(route)]
        owners = []
    owners += [(CLUSTER, cluster.node) for cluster in served] + [(ROUTE, route.node) for route in routes]
    for kind, owner in owners:
        found = level(owner)
        if found.node:
            used.add((kind, found.annotation))
    return used


class _Any(Mapping[str, str]):
    """An environment in which every variable is set: the sidecar's own is not at hand here."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __getitem__(self, name: str) -> str:
        return self._value

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


_ENVIRONMENTS = [_Any(value) for value in ("placeholder", "https://placeholder.example/v1", "443")]
"""A variable may stand for a name, a URL or a port; what compiles with one of them is well-formed."""


def problem(combination: Combination) -> RouteError | None:
    """Why *combination* makes no route, if so. References to secrets are taken for good: they are resolved where the
    sidecar runs."""
    first: RouteError | None = None
    for environ in _ENVIRONMENTS:
        try:
            values = [_unsigned(item.text, name) for name, item in zip(LEVELS, combination.levels, strict=True)]
            compile_route(values, environ=environ)
            return None
        except RouteError as error:
            first = first or error
    return first


def _unsigned(text: str | None, name: str) -> dict[str, Any] | None:
    """The values of the level *name*. Credentials that are fetched or that sign are checked by their form alone."""
    if text is None:
        return None
    values = read(_named(text), name)
    auth = values.get("auth")
    if isinstance(auth, dict) and ("gcp" in auth or "aws" in auth):
        checked(values, name)
        values["auth"] = "none"
    return values


def _named(text: str) -> str:
    """References to files as references to variables."""
    parts = text.split("${file:")
    return parts[0] + "".join("${A_FILE}" + part.partition("}")[2] for part in parts[1:])


_PATH = re.compile(r"(?P<level>route|cluster|endpoint): (?:unknown key '(?P<unknown>[^']*)'|(?P<path>[\w.-]+):)")


def place(combination: Combination, message: str) -> Node:
    """Where *message*, a RouteError's, points to: the level that it names, there the line of its path."""
    found = _PATH.match(message)
    named = combination.levels[LEVELS.index(found["level"])].node if found else None
    node = named or next(item.node for item in combination.levels if item.node)
    if found and named and named.is_block:
        node.line += 1 + _line_in(named.text, (found["unknown"] or found["path"]).split("."))
    return node


def _line_in(text: str, path: list[str]) -> int:
    """The line in *text*, from 0, of as much of *path* as is there."""
    line = 0
    try:
        node = parse(text)
    except Unreadable:
        return line
    for name in path:
        node = node.get(name)
        if node:
            line = node.line - 1
    return line
