"""The forms in which Envoy's configuration comes, beside a bootstrap: each is read for what it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.check import check, main
from tests.check.edits import PER_ROUTE

Values = dict[str, Any]
CASE = Path(__file__).parent / "cases" / "never-enabled.yaml"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
TABLE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
ROUTE = "type.googleapis.com/envoy.config.route.v3.Route"
EXT_PROC = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
MATCHED = "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher"
COMPOSITE = "type.googleapis.com/envoy.extensions.filters.http.composite.v3"
INPUT = {
    "name": "model",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
        "header_name": "x-extproc-model",
    },
}


class Plain:
    """A translator on the listener, one route, one provider; as it stands there is nothing to find."""

    def __init__(self) -> None:
        self.config: Values = yaml.safe_load(CASE.read_text("utf-8"))
        self.static = self.config["static_resources"]
        self.listener = self.static["listeners"][0]
        self.chain = self.listener["filter_chains"][0]
        self.manager = self.chain["filters"][0]["typed_config"]
        self.filter = self.manager["http_filters"][0]
        self.table = self.manager["route_config"]
        self.host = self.table["virtual_hosts"][0]
        self.route = self.host["routes"][0]
        del self.filter["disabled"]

    def without_rewrite(self) -> Plain:
        del self.route["route"]["auto_host_rewrite"]
        return self

    def failing_open(self) -> Plain:
        self.filter["typed_config"]["failure_mode_allow"] = True
        return self

    def chosen(self) -> Values:
        """The tree that has the route chosen in place of a list."""
        (route,) = self.host.pop("routes")
        action = {"name": "route", "typed_config": {"@type": ROUTE, **route}}
        chosen = {"gpt-5": {"action": action}}
        self.host["matcher"] = {"matcher_tree": {"input": INPUT, "exact_match_map": {"map": chosen}}}
        return self.config

    def chosen_from_a_list(self) -> Values:
        (route,) = self.host.pop("routes")
        action = {"name": "routes", "typed_config": {"@type": f"{ROUTE}List", "routes": [route]}}
        self.host["matcher"] = {"on_no_match": {"action": action}}
        return self.config

    def scoped(self) -> Values:
        scope = {"name": "a", "key": {"fragments": [{"string_key": "a"}]}, "route_configuration": self.table}
        builder = {"fragments": [{"header_value_extractor": {"name": "x", "index": 0}}]}
        listed = {"scoped_route_configurations": [scope]}
        del self.manager["route_config"]
        self.manager["scoped_routes"] = {
            "name": "scopes", "scope_key_builder": builder, "scoped_route_configurations_list": listed,
        }  # fmt: skip
        return self.config

    def upon_a_condition(self, *, composite: bool) -> Values:
        inner = {"name": self.filter["name"], "typed_config": self.filter["typed_config"]}
        action: Values = {"@type": "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"}
        extension: Values = inner
        if composite:
            action = {"@type": f"{COMPOSITE}.ExecuteFilterAction", "typed_config": inner}
            extension = {"name": "composite", "typed_config": {"@type": f"{COMPOSITE}.Composite"}}
        chosen = {"gpt-5": {"action": {"name": "action", "typed_config": action}}}
        matcher = {"matcher_tree": {"input": INPUT, "exact_match_map": {"map": chosen}}}
        self.manager["http_filters"][0] = {
            "name": self.filter["name"],
            "typed_config": {"@type": MATCHED, "extension_config": extension, "xds_matcher": matcher},
        }
        return self.config

    def discovered(self) -> Values:
        source = {"config_source": {"path_config_source": {"path": "/x"}}, "type_urls": [EXT_PROC]}
        default = {**source, "default_config": self.filter["typed_config"]}
        self.manager["http_filters"][0] = {"name": self.filter["name"], "config_discovery": default}
        return self.config

    def of_listeners(self) -> Values:
        return {"resources": [{"@type": LISTENER, **self.listener}]}

    def of_clusters(self) -> Values:
        return {"resources": [{"@type": CLUSTER, **cluster} for cluster in self.static["clusters"]]}

    def of_routes(self) -> Values:
        """The table as a file; the manager asks for it by its name."""
        self.manager["rds"] = {"route_config_name": "llm", "config_source": {"path_config_source": {"path": "/x"}}}
        return {"resources": [{"@type": TABLE, **self.manager.pop("route_config"), "name": "llm"}]}


def written(*documents: Values) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False)


def codes(*documents: Values) -> list[str]:
    return [finding.code for finding in check(written(*documents))]


FORMS: dict[str, Callable[[Plain], Values]] = {
    "tree": Plain.chosen,
    "tree with a list": Plain.chosen_from_a_list,
    "scopes": Plain.scoped,
    "skipped upon a condition": lambda plain: plain.upon_a_condition(composite=False),
    "composite": lambda plain: plain.upon_a_condition(composite=True),
    "discovered": Plain.discovered,
    "default chain": lambda plain: {
        "static_resources": {
            "listeners": [{**plain.listener, "filter_chains": [], "default_filter_chain": plain.chain}],
            "clusters": plain.static["clusters"],
        }
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_bootstrap(form: str) -> None:
    assert codes(FORMS[form](Plain())) == []
    assert codes(FORMS[form](Plain().failing_open())) == ["failure-mode-allow"]
    assert codes(FORMS[form](Plain().without_rewrite())) == ["host-rewrite"]


def test_what_a_filter_upon_a_condition_does_not_work_for_is_not_judged() -> None:
    plain = Plain()
    config = plain.upon_a_condition(composite=True)
    own = {"match": {"prefix": "/web"}, "route": {"cluster": "openai"}}
    plain.host["routes"].insert(0, own)
    assert codes(config) == []


def test_files_of_resources() -> None:
    plain = Plain().failing_open()
    assert codes(plain.of_listeners()) == ["failure-mode-allow"]
    whole = {"resources": [{"name": "l", "resource": {"@type": LISTENER, **plain.listener}}]}
    assert codes(whole) == ["failure-mode-allow"]
    assert codes(Plain().of_listeners()) == codes(Plain().of_clusters()) == codes(Plain().of_routes()) == []
    wrong = Plain()
    wrong.route["metadata"]["filter_metadata"]["extproc"]["route"] = "provider: nobody\n"
    assert codes(wrong.of_routes()) == ["route"]
    with_routes = Plain().without_rewrite()
    routes = with_routes.of_routes()
    assert codes(with_routes.config, routes) == ["host-rewrite"]
    parts = Plain().without_rewrite()
    assert codes(parts.of_clusters(), parts.of_listeners()) == ["host-rewrite"]


def test_files_are_judged_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = Plain().without_rewrite()
    source = {"path_config_source": {"path": "/x"}}
    bootstrap = {"dynamic_resources": {"lds_config": source, "cds_config": source}}
    files = {"envoy.yaml": bootstrap, "lds.yaml": plain.of_listeners(), "cds.yaml": plain.of_clusters()}
    for name, values in files.items():
        (tmp_path / name).write_text(written(values), "utf-8")
    assert main([str(tmp_path / name) for name in files], "json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["code"] == "host-rewrite" and found["file"].endswith("lds.yaml")
    place = (tmp_path / "lds.yaml").read_text("utf-8").splitlines()[found["line"] - 1]
    assert place.strip() == "route:"
    # A file that stands for itself is judged by itself.
    (tmp_path / "other.yaml").write_text(written(Plain().failing_open().config), "utf-8")
    assert main([str(tmp_path / name) for name in ("other.yaml",)]) == 1


def test_a_config_map_with_the_parts() -> None:
    plain = Plain().without_rewrite()
    bootstrap = {"dynamic_resources": {"lds_config": {"path_config_source": {"path": "/x"}}}}
    parts = {"envoy.yaml": bootstrap, "lds.yaml": plain.of_listeners(), "cds.yaml": plain.of_clusters()}
    data = {name: written(values) for name, values in parts.items()}
    assert codes({"kind": "ConfigMap", "metadata": {"name": "e"}, "data": data}) == ["host-rewrite"]


def envoy_filter(*patches: tuple[str, Any]) -> Values:
    listed = [{"applyTo": where, "patch": {"operation": "ADD", "value": value}} for where, value in patches]
    return {"kind": "EnvoyFilter", "metadata": {"name": "e"}, "spec": {"configPatches": listed}}


def test_each_place_that_an_envoy_filter_patches() -> None:
    open_ = Plain().failing_open()
    network = {"name": "hcm", "typed_config": open_.manager}
    for where, value in {
        "HTTP_FILTER": open_.filter, "EXTENSION_CONFIG": open_.filter, "NETWORK_FILTER": network,
        "LISTENER": open_.listener, "FILTER_CHAIN": open_.chain,
    }.items():  # fmt: skip
        assert codes(envoy_filter((where, value))) == ["failure-mode-allow"], where
    said = {"@type": PER_ROUTE, "overrides": {"processing_mode": {"request_body_mode": "NONE"}}}
    override = {"typed_per_filter_config": {"extproc.translate": said}}
    for where in ("HTTP_ROUTE", "VIRTUAL_HOST", "ROUTE_CONFIGURATION"):
        assert codes(envoy_filter(("HTTP_FILTER", Plain().filter), (where, override))) == ["override-mode"], where
    removed = envoy_filter(("HTTP_FILTER", open_.filter))
    removed["spec"]["configPatches"][0]["patch"]["operation"] = "REMOVE"
    assert codes(removed) == []


def test_a_merge_key_is_envoys_undoing() -> None:
    text = written(Plain().config).replace("auto_host_rewrite: true", "<<: {auto_host_rewrite: true}")
    assert [finding.code for finding in check(text)] == ["merge-key"]


def test_levels_say_together_what_a_route_overrides() -> None:
    plain = Plain()
    said: Values = {"processing_mode": {"request_body_mode": "NONE"}}
    plain.host["typed_per_filter_config"] = {"extproc.translate": {"@type": PER_ROUTE, "overrides": said}}
    plain.route["typed_per_filter_config"] = {"extproc.translate": {"@type": PER_ROUTE, "overrides": {}}}
    assert codes(plain.config) == ["override-mode"]
    nearer = {"processing_mode": {"request_body_mode": "BUFFERED", "response_body_mode": "STREAMED"}}
    plain.route["typed_per_filter_config"]["extproc.translate"]["overrides"] = nearer
    assert codes(plain.config) == []


def test_a_weighted_cluster_has_its_own_word() -> None:
    plain = Plain()
    web = copy.deepcopy(plain.static["clusters"][0]) | {"name": "web"}
    plain.static["clusters"].append(web)
    text = plain.route.pop("metadata")
    plain.static["clusters"][0]["metadata"] = text
    plain.filter["typed_config"]["request_attributes"].append(
        "xds.cluster_metadata.filter_metadata['extproc']['route']"
    )
    del plain.route["route"]["cluster"]
    entries: list[Values] = [{"name": "openai", "weight": 1}, {"name": "web", "weight": 1}]
    plain.route["route"]["weighted_clusters"] = {"clusters": entries}
    assert codes(plain.config) == ["no-metadata"]
    entries[1]["typed_per_filter_config"] = {"extproc.translate": {"@type": PER_ROUTE, "disabled": True}}
    assert codes(plain.config) == []
    said = {"processing_mode": {"request_body_mode": "NONE"}}
    entries[0]["typed_per_filter_config"] = {"extproc.translate": {"@type": PER_ROUTE, "overrides": said}}
    assert codes(plain.config) == ["override-mode"]


def test_a_route_that_has_the_filter_call_somebody_else() -> None:
    plain = Plain()
    service = {"grpc_service": {"envoy_grpc": {"cluster_name": "openai"}}}
    plain.route["typed_per_filter_config"] = {"extproc.translate": {"@type": PER_ROUTE, "overrides": service}}
    assert codes(plain.config) == ["no-filter"]
    service["grpc_service"]["envoy_grpc"]["cluster_name"] = "extproc"
    assert codes(plain.config) == []
