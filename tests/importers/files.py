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
    places = placements.clusters(config)[cluster]["load_assignment"]["endpoints"]
    ends = [end for place in places for end in place["lb_endpoints"]]
    return [yaml.safe_load(end["metadata"]["filter_metadata"]["extproc"]["route"]) for end in ends]
