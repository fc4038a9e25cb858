from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from extproc.check import check
from extproc.importers import ImportFailed, convert
from tests.support import placements

from .files import levels_of
from .plugins import AZURE, HEADER, imported, instance, multi, single

# ---- ai-proxy (D1-D30)


def test_a_secret_becomes_a_reference_and_that_is_said() -> None:
    _, _, level, notes = single(options={"model": "gpt-4", "temperature": 0.5})
    assert level["auth"] == {"header": {"Authorization": "Bearer ${OPENAI_API_KEY}"}}
    assert level["options"] == {"model": "gpt-4", "temperature": 0.5}
    assert any("${OPENAI_API_KEY}" in note and "auth.header.Authorization" in note for note in notes)


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ("Bearer ${MY_KEY}", "Bearer ${MY_KEY}"),
        ("Bearer $env://MY_KEY", "Bearer ${MY_KEY}"),
        ("$ENV://MY_KEY", "${MY_KEY}"),
        ("$secret://vault/1/openai/key", "${OPENAI_API_KEY}"),
    ],
)
def test_references_to_secrets(value: str, made: str) -> None:
    _, _, level, _ = single(auth={"header": {"Authorization": value}})
    assert level["auth"]["header"]["Authorization"] == made


def test_a_header_that_is_no_secret_stays() -> None:
    _, _, level, notes = single(auth={"header": {"Authorization": "Bearer sk-live-1", "x-team": "blue"}})
    assert level["auth"]["header"]["x-team"] == "blue" and not any("x-team" in note for note in notes)


def test_two_keys_of_one_provider_get_two_names() -> None:
    other = {"header": {"Authorization": "Bearer sk-live-2"}}
    _, _, levels, _ = multi(instance(), instance(auth=other), instance())
    keys = [level["auth"]["header"]["Authorization"] for level in levels]
    assert keys == ["Bearer ${OPENAI_API_KEY}", "Bearer ${OPENAI_API_KEY_2}", "Bearer ${OPENAI_API_KEY}"]


def test_what_is_ours_goes_into_the_metadata() -> None:
    override = {
        "endpoint": "https://x.example/v1/chat/completions?api-version=2",
        "llm_options": {"max_tokens": 5},
        "request_body": {"openai-chat": {"seed": 1}},
        "request_body_force_override": True,
    }
    route, cluster, level, notes = single(
        override=override, max_response_bytes=5000, logging={"summaries": True, "payloads": False}
    )
    assert level == {
        "provider": "openai",
        "auth": {"header": {"Authorization": "Bearer ${OPENAI_API_KEY}"}},
        "override": override,
        "logging": {"summaries": True, "payloads": False},
        "metadata": {"variables": "all"},
        "max_response_bytes": 5000,
    }
    assert route["route"]["auto_host_rewrite"] is False, "the sidecar names the host"
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": "x.example", "port_value": 443}
    assert len(notes) == 2 and any("--records" in note for note in map(str, notes))


def test_what_is_envoys_goes_into_its_fields() -> None:
    route, cluster, _, notes = single(
        timeout=45000, max_stream_duration_ms=90000, keepalive=False, keepalive_timeout=7000, keepalive_pool=9
    )
    action = route["route"]
    assert (action["timeout"], action["idle_timeout"], cluster["connect_timeout"]) == ("0s", "45s", "45s")
    assert action["max_stream_duration"] == {"max_stream_duration": "90s"}
    common = placements.http_options(cluster)["common_http_protocol_options"]
    assert common == {"idle_timeout": "7s", "max_requests_per_connection": 1}
    assert any("keepalive_pool" in note for note in notes)


def test_defaults_are_those_of_the_plugin() -> None:
    route, cluster, _, _ = single()
    assert route["route"]["idle_timeout"] == "30s"
    assert placements.http_options(cluster)["common_http_protocol_options"] == {"idle_timeout": "60s"}
    assert "trusted_ca" in json.dumps(cluster["transport_socket"])
    assert "retry_policy" not in route["route"]


def test_certificates_are_left_unverified_only_when_asked() -> None:
    _, cluster, _, notes = single(ssl_verify=False)
    assert "validation_context" not in json.dumps(cluster["transport_socket"])
    assert any("ssl_verify" in note for note in notes)


