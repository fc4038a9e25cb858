"""Plugins of APISIX, imported."""

from __future__ import annotations

import json
from typing import Any

import yaml

from extproc.check import check
from extproc.importers import Imported, convert
from extproc.reference.config import copy_all
from tests.support import placements

from .files import levels_of

AZURE = "https://a.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-02-15-preview"


HEADER = {"header": {"Authorization": "Bearer sk-live-123"}}


def imported(plugin: dict[str, Any], name: str = "ai-proxy", **route: Any) -> Imported:
    document = {"id": "r1", "uri": "/anything", "plugins": {name: plugin}, **route}
    made = convert("apisix", json.dumps(document).encode())
    assert not [item for item in check(made.yaml) if item.severity == "error"], list(map(str, check(made.yaml)))
    assert "sk-live" not in made.yaml and "sk-live" not in "".join(made.notes)
    return made


def parts(made: Imported) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """The first route, its cluster, and what is said of each provider."""
    config = copy_all(yaml.safe_load(made.yaml))
    route = placements.routes(config)[0]
    cluster = placements.clusters(config)[route["route"]["cluster"]]
    return route, cluster, levels_of(config, cluster["name"])


def single(**plugin: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], list[str]]:
    made = imported({"provider": "openai", "auth": HEADER, **plugin})
    route, cluster, (level,) = parts(made)
    return route, cluster, level, made.notes


def instance(provider: str = "openai", **members: Any) -> dict[str, Any]:
    return {"name": provider, "provider": provider, "weight": 1, "auth": HEADER, **members}


def multi(*instances: dict[str, Any], **plugin: Any) -> tuple[dict[str, Any], dict[str, Any], list[Any], list[str]]:
    made = imported({"instances": list(instances), **plugin}, "ai-proxy-multi")
    return (*parts(made), made.notes)
