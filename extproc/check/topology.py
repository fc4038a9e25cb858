"""What of an Envoy configuration hangs together: which routes reach which clusters through which filters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from .tree import Node, Unreadable

EXT_PROC = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ROLE = "x-extproc-role"
LEAF = "filter_metadata['extproc']['route']"
_KINDS = ("xds.route_metadata", "xds.cluster_metadata", "xds.upstream_host_metadata")


def type_of(node: Node) -> str:
    """The type of an Any, without its prefix."""
    return node.get("@type").text.rpartition("/")[2]


@dataclass(frozen=True)
class Filter:
    """One ext_proc filter that calls the sidecar."""

    node: Node
    placement: str
    """"listener" or "upstream"."""
    before: tuple[Node, ...] = ()
    """The filters that see a request before it, in order."""

    @cached_property
    def name(self) -> str:
        return self.node.get("name").text

    @cached_property
    def config(self) -> Node:
        return self.node.get("typed_config")

    @cached_property
    def role(self) -> str:
        for item in self.config.get("grpc_service", "initial_metadata"):
            if item.get("key").text == ROLE:
                return item.get("value").text
        return "translator"

    @property
    def translates(self) -> bool:
        return self.role != "router"

    @cached_property
    def mode(self) -> Node:
        return self.config.get("processing_mode")

    @cached_property
    def sidecar(self) -> str:
        """The name of the cluster that it calls."""
        return self.config.get("grpc_service", "envoy_grpc", "cluster_name").text

    @cached_property
    def attributes(self) -> list[str]:
        return [text.replace('"', "'") for text in self.config.get("request_attributes").texts]


def _is_ours(node: Node) -> bool:
    config = node.get("typed_config")
    metadata = [item.get("key").text for item in config.get("grpc_service", "initial_metadata")]
    words = [node.get("name").text, config.get("grpc_service", "envoy_grpc", "cluster_name").text]
    attributes = config.get("request_attributes").texts
    return (
        ROLE in metadata
        or any("extproc" in word for word in words + attributes)
        or any(kind in attributes for kind in _KINDS)
    )


def filters(chain: Node, placement: str) -> list[Filter]:
    """The filters of *chain* that are ours: another service may use ext_proc as well."""
    before: list[Node] = []
    found = []
    for node in chain:
        if type_of(node.get("typed_config")) == EXT_PROC and _is_ours(node):
            found.append(Filter(node, placement, tuple(before)))
        before.append(node)
    return found


@dataclass(frozen=True)
class Cluster:
    node: Node
    loads: tuple[Node, ...] = ()
    """Where its endpoints stand, if not in itself."""

    @cached_property
    def name(self) -> str:
        return self.node.get("name").text

    @cached_property
    def options(self) -> Node:
        return self.node.get("typed_extension_protocol_options", OPTIONS)

    @cached_property
    def filters(self) -> list[Filter]:
        return filters(self.options.get("http_filters"), "upstream")

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
class Route:
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

    @property
    def filters(self) -> list[Filter]:
        return self.table.manager.filters if self.table.manager else []


@dataclass(frozen=True)
class Manager:
    """An HTTP connection manager on a listener."""

    node: Node
    listener: Node

    @cached_property
    def filters(self) -> list[Filter]:
        return filters(self.node.get("http_filters"), "listener")

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

    @cached_property
    def routes(self) -> list[Route]:
        return [
            Route(route, host, table)
            for table in self.tables
            for host in table.node.get("virtual_hosts")
            for route in host.get("routes")
        ]

    @cached_property
    def filters(self) -> list[Filter]:
        """Each once: clusters may share one by a YAML alias."""
        found = [item for manager in self.managers for item in manager.filters]
        found += [item for cluster in self.clusters.values() for item in cluster.filters]
        return list({item.node.identity: item for item in found}.values())

    def reached(self, route: Route) -> list[Cluster]:
        return [self.clusters[name] for name in route.clusters if name in self.clusters]

    def leads_somewhere(self, route: Route) -> bool:
        """Whether *route* may have a cluster: one that is meant to have none answers for what has no route."""
        return self.dynamic or bool(self.reached(route)) or route.action.has("cluster_header")

    def routes_to(self, cluster: Cluster) -> list[Route]:
        return [route for route in self.routes if cluster.name in route.clusters]

    def is_translated(self, route: Route) -> bool:
        """Whether an upstream filter of ours works for it."""
        return any(cluster.filters for cluster in self.reached(route))

    @cached_property
    def sidecars(self) -> dict[str, list[Filter]]:
        """The clusters that our filters call, by name."""
        found: dict[str, list[Filter]] = {}
        for item in self.filters:
            if item.sidecar:
                found.setdefault(item.sidecar, []).append(item)
        return found


def build(root: Node) -> Config:
    """The configuration in *root*: a bootstrap, or the answer of Envoy's ``/config_dump``. Raises Unreadable."""
    if root.has("configs"):
        return _of_dump(root)
    if not root.has("static_resources") and not root.has("dynamic_resources"):
        raise Unreadable("neither a bootstrap (static_resources) nor a config dump (configs)")
    config = Config(root, dynamic=root.has("dynamic_resources"))
    static = root.get("static_resources")
    _add_clusters(config, static.get("clusters"), {})
    for listener in static.get("listeners"):
        _add_listener(config, listener, {})
    return config


def _add_clusters(config: Config, nodes: Node | list[Node], loads: dict[str, list[Node]]) -> None:
    for node in nodes:
        service = node.get("eds_cluster_config", "service_name").text or node.get("name").text
        cluster = Cluster(node, tuple(loads.get(service, ())))
        config.clusters[cluster.name] = cluster


def _add_listener(config: Config, listener: Node, tables: dict[str, Node]) -> None:
    chains = [*listener.get("filter_chains"), listener.get("default_filter_chain")]
    for chain in chains:
        for item in chain.get("filters"):
            if type_of(item.get("typed_config")) != MANAGER:
                continue
            manager = Manager(item.get("typed_config"), listener)
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
    config = Config(root)
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
