"""What of an Envoy configuration hangs together: which routes reach which clusters through which filters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..headers import ROUTE_HEADER
from .tree import Node, Unreadable, documents

ROUTE_TYPE = "envoy.config.route.v3.Route"
MATCHED = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
EXECUTED = "envoy.extensions.filters.http.composite.v3.ExecuteFilterAction"
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
    overrides: tuple[Node, ...] = ()
    """What a route says in its place, in ``ExtProcPerRoute.overrides``: the nearest level first. Envoy puts the levels
    together member by member."""
    condition: Node | None = None
    """Upon what it works, where it does not always: nobody can tell here for which requests it does."""

    @cached_property
    def name(self) -> str:
        return self.node.get("name").text

    @cached_property
    def config(self) -> Node:
        return self.node.get("typed_config")

    @cached_property
    def role(self) -> str:
        told = [item for said in self.overrides for item in said.get("grpc_initial_metadata")]
        told += self.service.get("initial_metadata")
        return next((i.get("value").text for i in told if i.get("key").text == ROLE), "translator")

    def override(self, name: str) -> Node | None:
        """What a route says of *name*."""
        return next((said.get(name) for said in self.overrides if said.has(name)), None)

    @property
    def service(self) -> Node:
        return self.override("grpc_service") or self.config.get("grpc_service")

    @property
    def translates(self) -> bool:
        return self.role != "router"

    @cached_property
    def mode(self) -> Node:
        return self.config.get("processing_mode")

    @cached_property
    def sidecar(self) -> str:
        """The name of the cluster that it calls."""
        return _named_in(self.service)

    @cached_property
    def attributes(self) -> list[str]:
        asked = self.override("request_attributes") or self.config.get("request_attributes")
        return [text.replace('"', "'") for text in asked.texts]


def _called(node: Node) -> str:
    return _named_in(node.get("typed_config", "grpc_service"))


def _named_in(service: Node) -> str:
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
        Filter(found, placement, tuple(chain[:index]), tuple(chain[index + 1 :]), condition=condition)
        for index, node in enumerate(chain)
        for found, condition in _within(node)
        if type_of(found.get("typed_config")) == EXT_PROC and (_called(found) in ours or _speaks_for_us(found))
    ]


def _within(node: Node) -> Iterator[tuple[Node, Node | None]]:
    """The filter *node*, or those that it stands for: what comes by discovery has a default, and what a matcher chooses
    works upon a condition."""
    config = node.get("typed_config")
    if default := node.get("config_discovery", "default_config"):
        yield node.with_member("typed_config", default), None
    elif type_of(config) != MATCHED:
        yield node, None
    else:
        inner = config.get("extension_config", "typed_config")
        chosen = [value for _, value in config.walk() if type_of(value) == EXECUTED]
        for each in [action.get("typed_config", "typed_config") for action in chosen] or [inner]:
            yield node.with_member("typed_config", each), config


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

    @cached_property
    def tls(self) -> list[Node]:
        """Each UpstreamTlsContext by which it may connect."""
        matched = [item.get("transport_socket") for item in self.node.get("transport_socket_matches")]
        found = [socket.get("typed_config") for socket in (self.node.get("transport_socket"), *matched)]
        return [config for config in found if type_of(config).endswith(".UpstreamTlsContext")]

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

    def translated_before(self, cluster: Cluster) -> bool:
        """Whether a filter on the listener translates for it where it leads to *cluster*."""
        listed = self.table.manager.filters if self.table.manager else []
        return any(item.translates for item in self.enabled(listed, cluster))

    def enabled(self, filters: list[Filter], cluster: Cluster | None = None) -> list[Filter]:
        """Those of *filters* that work for it, with what it says in their place."""
        found = []
        for item in filters:
            said = self._says_of(item, cluster)
            if said[0].get("disabled").true if said else item.node.get("disabled").true:
                continue
            if item.condition is not None and not self._is_spoken_to(cluster):
                continue
            here = replace(item, overrides=tuple(own.get("overrides") for own in said if own.get("overrides")))
            if here.sidecar in (item.sidecar, *(self.table.manager.ours if self.table.manager else ())):
                found.append(here)
        return found

    def _is_spoken_to(self, cluster: Cluster | None) -> bool:
        owners = [self.node, *((cluster.node, *cluster.endpoints) if cluster is not None else ())]
        return any(owner.get("metadata", "filter_metadata", "extproc") for owner in owners)

    def _says_of(self, item: Filter, cluster: Cluster | None) -> list[Node]:
        """Each ``ExtProcPerRoute`` that has a word on *item*, the nearest level's first: there even a disabled one
        works."""
        weighted = self.action.get("weighted_clusters", "clusters")
        nearest = [entry for entry in weighted if cluster is not None and entry.get("name").text == cluster.name]
        levels = (*nearest, self.node, self.host, self.table.node)
        found = [node for level in levels if (node := level.get("typed_per_filter_config", item.name))]
        wrapped = (type_of(node) == FILTER_CONFIG and not node.get("disabled").true for node in found)
        return [node.get("config") if inside else node for node, inside in zip(found, wrapped, strict=True)]


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
            for route in [*host.get("routes"), *_of_matcher(host)]
        ]
        return whole + self.patched

    @cached_property
    def filters(self) -> list[Filter]:
        """Each once: clusters may share one by a YAML alias."""
        found = [item for manager in self.managers for item in manager.filters]
        found += [item for cluster in self.clusters.values() for item in cluster.filters]
        return list({item.node.identity: item for item in found}.values())

    def routes_of(self, manager: Manager | None) -> list[EnvoyRoute]:
        """Those that *manager* chooses from."""
        return [route for route in self.routes if route.table.manager is manager]

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


def _of_matcher(host: Node) -> Iterator[Node]:
    """The routes in the tree by which a virtual host matches in place of a list."""
    for name, value in host.get("matcher").walk():
        if name == "typed_config" and type_of(value) == ROUTE_TYPE:
            yield value
        elif name == "typed_config" and type_of(value) == f"{ROUTE_TYPE}List":
            yield from value.get("routes")


def configurations(roots: list[Node]) -> list[Config]:
    """Each configuration in *roots*: bootstraps and dumps, files of resources (LDS, RDS, CDS), or Kubernetes objects
    that hold some: ConfigMaps with files, Istio's EnvoyFilters, all of them as one. Raises Unreadable."""
    objects = [item for root in roots for item in (root.get("items") if root.has("items") else [root])]
    if not any(item.has("kind") for item in objects):
        return _of_files(roots)
    maps = [item for item in objects if item.get("kind").text == "ConfigMap"]
    found = [config for item in maps for config in _of_files(list(_files_in(item)))]
    patches = [p for o in objects if o.get("kind").text == "EnvoyFilter" for p in o.get("spec", "configPatches")]
    if patches:
        found.append(_of_patches(objects, patches))
    if not found:
        raise Unreadable(
            "no Envoy configuration in these objects: a ConfigMap with a bootstrap, or an EnvoyFilter; of other "
            "controllers' objects, the answer of Envoy's /config_dump"
        )
    return found


