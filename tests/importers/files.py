"""Files of users, and documents, imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from extproc.check import check
from extproc.importers import Imported, convert
from extproc.reference.config import copy_all
from tests.support import placements

CASES = Path(__file__).parent / "cases"


KEY = {"header": {"Authorization": "Bearer sk-live-1"}}


def source(name: str) -> str:
    return name.partition("-")[0]


def case(name: str) -> Imported:
    made = convert(source(name), (CASES / name).read_bytes())
    errors = [finding for finding in check(made.yaml) if finding.severity == "error"]
    assert not errors, list(map(str, errors))
    return made


def config_of(made: Imported) -> dict[str, Any]:
    config: dict[str, Any] = copy_all(yaml.safe_load(made.yaml))
    return config


def apisix(*documents: Any) -> Imported:
    return convert("apisix", *(yaml.safe_dump(document).encode() for document in documents))


def hosts_of(config: dict[str, Any]) -> list[dict[str, Any]]:
    hosts: list[dict[str, Any]] = placements.manager(config)["route_config"]["virtual_hosts"]
    return hosts


def levels_of(config: dict[str, Any], cluster: str) -> list[dict[str, Any]]:
    """What is said of each provider of *cluster*, wherever its translation stands."""
    places = placements.clusters(config)[cluster]["load_assignment"]["endpoints"]
    ends = [end for place in places for end in place["lb_endpoints"] if "extproc" in said_by(end)]
    if ends:
        return [yaml.safe_load(said_by(end)["extproc"]["route"]) for end in ends]
    route = next(item for host in hosts_of(config) for item in host["routes"] if item["route"]["cluster"] == cluster)
    return [level_of(config, route)]


def level_of(config: dict[str, Any], route: dict[str, Any]) -> Any:
    """The whole route by which the listener's own stream translates for Envoy's *route*, or what that itself says."""
    header: dict[str, Any] = next((h for h in route["match"].get("headers", ()) if h["name"] == "x-extproc-route"), {})
    if "string_match" not in header:
        return yaml.safe_load(said_by(route)["extproc"]["route"])
    host = next(host for host in hosts_of(config) if route in host["routes"])
    return yaml.safe_load(said_by(host)["extproc"]["routes"][header["string_match"]["exact"]])


def said_by(owner: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = owner.get("metadata", {}).get("filter_metadata", {})
    return found
