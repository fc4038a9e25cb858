from __future__ import annotations

from typing import Any

import pytest

from tests.support import placements

from .files import KEY, apisix, case, config_of
from .plugins import instance, multi


@pytest.mark.parametrize(
    ("strategy", "codes"),
    [
        (["http_429"], [429]),
        ("http_5xx", [500, 502, 503, 504, 529]),
        (["http_429", "http_5xx", "rate_limiting"], [429, 500, 502, 503, 504, 529]),
    ],
)
def test_fallback(strategy: Any, codes: list[int]) -> None:
    route, _, _, notes = multi(instance(priority=1), instance("deepseek"), fallback_strategy=strategy)
    policy = route["route"]["retry_policy"]
    assert (policy["num_retries"], policy["retriable_status_codes"]) == (1, codes)
    assert policy["retry_priority"]["name"] == "envoy.retry_priorities.previous_priorities"
    assert any("rate_limiting" in note for note in notes) == ("rate_limiting" in strategy)


def test_without_a_strategy_there_is_no_second_attempt() -> None:
    route, _, _, _ = multi(instance(priority=1), instance("deepseek"))
    assert "retry_policy" not in route["route"]


@pytest.mark.parametrize(
    ("balancer", "policy"),
    [
        ({"hash_on": "header", "key": "x-user"}, {"header": {"header_name": "x-user"}}),
        ({"hash_on": "cookie", "key": "sid"}, {"cookie": {"name": "sid"}}),
        ({"hash_on": "vars", "key": "remote_addr"}, {"connection_properties": {"source_ip": True}}),
        ({"hash_on": "vars", "key": "arg_u"}, {"query_parameter": {"name": "u"}}),
        ({"hash_on": "vars", "key": "http_x_u"}, {"header": {"header_name": "x-u"}}),
        ({"hash_on": "consumer"}, None),
    ],
)
def test_consistent_hashing(balancer: dict[str, Any], policy: dict[str, Any] | None) -> None:
    route, cluster, _, notes = multi(instance(), instance("deepseek"), balancer={"algorithm": "chash", **balancer})
    assert cluster["lb_policy"] == "RING_HASH"
    assert route["route"].get("hash_policy") == ([policy] if policy else None)
    assert any("hash_on" in note for note in notes) == (policy is None)


def test_health_checks() -> None:
    active = {
        "type": "https", "host": "probe.example", "port": 8443, "http_path": "/health", "timeout": 2, "concurrency": 3,
        "req_headers": ["x-a: b"],
        "healthy": {"interval": 2, "successes": 1, "http_statuses": [200, 204]},
        "unhealthy": {"interval": 1, "http_failures": 3},
    }  # fmt: skip
    passive = {"unhealthy": {"http_failures": 4}}
    _, cluster, _, notes = multi(instance(checks={"active": active, "passive": passive}), instance("deepseek"))
    assert cluster["health_checks"] == [
        {
            "timeout": "2s", "interval": "2s", "unhealthy_interval": "1s", "healthy_threshold": 1,
            "unhealthy_threshold": 3,
            "http_health_check": {
                "path": "/health", "expected_statuses": [{"start": 200, "end": 201}, {"start": 204, "end": 205}],
                "request_headers_to_add": [
                        {"header": {"key": "x-a", "value": "b"}},
                        {"header": {"key": "Authorization", "value": "Bearer %ENVIRONMENT(OPENAI_API_KEY)%"}},
                    ],
            },
        }
    ]  # fmt: skip
    assert cluster["outlier_detection"]["consecutive_5xx"] == 4
    ends = [end["endpoint"] for end in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]]
    assert [end["health_check_config"] for end in ends] == [
        {"hostname": "probe.example", "port_value": 8443}, {"disable_active_health_check": True}
    ]  # fmt: skip
    assert any("checks.active.concurrency" in note for note in notes)


def test_http_and_https_instances_side_by_side() -> None:
    local = instance("openai-compatible", override={"endpoint": "http://127.0.0.1:8000"})
    _, cluster, _, _ = multi(instance(), local)
    assert [match["name"] for match in cluster["transport_socket_matches"]] == ["plain", "tls"]


def test_a_retry_goes_to_another_instance() -> None:
    policy = placements.routes(config_of(case("apisix-fallback-same-priority.json")))[0]["route"]["retry_policy"]
    assert [item["name"] for item in policy["retry_host_predicate"]] == ["envoy.retry_host_predicates.previous_hosts"]
    assert policy["host_selection_retry_max_attempts"] >= 20 and "retry_priority" not in policy
    assert policy["retriable_status_codes"] == [500, 502, 503, 504, 529]


@pytest.mark.rows("B20", "B21")
def test_a_probe_carries_the_credential() -> None:
    made = case("apisix-checks.json")
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


def test_what_a_probe_bears_of_its_own() -> None:
    """A key in it goes where Envoy looks it up, and none is borne twice."""
    lines = ["User-Agent: probe", "Authorization: Bearer sk-live-9"]
    checks = {"active": {"http_path": "/h", "req_headers": lines}}
    _, cluster, _, notes = multi(instance(), instance(provider="deepseek"), checks=checks)
    (check,) = cluster["health_checks"]
    added = [item["header"] for item in check["http_health_check"]["request_headers_to_add"]]
    assert added == [
        {"key": "User-Agent", "value": "probe"},
        {"key": "Authorization", "value": "Bearer %ENVIRONMENT(PROBE_API_KEY)%"},
    ]
    assert any("Envoy's environment" in note for note in notes)
