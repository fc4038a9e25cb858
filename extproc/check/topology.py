"""What of an Envoy configuration hangs together: which routes reach which clusters through which filters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..headers import ROUTE_HEADER
from .tree import Node, Unreadable, documents

EXT_PROC = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
PER_ROUTE = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"
FILTER_CONFIG = "envoy.config.route.v3.FilterConfig"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ROLE = "x-extproc-role"
LEAF = "filter_metadata['extproc']['route']"
_OURS = re.compile(r"\[['\"]extproc['\"]\](\[['\"](route|models|routes)['\"]\](\[['\"][^'\"]+['\"]\])?)?$")
_KINDS = ("xds.route_metadata", "xds.cluster_metadata", "xds.upstream_host_metadata")


def type_of(node: Node) -> str:
    """The type of an Any, without its prefix."""
    return node.get("@type").text.rpartition("/")[2]


def is_near(endpoint: Node) -> bool:
    address = endpoint.get("endpoint", "address")
    host = address.get("socket_address", "address").text
    return address.has("pipe") or host in ("::1", "localhost") or host.startswith("127.")


def is_address(endpoint: Node) -> bool:
    host = endpoint.get("endpoint", "address", "socket_address", "address").text
    return ":" in host or host.replace(".", "").isdigit()


@dataclass(frozen=True)
class Filter:
    """One ext_proc filter that calls the sidecar."""

    node: Node
    placement: str
    """"listener" or "upstream"."""
    before: tuple[Node, ...] = ()
    """The filters that see a request before it, in order."""
    after: tuple[Node, ...] = ()
    """Those behind it."""
    overrides: Node | None = None
    """What a route says in its place, in ``ExtProcPerRoute``."""

    @cached_property
    def name(self) -> str:
        return self.node.get("name").text

    @cached_property
    def config(self) -> Node:
        return self.node.get("typed_config")

    @cached_property
    def role(self) -> str:
        own = list(self.config.get("grpc_service", "initial_metadata"))
        routes = list(self.overrides.get("grpc_initial_metadata")) if self.overrides is not None else []
        return next((i.get("value").text for i in [*routes, *own] if i.get("key").text == ROLE), "translator")

    @property
    def translates(self) -> bool:
        return self.role != "router"

    @cached_property
    def mode(self) -> Node:
        return self.config.get("processing_mode")

    @cached_property
    def sidecar(self) -> str:
        """The name of the cluster that it calls."""
        return _called(self.node)

    @cached_property
    def attributes(self) -> list[str]:
        return [text.replace('"', "'") for text in self.config.get("request_attributes").texts]


def _called(node: Node) -> str:
    service = node.get("typed_config", "grpc_service")
    return service.get("envoy_grpc", "cluster_name").text or service.get("google_grpc", "target_uri").text


def _speaks_for_us(node: Node) -> bool:
    """Whether the filter *node* asks for what only our sidecar reads, or says which of our roles it wants."""
    config = node.get("typed_config")
    told = any(item.get("key").text == ROLE for item in config.get("grpc_service", "initial_metadata"))
    return told or any(_OURS.search(text) for text in config.get("request_attributes").texts)


def _may_be_ours(node: Node) -> bool:
    """Whether its names or its attributes remind of us: of no weight where another filter speaks for us."""
    config = node.get("typed_config")
    words = [node.get("name").text, _called(node)]
    return any("extproc" in word for word in words) or any(k in config.get("request_attributes").texts for k in _KINDS)


def sidecar_clusters(root: Node) -> frozenset[str]:
    """The clusters that are our sidecar, by the filters that call them. Another service may use ext_proc as well, and
    its name tells nothing. Where no filter speaks for us, though metadata does, it is those that remind of us."""
    nodes = [root, *(node for _, value in root.walk() for node in (value, *value))]
    filters = [node for node in nodes if type_of(node.get("typed_config")) == EXT_PROC]
    found = frozenset(_called(item) for item in filters if _speaks_for_us(item))
    if not found and any(name == "extproc" for name, _ in root.walk()):
        found = frozenset(_called(item) for item in filters if _may_be_ours(item))
    return found - {""}


def filters(chain: list[Node], placement: str, ours: frozenset[str]) -> list[Filter]:
    """The filters of *chain* that call one of *ours*."""
    return [
        Filter(node, placement, tuple(chain[:index]), tuple(chain[index + 1 :]))
        for index, node in enumerate(chain)
        if type_of(node.get("typed_config")) == EXT_PROC and (_called(node) in ours or _speaks_for_us(node))
    ]


@dataclass(frozen=True)
class Cluster:
    node: Node
    loads: tuple[Node, ...] = ()
    """Where its endpoints stand, if not in itself."""
    ours: frozenset[str] = frozenset()

    @cached_property
    def name(self) -> str:
        return self.node.get("name").text

    @cached_property
    def options(self) -> Node:
        return self.node.get("typed_extension_protocol_options", OPTIONS)

    @cached_property
    def filters(self) -> list[Filter]:
        return filters(list(self.options.get("http_filters")), "upstream", self.ours)

    @cached_property
    def endpoints(self) -> list[Node]:
        """Each ``lb_endpoints`` element."""
        load = self.node.get("load_assignment")
        loads = [load] if load else list(self.loads)
        return [item for load in loads for place in load.get("endpoints") for item in place.get("lb_endpoints")]

    @property
    def priorities(self) -> int:
        load = self.node.get("load_assignment")
        return len({place.get("priority").number(0) for place in load.get("endpoints")})

    def buffer(self) -> int:
        return self.node.get("per_connection_buffer_limit_bytes").number(MIB)


MIB = 1024 * 1024


@dataclass(frozen=True)
class Table:
    """A route configuration, and the connection manager that uses it; none if it is not known."""

    node: Node
    manager: Manager | None


@dataclass(frozen=True)
class EnvoyRoute:
    node: Node
    host: Node
    table: Table

    @cached_property
    def action(self) -> Node:
        return self.node.get("route")

    @cached_property
    def clusters(self) -> list[str]:
        """Those that it may lead to, but for a ``cluster_header``, which no one can tell."""
        weighted = [item.get("name").text for item in self.action.get("weighted_clusters", "clusters")]
        return [name for name in [self.action.get("cluster").text, *weighted] if name]

    def inherited(self, name: str) -> Iterator[Node]:
        """*name* of the route's action, else of its virtual host, if either says it."""
        for level in (self.action, self.host):
            if level.has(name):
                yield level.get(name)
                return

    @cached_property
    def takes(self) -> str | None:
        """What it wants in ROUTE_HEADER: an exact value, empty for none at all; ``None`` if it does not ask."""
        for header in self.node.get("match", "headers"):
            if header.get("name").text.lower() != ROUTE_HEADER:
                continue
            if header.get("present_match") and header.get("present_match").true == header.get("invert_match").true:
                return ""
            exact = header.get("string_match", "exact").text or header.get("exact_match").text
            return exact if exact and not header.get("invert_match").true else None
        return None

    @cached_property
    def named(self) -> Node | None:
        """What its virtual host says of it to the router's stream, which then translates for it."""
        found = self.host.get("metadata", "filter_metadata", "extproc", "routes").get(self.takes or "-")
        return found if found and any(not item.translates for item in self.filters) else None

    @cached_property
    def filters(self) -> list[Filter]:
        """Our filters on the listener that work for it."""
        return self.enabled(self.table.manager.filters) if self.table.manager else []

    def enabled(self, filters: list[Filter], cluster: Cluster | None = None) -> list[Filter]:
        """Those of *filters* that work for it, with what it says in their place."""
        found = []
        for item in filters:
            own = self._says_of(item, cluster)
            if own is None:
                if not item.node.get("disabled").true:
                    found.append(item)
            elif not own.get("disabled").true:
                found.append(replace(item, overrides=own.get("overrides")))
        return found

    def _says_of(self, item: Filter, cluster: Cluster | None) -> Node | None:
        """The ``ExtProcPerRoute`` of the nearest level that has a word on *item*: there even a disabled one works."""
        weighted = self.action.get("weighted_clusters", "clusters")
        nearest = [entry for entry in weighted if cluster is not None and entry.get("name").text == cluster.name]
        for level in (*nearest, self.node, self.host, self.table.node):
            node = level.get("typed_per_filter_config", item.name)
            if node:
                if type_of(node) == FILTER_CONFIG and not node.get("disabled").true:
                    return node.get("config")
                return node
        return None