def is_resources(root: Node) -> bool:
    """Whether *root* is a file of resources, as Envoy reads it by ``path_config_source``."""
    return root.get("resources").is_list and not root.has("kind")


def _of_files(roots: list[Node]) -> list[Config]:
    """Bootstraps and dumps, each by itself; with files of resources one bootstrap makes one configuration."""
    resources = [root for root in roots if is_resources(root)]
    others = [root for root in roots if not is_resources(root)]
    if resources and len(others) < 2 and not any(root.has("configs") for root in others):
        return [_of_resources(others, resources)]
    return [*map(build, others), *([_of_resources([], resources)] if resources else [])]


_FILES = ("static_resources", "staticResources", "dynamic_resources", "dynamicResources", "resources:", '"resources"')


def _files_in(item: Node) -> Iterator[Node]:
    for _, value in item.get("data").items():
        if "@type" in value.text and any(word in value.text for word in _FILES):
            # The text of a block begins below its key.
            yield from documents(value.text, after=value.line if value.is_block else value.line - 1)


@dataclass
class _Parts:
    """What a configuration is put together of, before it hangs together."""

    listeners: list[Node] = field(default_factory=list)
    clusters: list[Node] = field(default_factory=list)
    tables: list[Node] = field(default_factory=list)
    loads: dict[str, list[Node]] = field(default_factory=dict)

    def load(self, node: Node) -> None:
        self.loads.setdefault(node.get("cluster_name").text, []).append(node)

    def lay_out(self, config: Config) -> Config:
        for node in self.clusters:
            _add_cluster(config, node, self.loads)
        tables = {table.get("name").text: table for table in self.tables}
        for listener in self.listeners:
            _add_listener(config, listener, tables)
        used = [table.node for table in config.tables]
        config.tables += [Table(node, None) for node in self.tables if not any(node.same(each) for each in used)]
        return config


def _of_resources(roots: list[Node], files: list[Node]) -> Config:
    parts = _Parts()
    for root in roots:
        parts.listeners += root.get("static_resources", "listeners")
        parts.clusters += root.get("static_resources", "clusters")
    lists = {
        "envoy.config.listener.v3.Listener": parts.listeners.append,
        "envoy.config.cluster.v3.Cluster": parts.clusters.append,
        "envoy.config.route.v3.RouteConfiguration": parts.tables.append,
        "envoy.config.endpoint.v3.ClusterLoadAssignment": parts.load,
    }
    for item in (item for file in files for item in file.get("resources")):
        # With its name and version about it, a resource is an Any of its own.
        node = item.get("resource") if item.has("resource") else item
        if add := lists.get(type_of(node)):
            add(node)
    first, *more = [*roots, *files]
    ours = frozenset[str]().union(*map(sidecar_clusters, [first, *more]))
    return parts.lay_out(Config(first, dynamic=True, ours=ours, more=tuple(more)))


