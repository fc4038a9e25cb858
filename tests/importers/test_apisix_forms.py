from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from extproc.importers import ImportFailed, convert
from tests.support import placements

from .files import KEY, apisix, case, config_of, hosts_of, levels_of


def test_variables_of_standalone_files() -> None:
    (level,) = levels_of(config_of(case("apisix-standalone.yaml")), "1")
    assert level["auth"] == {"header": {"Authorization": "Bearer ${OPENAI_API_KEY}"}}


def test_services_with_routes_beneath() -> None:
    config = config_of(case("apisix-adc.yaml"))
    (route, _) = placements.routes(config)
    assert route["name"] == "openai-service_openai-route" and route["match"]["path"] == "/anything"


def test_what_a_route_has_from_its_service_and_its_plugin_config() -> None:
    route = {"id": "r", "uri": "/x", "service_id": "s", "plugin_config_id": "p"}
    service = {"id": "s", "hosts": ["h.test"], "plugins": {"key-auth": {}}}
    config = {"id": "p", "plugins": {"ai-proxy": {"provider": "openai", "auth": KEY}}}
    for documents in (
        [{"routes": [route], "services": [service], "plugin_configs": [config]}],
        [{"value": route}, {"value": service}, {"value": config}],
    ):
        made = apisix(*documents)
        assert hosts_of(config_of(made))[0]["domains"] == ["h.test"]
        assert any("key-auth" in note for note in made.notes)
    missing = case("apisix-service.json").notes
    assert any("service_id: svc is not in these files" in note for note in missing)
    assert any("plugin_config_id: pc is not in these files" in note for note in missing)


GATEWAY: list[Any] = [
    {"apiVersion": "apisix.apache.org/v1alpha1", "kind": "PluginConfig", "metadata": {"name": "llm", "namespace": "n"},
     "spec": {"plugins": [{"name": "ai-proxy", "config": {"provider": "openai", "auth": KEY}},
                          {"name": "cors", "enable": False, "config": {}}]}},
    {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r", "namespace": "n"},
     "spec": {"hostnames": ["llm.test"], "rules": [
         {"matches": [{"path": {"type": "Exact", "value": "/chat"}, "method": "POST"}, {"path": {"value": "/ai"}}],
          "filters": [{"type": "ExtensionRef", "extensionRef": {"kind": "PluginConfig", "name": "llm"}}]}]}},
]  # fmt: skip


def test_http_routes_of_the_ingress_controller() -> None:
    made = apisix(*GATEWAY)
    host = hosts_of(config_of(made))[0]
    matches = [{k: v for k, v in route["match"].items() if k in ("path", "prefix")} for route in host["routes"][:-1]]
    assert host["domains"] == ["llm.test"] and {"path": "/chat"} in matches and {"prefix": "/ai/"} in matches
    assert not any("cors" in note for note in made.notes), "it is switched off"
    alone = apisix({**GATEWAY[1], "spec": {"rules": GATEWAY[1]["spec"]["rules"]}}, GATEWAY[0])
    assert hosts_of(config_of(alone))[0]["domains"] == ["*"]
    with pytest.raises(ImportFailed, match="there is no PluginConfig llm in these files"):
        apisix(GATEWAY[1])


def test_apisix_routes_of_the_ingress_controller() -> None:
    rule = {
        "name": "one", "priority": 3, "match": {"paths": ["/v1/*"], "hosts": ["h"], "exprs": [
            {"subject": {"scope": "Header", "name": "X-Team"}, "op": "Equal", "value": "blue"}]},
        "plugins": [{"name": "ai-proxy", "enable": True, "config": {"provider": "openai", "auth": KEY}}],
    }  # fmt: skip
    made = apisix({"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "metadata": {"name": "a"},
                   "spec": {"http": [rule]}})  # fmt: skip
    (route, _) = placements.routes(config_of(made))
    assert route["match"] == {"prefix": "/v1/", "headers": [{"name": "x-team", "string_match": {"exact": "blue"}}]}


PLUGINS = [{"name": "ai-proxy", "config": {"provider": "openai", "auth": KEY}}]


