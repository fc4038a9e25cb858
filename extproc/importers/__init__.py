"""``extproc import``: another gateway's routes as Envoy configuration, with what has no equivalent said."""

from __future__ import annotations

from typing import Any

import yaml

from ..check.tree import Unreadable
from ..check.tree import documents as bounded
from ..gateway import FileError, lay_out
from ..gateway.envoy import Imported, ImportFailed, Made, written
from ..gateway.file import gateway
from . import aigw, apisix, litellm

__all__ = ["ImportFailed", "Imported", "convert"]

_SOURCES = {"apisix": apisix.read, "aigw": aigw.read}


TARGETS = ("envoy", "extproc")
"""What can be made: a bootstrap for Envoy, or an ``extproc.yaml``, which not every source fits into."""


_LIST = "items"


def convert(source: str, *files: bytes, checks: bool = True, to: str = "envoy") -> Imported:
    """*files*, read together, in the form of *source* ("apisix", "aigw" or "litellm") as one of ``TARGETS``, without
    active health checks unless *checks*. Raises ImportFailed."""
    made = Made(checks)
    documents = [document for data in files for document in _documents(data)]
    listed = [item for document in documents if isinstance(document, dict) for item in document.get(_LIST, ())]
    if not documents or not all(isinstance(item, dict) for item in (*documents, *listed)):
        raise ImportFailed("expected an object")
    if to != "envoy" and source != "litellm":
        raise ImportFailed(f"{source} says more than an extproc.yaml can: leave --to out, it becomes Envoy's own")
    try:
        if source == "litellm":
            return _as_gateway(litellm.read(documents, made.note), made.notes, to)
        _SOURCES[source](documents, made)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise ImportFailed(f"not as its schema has it: {error}") from None
    return made.done()


def _as_gateway(values: dict[str, Any], notes: list[str], to: str) -> Imported:
    """The gateway's file *values*, or what it comes to."""
    try:
        laid = lay_out(gateway(values, "config.yaml"), "config.yaml")
    except FileError as error:
        raise ImportFailed(str(error)) from None
    made = values if to == "extproc" else laid.config
    return Imported(written(made, "extproc import litellm", notes), notes)


def _documents(data: bytes) -> list[Any]:
    try:
        text = data.decode().removeprefix("\ufeff")
        if text.lstrip().startswith("["):
            # A list of objects, as people cut it out of an answer.
            text = f'{{"{_LIST}": {text}}}'
        # Aliases that make millions of values, tags, and what is nested too deeply.
        bounded(text)
        return [item for item in yaml.safe_load_all(text) if item is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise ImportFailed(f"neither JSON nor YAML: {str(error).splitlines()[0]}") from None
    except Unreadable as error:
        if str(error).startswith("expected a mapping"):
            raise ImportFailed("expected an object") from None
        raise ImportFailed(f"neither JSON nor YAML: {error}") from None
