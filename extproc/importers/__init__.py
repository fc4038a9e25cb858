"""``extproc import``: another gateway's routes as Envoy configuration, with what has no equivalent said."""

from __future__ import annotations

from typing import Any

import yaml

from ..check.tree import Unreadable
from ..check.tree import documents as bounded
from ..gateway.envoy import Imported, ImportFailed, Made
from . import aigw, apisix

__all__ = ["ImportFailed", "Imported", "convert"]

_SOURCES = {"apisix": apisix.read, "aigw": aigw.read}


def convert(source: str, *files: bytes, checks: bool = True) -> Imported:
    """*files*, read together, in the form of *source* ("apisix" or "aigw") as a bootstrap for Envoy, without active
    health checks unless *checks*. Raises ImportFailed."""
    made = Made(checks)
    documents = [document for data in files for document in _documents(data)]
    if not documents or not all(isinstance(item, dict) for item in documents):
        raise ImportFailed("expected an object")
    try:
        _SOURCES[source](documents, made)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise ImportFailed(f"not as its schema has it: {error}") from None
    return made.done()


def _documents(data: bytes) -> list[Any]:
    try:
        text = data.decode().removeprefix("\ufeff")
        # Aliases that make millions of values, tags, and what is nested too deeply.
        bounded(text)
        return [item for item in yaml.safe_load_all(text) if item is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise ImportFailed(f"neither JSON nor YAML: {str(error).splitlines()[0]}") from None
    except Unreadable as error:
        if str(error).startswith("expected a mapping"):
            raise ImportFailed("expected an object") from None
        raise ImportFailed(f"neither JSON nor YAML: {error}") from None
