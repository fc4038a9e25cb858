"""``extproc import``: another gateway's routes as Envoy configuration, with what has no equivalent said."""

from __future__ import annotations

import yaml

from . import aigw, apisix
from .envoy import Imported, ImportFailed, Made

__all__ = ["ImportFailed", "Imported", "convert"]

_SOURCES = {"apisix": apisix.read, "aigw": aigw.read}


def convert(source: str, data: bytes) -> Imported:
    """*data* in the form of *source* ("apisix" or "aigw") as a bootstrap for Envoy. Raises ImportFailed."""
    made = Made()
    try:
        documents = [item for item in yaml.safe_load_all(data.decode()) if item is not None]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ImportFailed(f"neither JSON nor YAML: {str(error).splitlines()[0]}") from None
    if not documents or not all(isinstance(item, dict) for item in documents):
        raise ImportFailed("expected an object")
    try:
        _SOURCES[source](documents, made)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise ImportFailed(f"not as its schema has it: {error}") from None
    return made.done()
