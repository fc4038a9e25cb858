from __future__ import annotations

import yaml

from extproc.check import check
from extproc.check.topology import configurations
from extproc.check.tree import documents
from extproc.reference.config import REFERENCE

WRONG = REFERENCE.read_text("utf-8").replace("failure_mode_allow: false", "failure_mode_allow: true", 1)


def test_a_config_map_that_holds_a_bootstrap() -> None:
    indented = "".join(f"    {line}\n" if line else "\n" for line in WRONG.splitlines())
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: e}}\ndata:\n  other: x\n  envoy.yaml: |\n{indented}"
    (found,) = check(text)
    assert found.code == "failure-mode-allow"
    assert "failure_mode_allow: true" in text.splitlines()[found.line - 1]
    listed = yaml.safe_dump({"kind": "List", "items": [yaml.safe_load(text)]})
    assert [finding.code for finding in check(listed)] == ["failure-mode-allow"]


def test_an_envoy_filter_of_istio() -> None:
    manager = yaml.safe_load(WRONG)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0][
        "typed_config"
    ]
    sidecar = yaml.safe_load(WRONG)["static_resources"]["clusters"][-1]
    del sidecar["circuit_breakers"]
    route = {"metadata": {"filter_metadata": {"extproc": {"route": "provider: nobody\n"}}}}
    translate = {**manager["http_filters"][0]["typed_config"], "failure_mode_allow": True}
    translate["grpc_service"] = {"envoy_grpc": {"cluster_name": "extproc"}}
    patches = [
        {"applyTo": "HTTP_FILTER", "patch": {"value": {"name": "f", "typed_config": translate}}},
        {"applyTo": "CLUSTER", "patch": {"operation": "ADD", "value": sidecar}},
        {"applyTo": "HTTP_ROUTE", "patch": {"operation": "MERGE", "value": route}},
    ]  # fmt: skip
    text = yaml.safe_dump({"kind": "EnvoyFilter", "metadata": {"name": "e"}, "spec": {"configPatches": patches}})
    found = {finding.code: finding for finding in check(text)}
    assert set(found) == {"failure-mode-allow", "sidecar-breakers", "route"}, list(map(str, found.values()))
    assert "nobody" in text.splitlines()[found["route"].line - 1]


def test_what_hangs_together() -> None:
    (config,) = configurations(documents(REFERENCE.read_text("utf-8")))
    listener = [item for item in config.filters if item.placement == "listener"]
    upstream = [item for item in config.filters if item.placement == "upstream"]
    assert [item.role for item in listener] == ["router"] and {item.role for item in upstream} == {"translator"}
    assert set(config.sidecars) == {"extproc"}
    served = [route for route in config.routes if config.is_served(route)]
    assert served and all(config.leads_somewhere(route) for route in served)
    for route in served:
        for cluster in config.reached(route):
            assert route in config.routes_to(cluster)


def test_who_calls_another_service_is_not_ours() -> None:
    text = REFERENCE.read_text("utf-8").replace("cluster_name: extproc", "cluster_name: other")
    text = text.replace("filter_metadata", "other_metadata").replace("x-extproc-role", "x-other")
    for config in configurations(documents(text.replace("['extproc']", "['other']"))):
        assert config.sidecars.keys() <= {"other"} and not any(item.role == "router" for item in config.filters)
