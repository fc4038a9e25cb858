"""The profile `observe` of docker-compose.yaml: what it mounts is there, and speaks of what is there."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from extproc.settings import ALL
from tests.support.dashboard import ALERTS, DASHBOARD, DEPLOY, PANELS

from . import stack
from .stack import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OBSERVE = {name: service for name, service in SERVICES.items() if "profiles" in service}
PROVISIONED = DEPLOY / "grafana" / "provisioning"


def loaded(path: Any) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def mounts(service: dict[str, Any]) -> list[tuple[str, str]]:
    """What it mounts of this repository: from where and to where."""
    found = [each.split(":") for each in service["volumes"]]
    return [(parts[0], parts[1]) for parts in found if parts[0].startswith("./")]


def test_without_the_profile_nothing_is_more() -> None:
    assert {name: service["profiles"] for name, service in OBSERVE.items()} == {
        "prometheus": ["observe"], "grafana": ["observe"],
    }  # fmt: skip
    for service in OBSERVE.values():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        assert all((ROOT / source).exists() for source, _ in mounts(service))
    volumes = [each.split(":")[0] for service in SERVICES.values() for each in service.get("volumes", ())]
    assert {name for name in volumes if "/" not in name} == set(COMPOSE["volumes"])
    assert "ports" not in SERVICES["sidecar"], "its admin port is for these containers alone"


def test_prometheus_scrapes_the_sidecar() -> None:
    (config,) = [arg for arg in OBSERVE["prometheus"]["command"] if arg.startswith("--config.file=")]
    (folder,) = [
        source for source, target in mounts(OBSERVE["prometheus"]) if config.startswith(f"--config.file={target}/")
    ]
    made = loaded(ROOT / folder / config.rpartition("/")[2])
    (target,) = (
        target for job in made["scrape_configs"] for each in job["static_configs"] for target in each["targets"]
    )
    name, _, port = target.partition(":")
    said = re.fullmatch(r"\$\{EXTPROC_ADMIN:-(.*)\}", SERVICES[name]["environment"]["EXTPROC_ADMIN"])
    assert said is not None
    admin = next(setting for setting in ALL if setting.name == "admin")
    assert admin.parse(said[1], "") == f"0.0.0.0:{port}"
    assert [(ROOT / folder / rules).resolve() for rules in made["rule_files"]] == [
        DEPLOY / "prometheus" / "alerts.yaml"
    ]
    assert ALERTS


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    (source,) = loaded(PROVISIONED / "datasources" / "prometheus.yaml")["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    # The dashboard takes whichever is the default.
    assert [each["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "datasource"] == [
        source["type"]
    ]
    (provider,) = loaded(PROVISIONED / "dashboards" / "extproc.yaml")["providers"]
    mounted = {target: source for source, target in mounts(OBSERVE["grafana"])}
    assert mounted["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"
    home = OBSERVE["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert mounted[home] == "./deploy/grafana/extproc.json"
    assert home.rpartition("/")[0] == provider["options"]["path"] and PANELS


def test_compose_takes_it() -> None:
    if not (compose := stack._compose()):
        pytest.skip("no docker compose")
    told = stack.run([*compose, "-f", str(ROOT / "docker-compose.yaml"), "--profile", "observe", "config"], seconds=60)
    assert set(yaml.safe_load(told)["services"]) == set(SERVICES)