@dataclass(frozen=True)
class Manager:
    """An HTTP connection manager on a listener."""

    node: Node
    listener: Node
    ours: frozenset[str] = frozenset()
    chain: tuple[Node, ...] = ()

    @cached_property
    def filters(self) -> list[Filter]:
        return filters(list(self.chain), "listener", self.ours)

    @property
    def translators(self) -> list[Filter]:
        return [item for item in self.filters if item.translates]


@dataclass
class Config:
    """A whole configuration."""

    root: Node
    clusters: dict[str, Cluster] = field(default_factory=dict)
    managers: list[Manager] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    dynamic: bool = False
    """Some of it comes from elsewhere, so that what is missing here may exist."""
    ours: frozenset[str] = frozenset()
    """The clusters that are our sidecar."""
    patched: list[EnvoyRoute] = field(default_factory=list)
    """Routes that are known only in part, beside those of the tables."""
    more: tuple[Node, ...] = ()
    """What else it is made of, beside ``root``."""

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Every member of every mapping, with its key."""
        for root in (self.root, *self.more):
            yield from root.walk()

    @cached_property
    def routes(self) -> list[EnvoyRoute]:
        whole = [
            EnvoyRoute(route, host, table)
            for table in self.tables
            for host in table.node.get("virtual_hosts")
            for route in host.get("routes")
        ]
        return whole + self.patched

    @cached_property
    def filters(self) -> list[Filter]:
        """Each once: clusters may share one by a YAML alias."""
        found = [item for manager in self.managers for item in manager.filters]
        found += [item for cluster in self.clusters.values() for item in cluster.filters]
        return list({item.node.identity: item for item in found}.values())

    def reached(self, route: EnvoyRoute) -> list[Cluster]:
        return [self.clusters[name] for name in route.clusters if name in self.clusters]

    def leads_somewhere(self, route: EnvoyRoute) -> bool:
        """Whether *route* may have a cluster: one that is meant to have none answers for what has no route."""
        return self.dynamic or bool(self.reached(route)) or route.action.has("cluster_header")

    def routes_to(self, cluster: Cluster) -> list[EnvoyRoute]:
        return [route for route in self.routes if cluster.name in route.clusters]

    def is_translated(self, route: EnvoyRoute) -> bool:
        """Whether an upstream filter of ours works for it."""
        return any(route.enabled(cluster.filters, cluster) for cluster in self.reached(route))

    def is_served(self, route: EnvoyRoute) -> bool:
        """Whether a filter of ours translates for it, wherever it stands."""
        on_listener = route.named is not None or any(item.translates for item in route.filters)
        return on_listener or self.is_translated(route)

    @cached_property
    def sidecars(self) -> dict[str, list[Filter]]:
        """The clusters that our filters call, by name."""
        found: dict[str, list[Filter]] = {}
        for item in self.filters:
            if item.sidecar:
                found.setdefault(item.sidecar, []).append(item)
        return found


def configurations(roots: list[Node]) -> list[Config]:
    """Each configuration in *roots*: bootstraps and dumps, or Kubernetes objects that hold some: a ConfigMap with a
    file, Istio's EnvoyFilters, all of them as one. Raises Unreadable."""
    objects = [item for root in roots for item in (root.get("items") if root.has("items") else [root])]
    if not any(item.has("kind") for item in objects):
        return [build(root) for root in roots]
    found = [build(root) for item in objects if item.get("kind").text == "ConfigMap" for root in _files_in(item)]
    patches = [p for o in objects if o.get("kind").text == "EnvoyFilter" for p in o.get("spec", "configPatches")]
    if patches:
        found.append(_of_patches(objects, patches))
    if not found:
        raise Unreadable("no Envoy configuration in these objects: a ConfigMap with a bootstrap, or an EnvoyFilter")
    return found


