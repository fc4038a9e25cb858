"""Rules about credentials that stand in the configuration itself, outside the metadata's ``auth``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..names import may_carry_credential, plain
from ..policy.recognisers import KEYS
from .levels import MetadataLevel, all_levels
from .rule import WARNING, Found, rule
from .rules_metadata import SECRET_HEADERS, literals
from .topology import Config
from .tree import Node

_PARAMETERS = frozenset({
    "key", "api_key", "api-key", "apikey", "token", "access_token", "secret", "subscription-key", "sig", "password",
})  # fmt: skip

_SECRETS = (".secret", ".private_key", ".password")
_ADDRESSES = frozenset({"path", "uri", "prefix_rewrite", "path_rewrite", "path_redirect", "substitution"})
"""Members that hold a path of Envoy's own requests, or of those that it changes."""
_SAYS_SO = re.compile(r"(?:key|token|secret|password|auth|authorization)$")
_REFERENCE = re.compile(r"%[A-Z_]+[(%]|\$\{")
_OWNERS = (
    ("health_checks", "a health check"),
    ("access_log", "an access log"),
    ("http_filters", "a filter"),
    ("weighted_clusters", "a weighted cluster"),
    (".routes[", "a route"),
    ("virtual_hosts", "a virtual host"),
    ("route_config", "the route configuration"),
)
"""Whose a place in the configuration is, by a part of its path."""

_MEMBERS = SECRET_HEADERS | {"api_key", "access_key_id", "access_key_secret", "secret_access_key", "session_token"}
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
    told = {found.node.line for _, found in all_levels(config) if any(literals(found))}
    for node, problem in [*_named(config), *_by_value(config)]:
        # Of one line the first word is enough.
        if node.line not in told:
            yield node, problem
        told.add(node.line)


def _named(config: Config) -> Iterator[tuple[Node, str]]:
    """What stands where a credential has its place."""
    for name, node in config.walk():
        for item in (node, *node):
            header, value = item.get("key").text.lower(), item.get("value") or item.get("raw_value")
            if header and value.text and _names_one(header) and not _is_reference(value.text):
                yield value, f"{_whose(item)} adds {header} with a literal credential"
        if name in _ADDRESSES:
            yield from ((node, f"{_whose(node)} has a path with a literal {key}") for key in _keys_in(node.text))
        inline = node.get("inline_string") or node.get("inline_bytes")
        if inline.text and not _is_reference(inline.text) and node.path.endswith(_SECRETS):
            yield inline, "a secret stands in the configuration itself"
    for _, found in all_levels(config):
        yield from ((found.node, f"override.endpoint has a literal {name}") for name in _keys_in(_endpoint(found)))
        paths = _literals(found.member("policies"), "policies")
        yield from ((found.node, f"{path} is a literal credential") for path in paths)


_LOOKS_LIKE_ONE = re.compile(rb"(?<![A-Za-z0-9_-])(?:" + rb"|".join(KEYS) + rb")|-----BEGIN [A-Z ]*PRIVATE KEY-----")


def _by_value(config: Config) -> Iterator[tuple[Node, str]]:
    """What looks like a key, wherever it stands: in a script, in a member of a route's text."""
    for _, node in config.walk():
        for item in (node, *node):
            if _LOOKS_LIKE_ONE.search(item.text.encode()):
                yield item, f"{_whose(item)} holds what looks like a provider's key"


def _names_one(header: str) -> bool:
    """Whether *header* bears a credential: one of those that providers read, or one of a name that says so."""
    return header in SECRET_HEADERS or (_SAYS_SO.search(plain(header)) is not None and may_carry_credential(header))


def _is_reference(value: str) -> bool:
    """Whether it names where the credential is, and holds none: ``%ENVIRONMENT(KEY)%``, ``${KEY}``."""
    return _REFERENCE.search(value) is not None


def _whose(node: Node) -> str:
    return next((what for part, what in _OWNERS if part in node.path), "the configuration")


def _keys_in(url: str) -> list[str]:
    """The parameters of *url* that bear a literal credential."""
    pairs = parse_qsl(urlsplit(url).query) if "?" in url else []
    return [name for name, value in pairs if _is_parameter(name.lower()) and value and not _is_reference(value)]


def _is_parameter(name: str) -> bool:
    return name in _PARAMETERS or (_SAYS_SO.search(plain(name)) is not None and may_carry_credential(name))


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