def of_expression(**expression: Any) -> Any:
    rule = {"name": "one", "match": {"paths": ["/v1/*"], "exprs": [
        {"subject": {"scope": "Header", "name": "X-Team"}, **expression}]}, "plugins": PLUGINS}  # fmt: skip
    made = apisix({"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "metadata": {"name": "a"},
                   "spec": {"http": [rule]}})  # fmt: skip
    (route, _) = placements.routes(config_of(made))
    (header,) = route["match"]["headers"]
    return {name: value for name, value in header.items() if name not in ("name", "treat_missing_header_as_empty")}


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ({"op": "NotEqual", "value": "a"}, {"string_match": {"exact": "a"}, "invert_match": True}),
        ({"op": "In", "set": ["a", "b"]}, {"string_match": {"safe_regex": {"regex": "a|b"}}}),
        ({"op": "NotIn", "set": ["a"]}, {"string_match": {"exact": "a"}, "invert_match": True}),
        ({"op": "GreaterThan", "value": "3"}, {"range_match": {"start": 4, "end": 2**63 - 1}}),
        ({"op": "RegexNotMatch", "value": "^a"},
         {"string_match": {"safe_regex": {"regex": ".*(?:^a).*"}}, "invert_match": True}),
        ({"op": "Equal", "value": "/v1/x", "subject": {"scope": "Path"}},
         {"string_match": {"safe_regex": {"regex": r"(?:/v1/x)(?:\?.*)?"}}}),
        ({"op": "Equal", "value": "m", "subject": {"scope": "Variable", "name": "post_arg.model"}},
         {"string_match": {"exact": "m"}}),
    ],
)  # fmt: skip
def test_expressions_of_an_apisix_route(expression: Any, asked: Any) -> None:
    assert of_expression(**expression) == asked


def test_an_expression_that_nobody_understands_leaves_the_route_out() -> None:
    with pytest.raises(ImportFailed, match="is left out"):
        of_expression(op="Resembles", value="a")


def test_a_policy_of_an_http_route_narrows_it() -> None:
    meta = {**GATEWAY[1]["metadata"], "name": "q"}
    policy = {"apiVersion": "apisix.apache.org/v1alpha1", "kind": "HTTPRoutePolicy", "metadata": meta,
              "spec": {"targetRefs": [{"kind": "HTTPRoute", "name": GATEWAY[1]["metadata"]["name"]}],
                       "vars": [["http_x", "==", "1"]]}}  # fmt: skip
    for route in placements.routes(config_of(apisix(*GATEWAY, policy)))[:-1]:
        assert {"name": "x", "string_match": {"exact": "1"}} in route["match"]["headers"]


def test_a_pattern_of_an_http_route_and_a_prefix_of_adcs() -> None:
    spec = copy.deepcopy(GATEWAY[1]["spec"])
    spec["rules"][0]["matches"] = [{"path": {"type": "RegularExpression", "value": "/v1/(chat|x).*"}}]
    first = placements.routes(config_of(apisix({**GATEWAY[1], "spec": spec}, GATEWAY[0])))[0]
    assert first["match"]["safe_regex"] == {"regex": "/v1/(chat|x).*"}
    route = {"name": "r", "uris": ["/v1/*"], "plugins": {"ai-proxy": {"provider": "openai", "auth": KEY}}}
    made = apisix({"services": [{"name": "s", "path_prefix": "/llm", "routes": [route]}]})
    assert placements.routes(config_of(made))[0]["match"]["prefix"] == "/llm/v1/"


def test_older_answers_and_bare_lists() -> None:
    route = {"id": "r", "uri": "/x", "plugins": {"ai-proxy": {"provider": "openai", "auth": KEY}}}
    for given in ({"node": {"value": route}}, {"node": {"nodes": [{"value": route}]}}):
        assert len(placements.routes(config_of(apisix(given)))) == 2
    made = convert("apisix", json.dumps([route, {**route, "id": "s", "uri": "/y"}]).encode())
    assert len(placements.routes(config_of(made))) == 3
