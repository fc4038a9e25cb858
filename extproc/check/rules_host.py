"""Rules about the Host that a provider gets: the client's, Envoy's, or the one that the sidecar says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..providers import PROVIDERS
from ..route import RouteError
from ..route.compile import laid
from ..route.model import split_endpoint
from ..route.route import PORTS, EndpointUrl
from .levels import MetadataLevel, met, named_level
from .rule import ERROR, WARNING, Found, rule
from .topology import Cluster, Config, EnvoyRoute, is_address, is_near
from .tree import Node

_REWRITES = ("auto_host_rewrite", "host_rewrite_literal", "host_rewrite_header", "host_rewrite_path_regex")
_DNS = ("STRICT_DNS", "LOGICAL_DNS")
"""The types of clusters whose endpoints are called by the name that is looked up, if they have no other."""


@rule(
    "host-rewrite", WARNING, "the route leaves the client's Host as it is",
    then="the provider gets a name that is not its own: it answers 404, 421 or 403",
    write="auto_host_rewrite: true",
)  # fmt: skip
def host_rewrite(config: Config) -> Found:
    for route in config.routes:
        for cluster in config.reached(route) if config.is_served(route) else ():
            far = any(not is_near(end) and not is_address(end) for end in cluster.endpoints)
            if far and not _rewrites(route, cluster) and any(_host(levels) is None for levels in _met(route, cluster)):
                yield route.action.get("auto_host_rewrite")
                break


@rule(
    "signed-host", ERROR, "Envoy sends another Host than the one that is signed",
    then="AWS refuses the signature: every request gets a 403",
    write="auto_host_rewrite: false, or hostname: and the signed host in each endpoint of the cluster",
)  # fmt: skip
def signed_host(config: Config) -> Found:
    for route in config.routes:
        for cluster in config.reached(route) if _on_listener(route) else ():
            if route.enabled(cluster.filters, cluster):
                continue  # It runs after Envoy's rewriting, and its word stands.
            for levels in _met(route, cluster):
                signed = _host(levels) if _is_signed(levels) else None
                sent = [each for each in _rewrites(route, cluster) if signed and each[1] not in ("", signed)]
                if sent:
                    node, host = sent[0]
                    yield node, f"{signed} is signed, and Envoy sends {host} to cluster {cluster.name}"
                    break


def _on_listener(route: EnvoyRoute) -> bool:
    return route.named is not None or any(item.translates for item in route.filters)


def _met(route: EnvoyRoute, cluster: Cluster) -> Iterator[Sequence[MetadataLevel]]:
    """What our filters are told where *route* leads to *cluster*."""
    if route.named is not None:
        yield (named_level(route),)
    else:
        yield from (found.levels for found in met(route, cluster) if found)


def _rewrites(route: EnvoyRoute, cluster: Cluster) -> list[tuple[Node, str]]:
    """Where *route* has Envoy write the Host for *cluster*, and what it writes for each endpoint; empty where that
    cannot be told, or nothing is written after all."""
    entries = [e for e in route.action.get("weighted_clusters", "clusters") if e.get("name").text == cluster.name]
    for node in (entry.get("host_rewrite_literal") for entry in entries):
        if node:
            return [(node, node.text)]
    for name in _REWRITES:
        node = route.action.get(name)
        if not node or node.false:
            continue
        if name == "host_rewrite_literal":
            return [(node, node.text)]
        if name != "auto_host_rewrite":
            return [(node, "")]
        return [(node, _called(cluster, each)) for each in cluster.endpoints] or [(node, "")]
    return []


def _called(cluster: Cluster, endpoint: Node) -> str:
    """What Envoy calls *endpoint*; empty if it has no name: then it writes none."""
    name = endpoint.get("endpoint", "hostname").text
    if name or cluster.node.get("type").text not in _DNS:
        return name
    return endpoint.get("endpoint", "address", "socket_address", "address").text


def _is_signed(levels: Sequence[MetadataLevel]) -> bool:
    return "aws" in _auth(_values(levels))


def _host(levels: Sequence[MetadataLevel]) -> str | None:
    """The host that the sidecar says for what *levels* make; empty where that cannot be told here, ``None`` where it
    says none."""
    values = _values(levels)
    endpoint, aws = values.get("override", {}).get("endpoint"), _auth(values).get("aws")
    if endpoint:
        try:
            return "" if "${" in endpoint else _authority(endpoint)
        except ValueError:
            return ""
    if aws is None:
        return None
    region = aws.get("region") or values.get("provider_conf", {}).get("region") or "${AWS_REGION}"
    provider = PROVIDERS.get(values.get("provider", ""))
    return "" if "${" in region or provider is None else provider.host_in(region)


def _authority(endpoint: str) -> str:
    parts = split_endpoint(endpoint)
    return EndpointUrl(parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme], "", "").authority


def _auth(values: dict[str, Any]) -> dict[str, Any]:
    found = values.get("auth")
    return found if isinstance(found, dict) else {}


def _values(levels: Sequence[MetadataLevel]) -> dict[str, Any]:
    """What *levels* come to; nothing where they are wrong, which is another rule's matter."""
    try:
        return laid([item.text for item in levels])[0]
    except RouteError:
        return {}