@pytest.mark.parametrize(
    ("plugin", "host"),
    [
        ({"provider": "deepseek"}, "api.deepseek.com"),
        ({"provider": "anthropic"}, "api.anthropic.com"),
        ({"provider": "vertex-ai", "provider_conf": {"project_id": "p", "region": "europe-west1"}},
         "europe-west1-aiplatform.googleapis.com"),
        ({"provider": "azure-openai", "override": {"endpoint": AZURE}}, "a.openai.azure.com"),
        ({"provider": "openai-compatible"}, "llm.example"),
    ],
)  # fmt: skip
@pytest.mark.rows("A19", "B34", "D1")
def test_hosts_of_providers(plugin: dict[str, Any], host: str) -> None:
    _, cluster, _, notes = single(**plugin)
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"]["address"] == endpoint["hostname"] == host
    assert any("override.endpoint" in note for note in notes) == (host == "llm.example")


def test_gcp_credentials_keep_their_settings_and_lose_their_secret() -> None:
    conf = {"project_id": "p", "region": "r"}
    auth = {"gcp": {"service_account_json": "{sk-live}", "max_ttl": 60}}
    _, _, level, notes = single(provider="vertex-ai", provider_conf=conf, auth=auth)
    assert level["auth"] == {"gcp": {"service_account_json": "${GCP_SERVICE_ACCOUNT}", "max_ttl": 60}}
    assert any("auth.gcp.service_account_json" in note for note in notes)


def test_no_credential_at_all_is_said() -> None:
    _, _, level, notes = single(auth={})
    assert level["auth"] == "none" and any("names no credential" in note for note in notes)


def test_plain_http_upstreams_get_no_tls() -> None:
    _, cluster, _, _ = single(provider="openai-compatible", override={"endpoint": "http://127.0.0.1:8000"})
    assert "transport_socket" not in cluster
    assert "explicit_http_config" in placements.http_options(cluster)


def test_a_key_in_an_endpoints_query_is_replaced() -> None:
    _, _, level, _ = single(override={"endpoint": "https://h.example/v1/x?key=sk-live-9&v=1"})
    assert level["override"]["endpoint"] == "https://h.example/v1/x?key=${OPENAI_API_KEY_2}&v=1"


# ---- the route's own


def test_matches() -> None:
    made = imported({"provider": "openai", "auth": HEADER}, uris=["/a/*", "/b"], methods=["POST", "PUT"], hosts=["h.x"],
                    vars=[["post_arg.model", "==", "openai"], ["http_x_team", "~~", "^b"], ["arg_v", "==", "1"],
                          ["post_arg.a.b", "==", "1"]])  # fmt: skip
    config = yaml.safe_load(made.yaml)
    first, second, _ = placements.routes(config)
    assert (first["match"]["prefix"], second["match"]["path"]) == ("/a/", "/b")
    assert first["match"]["headers"] == [
        {"name": ":method", "string_match": {"safe_regex": {"regex": "POST|PUT"}}},
        {"name": "x-extproc-model", "string_match": {"exact": "openai"}},
        {"name": "x-team", "string_match": {"safe_regex": {"regex": ".*(?:^b).*"}}},
    ]
    assert first["match"]["query_parameters"] == [{"name": "v", "string_match": {"exact": "1"}}]
    assert placements.manager(config)["route_config"]["virtual_hosts"][0]["domains"] == ["h.x"]
    (nested,) = first["match"]["dynamic_metadata"]
    assert nested["path"] == [{"key": "a.b"}] and nested["value"] == {"string_match": {"exact": "1"}}
    (rule,) = placements.manager(config)["http_filters"][0]["typed_config"]["request_rules"]["rules"]
    assert rule["selectors"] == [{"key": "a"}, {"key": "b"}]


@pytest.mark.parametrize("member", [{"remote_addr": "10.0.0.1"}, {"remote_addrs": ["::1"]}, {"filter_func": "f"}])
def test_what_narrows_a_route_and_cannot_be_said(member: Any) -> None:
    with pytest.raises(ImportFailed, match="without it the route would take more"):
        imported({"provider": "openai", "auth": HEADER}, **member)


def test_the_plugins_of_before() -> None:
    old = {"model": {"provider": "openai", "name": "gpt-4", "options": {"max_tokens": 9}}, "auth": HEADER}
    (level,) = levels_of(yaml.safe_load(imported(old).yaml), "r1")
    assert level["options"] == {"max_tokens": 9, "model": "gpt-4"} and level["provider"] == "openai"
    each = [{"name": name, "model": "m", "auth": HEADER} for name in ("openai", "deepseek")]
    made = convert(
        "apisix", json.dumps({"id": "r", "uri": "/x", "plugins": {"ai-proxy-multi": {"providers": each}}}).encode()
    )
    found = levels_of(yaml.safe_load(made.yaml), "r")
    assert [(level["provider"], level["options"]) for level in found] == [
        ("openai", {"model": "m"}),
        ("deepseek", {"model": "m"}),
    ]


