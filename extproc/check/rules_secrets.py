"""Rules about credentials that stand in the configuration itself, outside the metadata's ``auth``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..headers import CREDENTIAL_HEADERS
from .levels import MetadataLevel, all_levels
from .rule import WARNING, Found, rule
from .topology import Config
from .tree import Node

_HEADERS = CREDENTIAL_HEADERS - {"openai-organization", "openai-project", "x-amz-date", "x-goog-user-project"}
_PARAMETERS = frozenset({
    "key", "api_key", "api-key", "apikey", "token", "access_token", "secret", "subscription-key", "sig", "password",
})  # fmt: skip

_MEMBERS = _HEADERS | {"api_key", "access_key_id", "access_key_secret", "secret_access_key", "session_token"}
"""Of policies, those that hold a credential."""


@rule(
    "secret-literal", WARNING, "a credential stands in the configuration itself",
    then="whoever can read the file, or Envoy's /config_dump, has the key",
    write="auth of the metadata with ${VARIABLE}; for a probe or a filter of Envoy's an SDS secret in a file, or "
    "%ENVIRONMENT(VARIABLE)%",
)  # fmt: skip
def secret_literal(config: Config) -> Found:
    if not config.filters:
        return
    for owner, what in [*_adders(config), *_probes(config)]:
        for item in owner:
            header, value = item.get("header", "key"), item.get("header", "value")
            if header.text.lower() in _HEADERS and value.text and not _is_reference(value.text):
                yield value, f"{what} adds {header.text.lower()} with a literal credential"
    for node in _probe_paths(config):
        yield from ((node, f"a probe's path has a literal {name}") for name in _keys_in(node.text))
    for _, found in all_levels(config):
        yield from ((found.node, f"override.endpoint has a literal {name}") for name in _keys_in(_endpoint(found)))
        literals = _literals(found.member("policies"), "policies")
        yield from ((found.node, f"{path} is a literal credential") for path in literals)
    for _, node in config.root.walk():
        if node.get("inline_string").text and not _is_reference(node.get("inline_string").text) and _is_secret(node):
            yield node.get("inline_string"), "a secret stands in the configuration itself"


def _is_reference(value: str) -> bool:
    """Whether it names where the credential is, and holds none: ``%ENVIRONMENT(KEY)%``, ``${KEY}``."""
    bare = value.partition(" ")[2] or value
    return bare.startswith(("%", "${")) and bare.endswith(("%", "}"))


def _is_secret(node: Node) -> bool:
    return node.path.endswith((".secret", ".private_key", ".password"))


def _adders(config: Config) -> Iterator[tuple[Node, str]]:
    """Lists of headers that Envoy adds to requests."""
    for table in config.tables:
        yield table.node.get("request_headers_to_add"), "the route configuration"
        for host in table.node.get("virtual_hosts"):
            yield host.get("request_headers_to_add"), "a virtual host"
    for route in config.routes:
        yield route.node.get("request_headers_to_add"), "a route"
        for item in route.action.get("weighted_clusters", "clusters"):
            yield item.get("request_headers_to_add"), "a weighted cluster"


def _probes(config: Config) -> Iterator[tuple[Node, str]]:
    for cluster in config.clusters.values():
        for check in cluster.node.get("health_checks"):
            yield check.get("http_health_check", "request_headers_to_add"), "a health check"
            yield check.get("grpc_health_check", "initial_metadata"), "a health check"


def _probe_paths(config: Config) -> Iterator[Node]:
    for cluster in config.clusters.values():
        for check in cluster.node.get("health_checks"):
            yield check.get("http_health_check", "path")


def _keys_in(url: str) -> list[str]:
    """The parameters of *url* that bear a literal credential."""
    pairs = parse_qsl(urlsplit(url).query) if "?" in url else []
    return [name for name, value in pairs if name.lower() in _PARAMETERS and not _is_reference(value)]


def _literals(value: Any, path: str) -> Iterator[str]:
    """Where in the members of policies a credential stands as it is."""
    if isinstance(value, list):
        for at, each in enumerate(value):
            yield from _literals(each, f"{path}[{at}]")
    elif isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, str) and str(name).lower() in _MEMBERS and not _is_reference(each):
                yield f"{path}.{name}"
            yield from _literals(each, f"{path}.{name}")


def _endpoint(level: MetadataLevel) -> str:
    override = level.member("override")
    found = override.get("endpoint") if isinstance(override, dict) else None
    return found if isinstance(found, str) else ""