def _files_in(item: Node) -> Iterator[Node]:
    for _, value in item.get("data").items():
        if "static_resources" in value.text or "staticResources" in value.text:
            # The text of a block begins below its key.
            yield from documents(value.text, after=value.line if value.is_block else value.line - 1)


def _of_patches(objects: list[Node], patches: list[Node]) -> Config:
    root = objects[0]
    nodes = [(patch.get("applyTo").text, patch.get("patch", "value")) for patch in patches]
    ours = frozenset[str]().union(*(sidecar_clusters(value) for _, value in nodes))
    config = Config(root, dynamic=True, ours=ours, more=tuple(objects[1:]))
    nothing = root.get("-")
    manager = Manager(nothing, nothing, ours, tuple(value for where, value in nodes if where == "HTTP_FILTER"))
    config.managers.append(manager)
    _add_clusters(config, [value for where, value in nodes if where == "CLUSTER" and value.has("name")], {})
    table = Table(nothing, manager)
    for where, value in nodes:
        if where == "ROUTE_CONFIGURATION":
            config.tables.append(Table(value, manager))
        elif where == "VIRTUAL_HOST":
            config.patched += [EnvoyRoute(route, value, table) for route in value.get("routes")]
        elif where == "HTTP_ROUTE":
            config.patched.append(EnvoyRoute(value, nothing, table))
    return config


