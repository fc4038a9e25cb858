"""The ext_proc filters against Envoy's own message types, as the package envoy-data-plane has them (the extra
``check``). Without it this one rule finds nothing."""

from __future__ import annotations

import re
import warnings
from typing import Any

from .rule import WARNING, Found, rule
from .topology import Config
from .tree import Node

_UNKNOWN = re.compile(r"Unknown (?:field '(?P<field>[^']+)'|value (?P<value>\S+) )")


def _message() -> Any:
    """The typed ExternalProcessor. Its import takes half a second, so it waits until there is something to check."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3
    except ImportError:
        return None
    return v3.ExternalProcessor


@rule(
    "schema", WARNING, "the filter's configuration is no ExternalProcessor message",
    then="Envoy does not start, or rejects the update, unless it knows more fields than envoy-data-plane does",
    write="a field of envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
)  # fmt: skip
def schema(config: Config) -> Found:
    message = _message() if config.filters else None
    if message is None:
        return
    for item in config.filters:
        try:
            message.from_dict(_without_any(item.config.plain()))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            # pydantic's errors are ValueErrors.
            problem = str(error.args[0] if error.args else error).strip().splitlines()[0]
            yield _where(item.config, problem), f"not a valid ExternalProcessor: {problem}"


def _without_any(value: Any) -> Any:
    """*value* without the messages that are wrapped in it: their types would all have to be loaded."""
    if isinstance(value, dict):
        return {k: _without_any(v) for k, v in value.items() if k not in ("@type", "typed_config")}
    return [_without_any(item) for item in value] if isinstance(value, list) else value


def _where(config: Node, problem: str) -> Node:
    """The member that *problem* names, as far as it names one."""
    found = _UNKNOWN.search(problem)
    for name, node in config.walk():
        if found and (name == found["field"] or (found["value"] and node.text == found["value"])):
            return node
    return config
