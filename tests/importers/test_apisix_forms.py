from __future__ import annotations

from typing import Any

import pytest

from extproc.importers import ImportFailed
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
