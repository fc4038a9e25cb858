"""Files of users, each imported whole: what comes out, and what is said."""

from __future__ import annotations

import copy

import pytest
import yaml

from extproc.check import check
from extproc.importers import ImportFailed, convert
from tests.support import placements

from .files import CASES, KEY, apisix, case, config_of, hosts_of, level_of, levels_of

WHOLE = sorted(path.name for path in CASES.iterdir() if "local" not in path.name)


@pytest.mark.parametrize("name", WHOLE)
def test_it_is_read(name: str) -> None:
    made = case(name)
    assert "sk-live" not in made.yaml and "${{" not in made.yaml


def test_routes_stand_as_apisix_asks_them() -> None:
    names = [route["name"] for route in placements.routes(config_of(case("apisix-order.json")))]
    assert names == ["narrow", "wide", "no_such_model"]
    plugins = {"ai-proxy": {"provider": "openai", "auth": KEY}}
    listed = [{"id": str(n), "uri": uri, "priority": priority, "plugins": plugins}
              for n, (uri, priority) in enumerate([("/a", 0), ("/a/*", 0), ("/a/b/*", 0), ("/z/*", 5)])]  # fmt: skip
    names = [route["name"] for route in placements.routes(config_of(apisix({"routes": listed})))]
    assert names == ["3", "0", "2", "1", "no_such_model"]


@pytest.mark.rows("E7")
def test_a_nested_member_of_the_body_picks_the_route() -> None:
    config = config_of(case("apisix-nested.json"))
    first = placements.manager(config)["http_filters"][0]
    assert first["name"] == "envoy.filters.http.json_to_metadata"
    matches = [route["match"].get("dynamic_metadata") for route in placements.routes(config)]
    assert [match and match[0]["value"]["string_match"]["exact"] for match in matches] == ["openai", "deepseek", None]


def test_the_attributes_of_3_18() -> None:
    made = case("apisix-318.json")
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
    made = case("apisix-bedrock.json")
    (level,) = levels_of(config_of(made), "ai-proxy-route")
    assert level["provider"] == "bedrock" and level["provider_conf"] == {"region": "us-east-1"}


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
    level = level_of(config, route)
    (name,) = level["metadata"]["costs"]
    assert level["metadata"]["costs"] == {name: count}
    # Not in the route's own rate_limits: there Envoy ignores hits_addend (tests/examples/test_token_limits.py).
    assert "rate_limits" not in route["route"]
    asks, tells = route["typed_per_filter_config"]["envoy.filters.http.ratelimit"]["rate_limits"]
    assert (
        tells["apply_on_stream_done"]
        and tells["hits_addend"]["format"] == f"%DYNAMIC_METADATA(io.envoy.ai_gateway:{name})%"
    )
    assert asks["hits_addend"] == {"number": 0} and asks["actions"] == tells["actions"]
    allowed = placements.manager(config)["http_filters"][0]["typed_config"]
    assert "io.envoy.ai_gateway" in allowed["metadata_options"]["receiving_namespaces"]["untyped"]
    assert check(made.yaml) == []


# ---- Envoy AI Gateway


def test_tls_of_a_backend_azures_path_costs_and_models() -> None:
    made = case("aigw-backend-tls.yaml")
    config = config_of(made)
    clusters = placements.clusters(config)
    for name in ("r", "r_2"):
        tls = clusters[name]["transport_socket"]["typed_config"]
        assert tls["auto_host_sni"] and tls["common_tls_context"]["validation_context"]["trusted_ca"]
    (azure,) = levels_of(config, "r_2")
    assert azure["provider_conf"] == {"api_version": "2025-01-01-preview"}
    assert azure["override"] == {"endpoint": "https://my.openai.azure.com"}, "no path: it is made of the model"
    level = level_of(config, placements.routes(config)[0])
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