def _of_patches(objects: list[Node], patches: list[Node]) -> Config:
    root = objects[0]
    nodes = [
        (patch.get("applyTo").text, patch.get("patch", "value"))
        for patch in patches
        if patch.get("patch", "operation").text != "REMOVE"
    ]
    ours = frozenset[str]().union(*(sidecar_clusters(value) for _, value in nodes))
    config = Config(root, dynamic=True, ours=ours, more=tuple(objects[1:]))
    nothing = root.get("-")
    chains = [value for where, value in nodes if where in ("HTTP_FILTER", "EXTENSION_CONFIG")]
    managers = [value.get("typed_config") for where, value in nodes if where == "NETWORK_FILTER"]
    chains += [item for node in managers if type_of(node) == MANAGER for item in node.get("http_filters")]
    manager = Manager(nothing, nothing, ours, tuple(chains))
    config.managers.append(manager)
    table = Table(nothing, manager)
    for where, value in nodes:
        if where == "CLUSTER":
            _add_cluster(config, value, {})
        elif where == "LISTENER":
            _add_listener(config, value, {})
        elif where == "FILTER_CHAIN":
            _add_chains(config, nothing, [value], {})
        elif where == "ROUTE_CONFIGURATION":
            config.tables.append(Table(value, manager))
            config.patched.append(EnvoyRoute(nothing, nothing, config.tables[-1]))
        elif where == "VIRTUAL_HOST":
            listed = [*value.get("routes"), *_of_matcher(value)]
            config.patched += [EnvoyRoute(route, value, table) for route in listed or [nothing]]
        elif where == "HTTP_ROUTE":
            config.patched.append(EnvoyRoute(value, nothing, table))
    for node in managers:
        if node.get("route_config"):
            config.tables.append(Table(node.get("route_config"), manager))
    return config


def build(root: Node) -> Config:
    """The configuration in *root*: a bootstrap, or the answer of Envoy's ``/config_dump``. Raises Unreadable."""
    if root.has("configs"):
        return _of_dump(root)
    if not root.has("static_resources") and not root.has("dynamic_resources"):
        raise Unreadable("neither a bootstrap (static_resources), a config dump (configs) nor a file of resources")
    config = Config(root, dynamic=root.has("dynamic_resources"), ours=sidecar_clusters(root))
    static = root.get("static_resources")
    return _Parts(list(static.get("listeners")), list(static.get("clusters"))).lay_out(config)


def _add_cluster(config: Config, node: Node, loads: dict[str, list[Node]]) -> None:
    service = node.get("eds_cluster_config", "service_name").text or node.get("name").text
    cluster = Cluster(node, tuple(loads.get(service, ())), config.ours)
    # One that a patch only adds to has no name.
    config.clusters[cluster.name or node.path] = cluster


def _add_listener(config: Config, listener: Node, tables: dict[str, Node]) -> None:
    _add_chains(config, listener, [*listener.get("filter_chains"), listener.get("default_filter_chain")], tables)


def _add_chains(config: Config, listener: Node, chains: list[Node], tables: dict[str, Node]) -> None:
    filters = [item.get("typed_config") for chain in chains for item in chain.get("filters")]
    for node in [*filters, listener.get("api_listener", "api_listener")]:
        if type_of(node) != MANAGER:
            continue
        manager = Manager(node, listener, config.ours, tuple(node.get("http_filters")))
        config.managers.append(manager)
        inline, names = _tables_of(node)
        config.tables += [Table(each, manager) for each in inline]
        for name in names:
            if name in tables:
                config.tables.append(Table(tables[name], manager))
            else:
                config.dynamic = True


def _tables_of(manager: Node) -> tuple[list[Node], list[str]]:
    """The route configurations that stand in *manager*, and the names of those that do not."""
    inline, names = [manager.get("route_config")], [manager.get("rds", "route_config_name").text]
    scoped = manager.get("scoped_routes")
    for scope in scoped.get("scoped_route_configurations_list", "scoped_route_configurations"):
        inline.append(scope.get("route_configuration"))
        names.append(scope.get("route_configuration_name").text)
    if scoped.has("scoped_rds"):
        names.append("-")
    return [node for node in inline if node], [name for name in names if name]


def _of_dump(root: Node) -> Config:
    config = Config(root, ours=sidecar_clusters(root))
    kinds = {type_of(part).rpartition(".")[2]: part for part in root.get("configs")}
    empty = root.get("configs", "-")

    def inner(kind: str, lists: tuple[str, ...], *path: str) -> list[Node]:
        part = kinds.get(kind, empty)
        return [found for name in lists for item in part.get(name) if (found := item.get(*path))]

    parts = _Parts()
    for load in inner(
        "EndpointsConfigDump", ("static_endpoint_configs", "dynamic_endpoint_configs"), "endpoint_config"
    ):
        parts.load(load)
    parts.tables = inner("RoutesConfigDump", ("dynamic_route_configs",), "route_config")
    parts.clusters = inner("ClustersConfigDump", ("static_clusters", "dynamic_active_clusters"), "cluster")
    parts.listeners = inner("ListenersConfigDump", ("static_listeners",), "listener")
    parts.listeners += inner("ListenersConfigDump", ("dynamic_listeners",), "active_state", "listener")
    if not parts.clusters and not parts.listeners:
        raise Unreadable("the config dump holds neither clusters nor listeners")
    return parts.lay_out(config)