def build(root: Node) -> Config:
    """The configuration in *root*: a bootstrap, or the answer of Envoy's ``/config_dump``. Raises Unreadable."""
    if root.has("configs"):
        return _of_dump(root)
    if not root.has("static_resources") and not root.has("dynamic_resources"):
        raise Unreadable("neither a bootstrap (static_resources) nor a config dump (configs)")
    config = Config(root, dynamic=root.has("dynamic_resources"), ours=sidecar_clusters(root))
    static = root.get("static_resources")
    _add_clusters(config, static.get("clusters"), {})
    for listener in static.get("listeners"):
        _add_listener(config, listener, {})
    return config


def _add_clusters(config: Config, nodes: Node | list[Node], loads: dict[str, list[Node]]) -> None:
    for node in nodes:
        service = node.get("eds_cluster_config", "service_name").text or node.get("name").text
        cluster = Cluster(node, tuple(loads.get(service, ())), config.ours)
        config.clusters[cluster.name] = cluster


def _add_listener(config: Config, listener: Node, tables: dict[str, Node]) -> None:
    chains = [*listener.get("filter_chains"), listener.get("default_filter_chain")]
    for chain in chains:
        for item in chain.get("filters"):
            if type_of(item.get("typed_config")) != MANAGER:
                continue
            node = item.get("typed_config")
            manager = Manager(node, listener, config.ours, tuple(node.get("http_filters")))
            config.managers.append(manager)
            own = manager.node.get("route_config")
            if own:
                config.tables.append(Table(own, manager))
            elif manager.node.has("rds"):
                named = tables.get(manager.node.get("rds", "route_config_name").text)
                if named is not None:
                    config.tables.append(Table(named, manager))
                else:
                    config.dynamic = True


def _of_dump(root: Node) -> Config:
    config = Config(root, ours=sidecar_clusters(root))
    parts = {type_of(part).rpartition(".")[2]: part for part in root.get("configs")}
    empty = root.get("configs", "-")

    def inner(kind: str, lists: tuple[str, ...], *path: str) -> list[Node]:
        part = parts.get(kind, empty)
        return [found for name in lists for item in part.get(name) if (found := item.get(*path))]

    loads: dict[str, list[Node]] = {}
    kinds = ("static_endpoint_configs", "dynamic_endpoint_configs")
    for load in inner("EndpointsConfigDump", kinds, "endpoint_config"):
        loads.setdefault(load.get("cluster_name").text, []).append(load)
    tables = inner("RoutesConfigDump", ("dynamic_route_configs",), "route_config")
    clusters = inner("ClustersConfigDump", ("static_clusters", "dynamic_active_clusters"), "cluster")
    _add_clusters(config, clusters, loads)
    listeners = inner("ListenersConfigDump", ("static_listeners",), "listener")
    listeners += inner("ListenersConfigDump", ("dynamic_listeners",), "active_state", "listener")
    for listener in listeners:
        _add_listener(config, listener, {table.get("name").text: table for table in tables})
    if not clusters and not listeners:
        raise Unreadable("the config dump holds neither clusters nor listeners")
    return config