def test_a_plugin_that_is_off_or_for_some_requests_alone() -> None:
    with pytest.raises(ImportFailed, match="has ai-proxy disabled"):
        imported({"provider": "openai", "auth": HEADER, "_meta": {"disable": True}})
    made = imported({"provider": "openai", "auth": HEADER, "_meta": {"filter": [["http_a", "==", "1"]]}})
    assert placements.routes(yaml.safe_load(made.yaml))[0]["match"]["headers"][0]["name"] == "a"


@pytest.mark.parametrize("name", ["n", "Y", "1e5", "0x1f"])
def test_names_that_yaml_may_read_as_something_else(name: str) -> None:
    made = convert("apisix", json.dumps({"id": name, "uri": "/x", "plugins": {"ai-proxy": {
        "provider": "openai", "auth": HEADER}}}).encode())  # fmt: skip
    assert f'name: "{name}"' in made.yaml


def test_an_inverted_match_of_a_members_value() -> None:
    made = imported({"provider": "openai", "auth": HEADER}, vars=[["post_arg.user.tier", "~=", "free"]])
    (match,) = placements.routes(yaml.safe_load(made.yaml))[0]["match"]["dynamic_metadata"]
    assert match["invert"] and match["value"] == {"string_match": {"exact": "free"}}


def test_two_routes_of_a_list_pick_by_the_models_name() -> None:
    """Row E7, as the Admin API lists it."""
    routes = [
        {"value": {"id": name, "uri": "/anything", "vars": [["post_arg.model", "==", name]],
                   "plugins": {"ai-proxy": {"provider": name, "auth": HEADER, "options": {"model": model}}}}}
        for name, model in (("openai", "gpt-4"), ("deepseek", "deepseek-chat"))
    ]  # fmt: skip
    made = convert("apisix", json.dumps({"total": 2, "list": routes}).encode())
    config = yaml.safe_load(made.yaml)
    assert [route["name"] for route in placements.routes(config)] == ["openai", "deepseek", "no_such_model"]
    assert check(made.yaml) == []


def test_what_has_no_equivalent_is_listed() -> None:
    made = imported({"provider": "openai", "auth": HEADER, "colour": "red"}, service_id="s", upstream={"nodes": {}},
                    priority=3)  # fmt: skip
    text = "\n".join(made.notes)
    assert all(word in text for word in ("plugins.ai-proxy.colour", "service_id", "upstream"))
    assert all(note in made.yaml for note in made.notes)


@pytest.mark.rows("E8", "D32")
def test_loggers_are_settings_of_the_sidecars() -> None:
    kafka = {
        "brokers": [{"host": "127.0.0.1", "port": 9092}],
        "kafka_topic": "test2",
        "key": "key1",
        "batch_max_size": 1,
    }
    plugins = {
        "ai-proxy": {"provider": "openai", "auth": HEADER},
        "kafka-logger": kafka,
        "http-logger": {"uri": "http://x"},
    }
    notes = "\n".join(convert("apisix", json.dumps({"id": "r", "uri": "/", "plugins": plugins}).encode()).notes)
    assert "plugins.kafka-logger: set the sidecar's --records-kafka" in notes and "--records-http" in notes


def test_other_plugins_are_named_with_what_does_it_here() -> None:
    document = {"id": "r", "uri": "/", "plugins": {"ai-proxy": {"provider": "openai", "auth": HEADER}, "key-auth": {},
                                                   "fault-injection": {}}}  # fmt: skip
    notes = convert("apisix", json.dumps(document).encode()).notes
    assert any("key-auth" in note and "api_key_auth" in note for note in notes)
    assert any("fault-injection" in note and "left out" in note for note in notes)


# ---- ai-proxy-multi


def test_priority_is_turned_round_and_has_no_gaps() -> None:
    _, cluster, levels, _ = multi(
        instance("deepseek", priority=1), instance("openai", priority=10, weight=8), instance("aimlapi", priority=10)
    )
    places = cluster["load_assignment"]["endpoints"]
    assert [place["priority"] for place in places] == [0, 1]
    assert [level["provider"] for level in levels] == ["openai", "aimlapi", "deepseek"]
    assert places[0]["lb_endpoints"][0]["load_balancing_weight"] == 8


@pytest.mark.parametrize("member", [{"uri": "${{U}}"}, {"host": "${{H}}"}, {"hosts": ["a.x", "${{H}}"]}])
def test_what_chooses_a_route_must_be_known(member: Any) -> None:
    with pytest.raises(ImportFailed, match="stands in the environment"):
        imported({"provider": "openai", "auth": HEADER}, **member)
