"""Files of users, each imported whole: what comes out, and what is said."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.check import check
from extproc.importers import Imported, ImportFailed, convert
from extproc.reference.config import copy_all
from tests.support import placements

CASES = Path(__file__).parent / "cases"
KEY = {"header": {"Authorization": "Bearer sk-live-1"}}


def source(name: str) -> str:
    return name.partition("-")[0]


def imported(name: str) -> Imported:
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


WHOLE = sorted(path.name for path in CASES.iterdir() if "local" not in path.name)


@pytest.mark.parametrize("name", WHOLE)
def test_it_is_read(name: str) -> None:
    made = imported(name)
    assert "sk-live" not in made.yaml and "${{" not in made.yaml


def test_a_retry_goes_to_another_instance() -> None:
    policy = placements.routes(config_of(imported("apisix-fallback-same-priority.json")))[0]["route"]["retry_policy"]
    assert [item["name"] for item in policy["retry_host_predicate"]] == ["envoy.retry_host_predicates.previous_hosts"]
    assert policy["host_selection_retry_max_attempts"] >= 20 and "retry_priority" not in policy
    assert policy["retriable_status_codes"] == [500, 502, 503, 504, 529]


@pytest.mark.rows("B20", "B21")
def test_a_probe_carries_the_credential() -> None:
    made = imported("apisix-checks.json")
    (probe,) = placements.clusters(config_of(made))["m"]["health_checks"]
    assert probe["http_health_check"]["request_headers_to_add"] == [
        {"header": {"key": "Authorization", "value": "Bearer %ENVIRONMENT(OPENAI_API_KEY)%"}}
    ]
    assert any("OPENAI_API_KEY must be in Envoy's environment" in note for note in made.notes)


CHECK = {"active": {"type": "https", "http_path": "/v1/models"}}


@pytest.mark.rows("B20", "B22")
@pytest.mark.parametrize(
    ("instances", "said"),
    [
        ([{"auth": {"query": {"key": "sk-live-1"}}, "checks": CHECK}], "cannot carry auth.query"),
        ([{"provider": "bedrock", "provider_conf": {"region": "us-east-1"}, "checks": CHECK,
           "auth": {"aws": {"access_key_id": "a", "secret_access_key": "b"}}}], "cannot carry auth.aws"),
        ([{"auth": KEY, "checks": CHECK}, {"provider": "deepseek", "checks": CHECK,
                                           "auth": {"header": {"Authorization": "Bearer sk-live-2"}}}],
         "one credential for all endpoints"),
    ],
)  # fmt: skip
def test_a_probe_that_cannot_carry_it_is_left_out(instances: list[dict[str, Any]], said: str) -> None:
    listed = [{"name": str(i), "provider": "openai", "weight": 1, **item} for i, item in enumerate(instances)]
    made = apisix({"id": "m", "uri": "/x", "plugins": {"ai-proxy-multi": {"instances": listed}}})
    assert "health_checks" not in placements.clusters(config_of(made))["m"]
    assert any(said in note and "left out" in note for note in made.notes), made.notes
    assert "sk-live" not in made.yaml


def test_routes_stand_as_apisix_asks_them() -> None:
    names = [route["name"] for route in placements.routes(config_of(imported("apisix-order.json")))]
    assert names == ["narrow", "wide", "no_such_model"]
    plugins = {"ai-proxy": {"provider": "openai", "auth": KEY}}
    listed = [{"id": str(n), "uri": uri, "priority": priority, "plugins": plugins}
              for n, (uri, priority) in enumerate([("/a", 0), ("/a/*", 0), ("/a/b/*", 0), ("/z/*", 5)])]  # fmt: skip
    names = [route["name"] for route in placements.routes(config_of(apisix({"routes": listed})))]
    assert names == ["3", "0", "2", "1", "no_such_model"]


@pytest.mark.rows("E7")
def test_a_nested_member_of_the_body_picks_the_route() -> None:
    config = config_of(imported("apisix-nested.json"))
    first = placements.manager(config)["http_filters"][0]
    assert first["name"] == "envoy.filters.http.json_to_metadata"
    matches = [route["match"].get("dynamic_metadata") for route in placements.routes(config)]
    assert [match and match[0]["value"]["string_match"]["exact"] for match in matches] == ["openai", "deepseek", None]


def test_a_domain_stands_in_one_virtual_host() -> None:
    hosts = hosts_of(config_of(imported("apisix-hosts.json")))
    found = {domain: [route["name"] for route in host["routes"]] for host in hosts for domain in host["domains"]}
    assert found == {"a.test": ["one", "two", "no_such_model"], "b.test": ["one", "no_such_model"]}


def test_a_route_for_any_host_serves_those_that_are_named_too() -> None:
    plugins = {"ai-proxy": {"provider": "openai", "auth": KEY}}
    listed = [
        {"id": "all", "uri": "/x", "plugins": plugins},
        {"id": "own", "uri": "/y", "host": "h", "plugins": plugins},
    ]
    hosts = hosts_of(config_of(apisix({"routes": listed})))
    assert [(host["domains"], [route["name"] for route in host["routes"]][:-1]) for host in hosts] == [
        (["h"], ["own", "all"]), (["*"], ["all"])
    ]  # fmt: skip


def test_names_are_told_apart() -> None:
    plugins = {"ai-proxy": {"provider": "openai", "auth": KEY}}
    listed = [{"id": str(n), "name": "chat", "uri": f"/{n}", "plugins": plugins} for n in range(3)]
    config = config_of(apisix({"routes": listed}))
    assert [route["name"] for route in placements.routes(config)][:-1] == ["chat", "chat_2", "chat_3"]
    assert len(placements.clusters(config)) == 4


def test_the_attributes_of_3_18() -> None:
    made = imported("apisix-318.json")
    config = config_of(made)
    policy = placements.routes(config)[0]["route"]["retry_policy"]
    assert policy["retriable_status_codes"] == [403, 408, 500, 502, 503, 504, 529] and policy["num_retries"] == 1
    (probe,) = placements.clusters(config)["m"]["health_checks"]
    assert probe["unhealthy_threshold"] == 2
    text = "\n".join(made.notes)
    for word in ("retry_on_failure_within_ms", "streaming_flush_interval_ms", "timeout: is more", "http_statuses"):
        assert word in text


def test_max_retries_alone_is_no_fallback() -> None:
    plugin = {"max_retries": 3, "instances": [{"name": "a", "provider": "openai", "weight": 1, "auth": KEY}]}
    made = apisix({"id": "m", "uri": "/x", "plugins": {"ai-proxy-multi": plugin}})
    assert "retry_policy" not in placements.routes(config_of(made))[0]["route"]


def test_weight_0_is_no_traffic() -> None:
    listed = [{"name": n, "provider": p, "weight": w, "auth": KEY} for n, p, w in
              (("a", "openai", 0), ("b", "deepseek", 3))]  # fmt: skip
    made = apisix({"id": "m", "uri": "/x", "plugins": {"ai-proxy-multi": {"instances": listed}}})
    assert [level["provider"] for level in levels_of(config_of(made), "m")] == ["deepseek"]
    assert any("weight 0 means no traffic: a is left out" in note for note in made.notes)


def test_two_keys_at_one_address_do_not_fall_together() -> None:
    """Envoy keeps one endpoint of an address in each priority."""
    auths = {name: {"header": {"Authorization": f"Bearer sk-live-{name}"}} for name in "abc"}
    listed = [{"name": name, "provider": "openai", "weight": 1, "auth": auth} for name, auth in auths.items()]
    made = apisix({"id": "m", "uri": "/x", "plugins": {"ai-proxy-multi": {"instances": listed}}})
    places = placements.clusters(config_of(made))["m"]["load_assignment"]["endpoints"]
    assert [(place["priority"], len(place["lb_endpoints"])) for place in places] == [(0, 1), (1, 1), (2, 1)]


def test_a_route_that_is_off_stays_out() -> None:
    plugins = {"ai-proxy": {"provider": "openai", "auth": KEY}}
    listed = [{"id": "on", "uri": "/a", "plugins": plugins, "status": 1}, {"id": "off", "uri": "/b", "status": 0,
                                                                           "plugins": plugins}]  # fmt: skip
    made = apisix({"routes": listed})
    assert [route["name"] for route in placements.routes(config_of(made))][:-1] == ["on"]
    assert "off: has status 0, and is left out" in made.notes


def test_bedrock_is_said() -> None:
    made = imported("apisix-bedrock.json")
    (level,) = levels_of(config_of(made), "ai-proxy-route")
    assert level["provider"] == "bedrock" and level["provider_conf"] == {"region": "us-east-1"}


def test_variables_of_standalone_files() -> None:
    (level,) = levels_of(config_of(imported("apisix-standalone.yaml")), "1")
    assert level["auth"] == {"header": {"Authorization": "Bearer ${OPENAI_API_KEY}"}}


def test_services_with_routes_beneath() -> None:
    config = config_of(imported("apisix-adc.yaml"))
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
    missing = imported("apisix-service.json").notes
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


@pytest.mark.parametrize(
    ("strategy", "count"),
    [(None, "total_tokens"), ("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")],
)
def test_token_limits(strategy: str | None, count: str) -> None:
    limits = {"limit": 500, "time_window": 60, **({"limit_strategy": strategy} if strategy else {})}
    made = apisix({"id": "m", "uri": "/x", "plugins": {
        "ai-proxy": {"provider": "openai", "auth": KEY}, "ai-rate-limiting": limits}})  # fmt: skip
    config = config_of(made)
    route = placements.routes(config)[0]
    level = yaml.safe_load(route["metadata"]["filter_metadata"]["extproc"]["route"])
    (name,) = level["metadata"]["costs"]
    assert level["metadata"]["costs"] == {name: count}
    asks, tells = route["route"]["rate_limits"]
    assert (
        tells["apply_on_stream_done"]
        and tells["hits_addend"]["format"] == f"%DYNAMIC_METADATA(io.envoy.ai_gateway:{name})%"
    )
    assert asks["hits_addend"] == {"number": 0} and asks["actions"] == tells["actions"]
    allowed = placements.http_options(placements.clusters(config)["m"])["http_filters"][0]["typed_config"]
    assert "io.envoy.ai_gateway" in allowed["metadata_options"]["receiving_namespaces"]["untyped"]
    assert check(made.yaml) == []


# ---- Envoy AI Gateway


def test_tls_of_a_backend_azures_path_costs_and_models() -> None:
    made = imported("aigw-backend-tls.yaml")
    config = config_of(made)
    clusters = placements.clusters(config)
    for name in ("r", "r_2"):
        tls = clusters[name]["transport_socket"]["typed_config"]
        assert tls["auto_host_sni"] and tls["common_tls_context"]["validation_context"]["trusted_ca"]
    (azure,) = levels_of(config, "r_2")
    assert azure["provider_conf"] == {"api_version": "2025-01-01-preview"}
    assert azure["override"] == {"endpoint": "https://my.openai.azure.com"}, "no path: it is made of the model"
    level = yaml.safe_load(placements.routes(config)[0]["metadata"]["filter_metadata"]["extproc"]["route"])
    assert level["metadata"]["costs"] == {"llm_total_token": "total_tokens", "llm_input_token": "input_tokens"}
    models = yaml.safe_load(hosts_of(config)[0]["metadata"]["filter_metadata"]["extproc"]["models"])
    assert set(models) == {"gpt-4o", "gpt-4o-mini", "gpt-4.1", "text-embedding-3-large"}
    assert check(made.yaml) == []


def test_the_name_of_what_is_missing_and_several_files() -> None:
    local = (CASES / "aigw-anthropic-openai-local.yaml").read_bytes()
    with pytest.raises(ImportFailed, match="there is no Backend default/envoy-ai-gateway-basic-openai"):
        convert("aigw", local)
    place = {"endpoints": [{"ip": {"address": "10.0.0.7", "port": 8000}}]}
    other = {"kind": "Backend", "metadata": {"name": "envoy-ai-gateway-basic-openai"}, "spec": place}
    made = convert("aigw", local, yaml.safe_dump(other).encode())
    (level,) = levels_of(config_of(made), "envoy-ai-gateway-basic-anthropic-openai")
    assert level["override"] == {"endpoint": "http://10.0.0.7:8000"}


def test_two_namespaces_and_overlapping_hosts() -> None:
    documents = list(yaml.safe_load_all((CASES / "aigw-backend-tls.yaml").read_text("utf-8")))
    others = copy.deepcopy(documents)
    for item in others:
        item["metadata"]["namespace"] = "other"
    documents[0]["spec"]["hostnames"] = ["a.test", "b.test"]
    others[0]["spec"]["hostnames"] = ["b.test"]
    made = convert("aigw", yaml.safe_dump_all([*documents, *others]).encode())
    config = config_of(made)
    found = {
        domain: [r["name"] for r in host["routes"]][:-1] for host in hosts_of(config) for domain in host["domains"]
    }
    assert found["a.test"] != found["b.test"] and set(found["a.test"]) < set(found["b.test"])
    assert len(placements.clusters(config)) == 5
    assert not [finding for finding in check(made.yaml) if finding.severity == "error"]


def test_the_name_that_tls_asks_for() -> None:
    documents = list(yaml.safe_load_all((CASES / "aigw-backend-tls.yaml").read_text("utf-8")))
    backend = next(item for item in documents if item["kind"] == "Backend")
    backend["spec"] = {"endpoints": [{"ip": {"address": "10.0.0.7", "port": 443}}], "tls": {"sni": "llm.internal"}}
    config = config_of(convert("aigw", yaml.safe_dump_all(documents).encode()))
    end = placements.clusters(config)["r"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert (end["hostname"], end["address"]["socket_address"]["address"]) == ("llm.internal", "10.0.0.7")


# ---- hostile input


@pytest.mark.parametrize("kind", ["apisix", "aigw"])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "a: " + "{a: " * 900 + "1" + "}" * 900,
        "a: !!python/object:os.system x",
        "a: 2024-13-45",
        "x0: &x0 [1]\n" + "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]\n" for i in range(1, 20)),
        "a: &a {b: *a}",
        json.dumps({"routes": 3}),
        json.dumps({"list": [1, None]}),
        json.dumps({"services": [{"routes": "x"}]}),
    ],
    ids=range(9),
)
def test_odd_input_is_an_error_of_one_line(kind: str, text: str) -> None:
    with pytest.raises(ImportFailed) as caught:
        convert(kind, text.encode())
    assert "\n" not in str(caught.value)
