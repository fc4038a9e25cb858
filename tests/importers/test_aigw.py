from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.check import check
from extproc.cli import main
from extproc.importers import Imported, ImportFailed, convert
from extproc.importers.aigw import duration
from extproc.reference.config import copy_all
from tests.support import placements

from .files import levels_of

GROUP = "aigateway.envoyproxy.io/v1beta1"


def manifest(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def backend(name: str, host: str, port: int = 443, schema: dict[str, Any] | None = None, **spec: Any) -> list[Any]:
    """An AIServiceBackend with its Backend, and TLS where the port says so."""
    place = {"ip": {"address": host, "port": port}} if host[0].isdigit() else {"fqdn": {"hostname": host, "port": port}}
    made = [
        manifest("AIServiceBackend", name, schema=schema or {"name": "OpenAI"}, backendRef={"name": name}, **spec),
        manifest("Backend", name, endpoints=[place]),
    ]
    if port == 443:
        aim = [{"kind": "Backend", "name": name}]
        made.append(manifest("BackendTLSPolicy", f"{name}-tls", targetRefs=aim, validation={"hostname": host}))
    return made


def policy(name: str, target: str, kind: str = "APIKey", **spec: Any) -> dict[str, Any]:
    aim = [{"group": "aigateway.envoyproxy.io", "kind": "AIServiceBackend", "name": target}]
    return manifest("BackendSecurityPolicy", name, targetRefs=aim, type=kind, **spec)


def rule(*backends: Any, model: str = "m-1", **members: Any) -> dict[str, Any]:
    refs = [{"name": item} if isinstance(item, str) else item for item in backends]
    header = {"type": "Exact", "name": "x-ai-eg-model", "value": model}
    return {"matches": [{"headers": [header]}], "backendRefs": refs, **members}


def imported(*documents: Any, clean: bool = True) -> Imported:
    made = convert("aigw", yaml.safe_dump_all(documents).encode())
    assert not clean or not [item for item in check(made.yaml) if item.severity == "error"], made.yaml
    return made


def level_of(*documents: Any) -> dict[str, Any]:
    config = copy_all(yaml.safe_load(imported(*documents).yaml))
    return levels_of(config, placements.routes(config)[0]["route"]["cluster"])[0]


ROUTE = manifest("AIGatewayRoute", "r", rules=[rule("b")])


def test_anthropic_with_its_key() -> None:
    key = policy("k", "b", "AnthropicAPIKey", anthropicAPIKey={"secretRef": {"name": "my-anthropic-key"}})
    documents = (ROUTE, *backend("b", "api.anthropic.com", schema={"name": "Anthropic"}), key)
    assert level_of(*documents) == {"provider": "anthropic", "auth": {"header": {"x-api-key": "${MY_ANTHROPIC_KEY}"}}}
    made = imported(*documents)
    (route, _) = placements.routes(yaml.safe_load(made.yaml))
    assert route["match"] == {
        "prefix": "/", "headers": [{"name": "x-extproc-route", "string_match": {"exact": "r"}}]
    }  # fmt: skip
    assert any("Secret my-anthropic-key" in note and "${MY_ANTHROPIC_KEY}" in note for note in made.notes)
    assert check(made.yaml) == []


@pytest.mark.rows("F12")
def test_a_local_server_for_anthropic_clients() -> None:
    """Row F12: vLLM behind an Anthropic interface needs nothing but its address."""
    level = level_of(ROUTE, *backend("b", "127.0.0.1", 8000))
    assert level == {
        "provider": "openai-compatible", "override": {"endpoint": "http://127.0.0.1:8000"}, "auth": "none"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("host", "schema", "provider", "endpoint"),
    [
        ("api.openai.com", {"name": "OpenAI"}, "openai", None),
        ("api.openai.com", {"name": "OpenAI", "prefix": "/v1"}, "openai", None),
        ("generativelanguage.googleapis.com", {"name": "OpenAI", "prefix": "/v1beta/openai"}, "gemini",
         "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions"),
        ("api.cohere.ai", {"name": "OpenAI", "prefix": "compatibility/v1"}, "openai-compatible",
         "https://api.cohere.ai/compatibility/v1/chat/completions"),
        ("api.deepseek.com", {"name": "OpenAI", "prefix": ""}, "deepseek",
         "https://api.deepseek.com/chat/completions"),
        ("a.openai.azure.com", {"name": "AzureOpenAI", "version": "2025-01-01-preview"}, "azure-openai",
         "https://a.openai.azure.com"),
    ],
)  # fmt: skip
def test_schemas(host: str, schema: dict[str, Any], provider: str, endpoint: str | None) -> None:
    level = level_of(ROUTE, *backend("b", host, schema=schema))
    assert level["provider"] == provider
    assert level.get("override", {}).get("endpoint") == endpoint


@pytest.mark.parametrize(
    ("kind", "member", "header"),
    [("APIKey", "apiKey", "Authorization: Bearer ${THE_KEY}"), ("AzureAPIKey", "azureAPIKey", "api-key: ${THE_KEY}")],
)
def test_keys(kind: str, member: str, header: str) -> None:
    key = policy("k", "b", kind, **{member: {"secretRef": {"name": "the-key"}}})
    level = level_of(ROUTE, *backend("b", "api.openai.com"), key)
    assert [f"{k}: {v}" for k, v in level["auth"]["header"].items()] == [header]


def test_vertex_is_left_to_envoys_own_credentials() -> None:
    gcp = policy("k", "b", "GCPCredentials", gcpCredentials={"projectName": "p", "region": "us-east1"})
    documents = (ROUTE, *backend("b", "us-east1-aiplatform.googleapis.com", schema={"name": "GCPVertexAI"}), gcp)
    assert level_of(*documents) == {
        "provider": "vertex-ai", "provider_conf": {"project_id": "p", "region": "us-east1"}, "upstream": "gemini",
        "auth": "none",
    }  # fmt: skip
    assert any("gcp_authn" in note for note in imported(*documents).notes)


def test_a_service_accounts_key_is_named() -> None:
    file = {"projectName": "p", "region": "r", "credentialsFile": {"secretRef": {"name": "s"}}}
    gcp = policy("k", "b", "GCPCredentials", gcpCredentials=file)
    documents = (ROUTE, *backend("b", "r-aiplatform.googleapis.com", schema={"name": "GCPVertexAI"}), gcp)
    assert level_of(*documents)["auth"] == {"gcp": {}}
    assert any("GCP_SERVICE_ACCOUNT" in note for note in imported(*documents).notes)


def test_bedrock_by_converse() -> None:
    aws = policy("k", "b", "AWSCredentials", awsCredentials={"region": "eu-west-1"})
    documents = (ROUTE, *backend("b", "bedrock-runtime.eu-west-1.amazonaws.com", schema={"name": "AWSBedrock"}), aws)
    assert level_of(*documents) == {
        "provider": "bedrock", "provider_conf": {"region": "eu-west-1"}, "auth": {"aws": {"region": "eu-west-1"}}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "provider", "conf"),
    [
        ("AWSAnthropic", "bedrock-anthropic", {"region": "us-east-1"}),
        ("GCPAnthropic", "vertex-anthropic", {"project_id": "p", "region": "us-east1"}),
        ("Cohere", "cohere", None),
    ],
)
def test_schemas_of_the_clouds(schema: str, provider: str, conf: dict[str, str] | None) -> None:
    gcp = policy("k", "b", "GCPCredentials", gcpCredentials={"projectName": "p", "region": "us-east1"})
    level = level_of(ROUTE, *backend("b", "other.example", schema={"name": schema}), gcp)
    assert (level["provider"], level.get("provider_conf")) == (provider, conf)


def test_failover_between_two_providers() -> None:
    refs = (
        {"name": "a", "priority": 0, "weight": 3, "modelNameOverride": "gpt-5"},
        {"name": "c", "priority": 1, "modelNameOverride": "claude"},
    )
    items = [*backend("a", "api.openai.com"), *backend("c", "api.anthropic.com", schema={"name": "Anthropic"})]
    made = imported(manifest("AIGatewayRoute", "r", rules=[rule(*refs, streamIdleTimeout="20s")]), *items)
    config = copy_all(yaml.safe_load(made.yaml))
    places = placements.clusters(config)["r"]["load_assignment"]["endpoints"]
    texts = [place["lb_endpoints"][0]["metadata"]["filter_metadata"]["extproc"]["route"] for place in places]
    levels = [yaml.safe_load(text) for text in texts]
    assert [(level["provider"], level["options"]) for level in levels] == [
        ("openai", {"model": "gpt-5"}), ("anthropic", {"model": "claude"})
    ]  # fmt: skip
    assert [place["lb_endpoints"][0].get("load_balancing_weight", 1) for place in places] == [3, 1]
    retry = placements.routes(config)[0]["route"]["retry_policy"]
    assert (retry["num_retries"], retry["per_try_idle_timeout"]) == (1, "20s") and "retry_priority" in retry
    assert any("BackendTrafficPolicy" in note for note in made.notes)


def test_timeouts_hosts_and_several_rules() -> None:
    rules = [rule("b", timeouts={"request": "2m30s"}), rule("b", model="m-2")]
    made = imported(manifest("AIGatewayRoute", "r", rules=rules, hostnames=["h.x"]), *backend("b", "api.openai.com"))
    config = yaml.safe_load(made.yaml)
    assert [route["name"] for route in placements.routes(config)] == ["r", "r_2", "no_such_model"]
    action = placements.routes(config)[0]["route"]
    assert (action["timeout"], action["max_stream_duration"]) == ("0s", {"max_stream_duration": "150s"})
    assert placements.manager(config)["route_config"]["virtual_hosts"][0]["domains"] == ["h.x"]


def test_mutations_of_body_and_headers() -> None:
    body = {"set": [{"path": "service_tier", "value": '"scale"'}, {"path": "bad", "value": "{"}], "remove": ["user"]}
    headers = {"set": [{"name": "x-a", "value": "1"}], "remove": ["x-b"]}
    items = backend("b", "api.openai.com", bodyMutation=body, headerMutation=headers)
    made = imported(ROUTE, *items)
    assert level_of(ROUTE, *items)["options"] == {"service_tier": "scale"}
    route = placements.routes(yaml.safe_load(made.yaml))[0]
    assert route["request_headers_to_add"][0]["header"] == {"key": "x-a", "value": "1"}
    assert route["request_headers_to_remove"] == ["x-b"]
    text = "\n".join(made.notes)
    assert "bodyMutation.set.bad" in text and "bodyMutation.remove.user" in text


def test_what_is_not_spoken_is_said_and_the_rest_served() -> None:
    route = manifest("AIGatewayRoute", "r", rules=[rule("x", "b")])
    made = imported(route, *backend("x", "other.example", schema={"name": "Odd"}), *backend("b", "api.openai.com"))
    assert "other.example" not in made.yaml.partition("static_resources")[2]
    assert any(note.startswith("AIServiceBackend x: schema") for note in made.notes)


def test_what_has_no_equivalent_is_listed() -> None:
    costs = [{"metadataKey": "in", "type": "InputToken"}, {"metadataKey": "c", "type": "CEL", "cel": "backend == 'b'"}]
    route = manifest("AIGatewayRoute", "r", rules=[rule("b", "gone", modelsOwnedBy="us")], llmRequestCosts=costs)
    made = imported(route, *backend("b", "api.openai.com"), manifest("BackendTrafficPolicy", "t"), manifest("Odd", "o"))
    text = "\n".join(made.notes)
    for word in ("llmRequestCosts.c", "no AIServiceBackend gone", "BackendTrafficPolicy t", "Odd o"):  # fmt: skip
        assert word in text
    assert all(note in made.yaml for note in made.notes)


def test_costs_by_an_expression() -> None:
    cel = 'model == "gpt-5.4-mini" ? input_tokens + output_tokens * 6u : total_tokens - cached_input_tokens'
    costs = [{"metadataKey": "c", "type": "CEL", "cel": cel}, {"metadataKey": "w", "type": "CacheCreationInputToken"}]
    route = manifest("AIGatewayRoute", "r", rules=[rule("b")], llmRequestCosts=costs)
    made = imported(route, *backend("b", "api.openai.com"))
    level = level_of(route, *backend("b", "api.openai.com"))
    assert level["metadata"]["costs"] == {"c": cel, "w": "cache_write_tokens"}
    assert not [note for note in made.notes if "llmRequestCosts" in note] and check(made.yaml) == []


def test_nothing_to_serve() -> None:
    with pytest.raises(ImportFailed, match="there is no AIServiceBackend b"):
        convert("aigw", yaml.safe_dump(ROUTE).encode())
    with pytest.raises(ImportFailed, match="nothing here"):
        convert("aigw", b"kind: Secret\nstringData: {apiKey: sk-1}\n")


def test_secrets_in_the_file_are_not_written() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "k"}, "stringData": {"apiKey": "sk-live-1"}}
    key = policy("k", "b", "APIKey", apiKey={"secretRef": {"name": "k"}})
    made = imported(ROUTE, *backend("b", "api.openai.com"), key, secret)
    assert "sk-live" not in made.yaml and "${K}" in made.yaml


@pytest.mark.parametrize(("text", "made"), [("1h5m", "3900s"), ("500ms", "0.5s"), ("60s", "60s")])
def test_durations(text: str, made: str) -> None:
    assert duration(text) == made


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "m.yaml", tmp_path / "envoy.yaml"
    file.write_text(yaml.safe_dump_all([ROUTE, *backend("b", "api.openai.com")]))
    assert main(["import", "aigw", str(file)]) == 0
    out.write_text(capsys.readouterr().out)
    assert main(["check", str(out)]) == 0
    file.write_text("kind: Secret")
    assert main(["import", "aigw", str(file)]) == 2
    assert "nothing here" in capsys.readouterr().err


# ---- what is said otherwise, or cannot be said


def test_a_version_was_the_prefix_before() -> None:
    schema = {"name": "OpenAI", "version": "v1beta/openai"}
    level = level_of(ROUTE, *backend("b", "generativelanguage.googleapis.com", schema=schema))
    assert level["override"]["endpoint"].endswith("/v1beta/openai/chat/completions")
    assert "override" not in level_of(
        ROUTE, *backend("b", "api.openai.com", schema={"name": "OpenAI", "version": "v1"})
    )


def test_a_service_of_kubernetes_and_a_backend_elsewhere() -> None:
    service = manifest("AIServiceBackend", "b", schema={"name": "OpenAI"}, backendRef={"name": "vllm", "port": 8000})
    assert level_of(ROUTE, service)["override"] == {"endpoint": "http://vllm.default.svc.cluster.local:8000"}
    _, place = backend("b", "10.0.0.1", 8000)
    place["metadata"]["namespace"] = "infra"
    aimed = {"name": "b", "kind": "Backend", "namespace": "infra"}
    elsewhere = manifest("AIServiceBackend", "b", schema={"name": "OpenAI"}, backendRef=aimed)
    assert level_of(ROUTE, elsewhere, place)["override"] == {"endpoint": "http://10.0.0.1:8000"}


def test_an_address_of_six_bytes_pairs() -> None:
    level = level_of(ROUTE, manifest("AIServiceBackend", "b", schema={"name": "OpenAI"}, backendRef={"name": "b"}),
                     manifest("Backend", "b", endpoints=[{"ip": {"address": "fd00::1", "port": 8000}}]))  # fmt: skip
    assert level["override"] == {"endpoint": "http://[fd00::1]:8000"}


def test_two_models_of_one_host_are_asked_in_turn() -> None:
    refs = [{"name": "b", "modelNameOverride": "x", "weight": 8}, {"name": "b", "modelNameOverride": "y", "weight": 2}]
    made = imported(manifest("AIGatewayRoute", "r", rules=[rule(*refs)]), *backend("b", "10.0.0.1", 8000))
    places = placements.clusters(yaml.safe_load(made.yaml))["r"]["load_assignment"]["endpoints"]
    assert [place["priority"] for place in places] == [0, 1]
    assert any("one endpoint of an address" in note for note in made.notes)


def matched(*matches: Any) -> list[dict[str, Any]]:
    route = manifest("AIGatewayRoute", "r", rules=[{"matches": list(matches), "backendRefs": [{"name": "b"}]}])
    made = imported(route, *backend("b", "10.0.0.1", 8000))
    return [item["match"] for item in placements.routes(yaml.safe_load(made.yaml))[:-1]]


def test_matches_beside_the_model() -> None:
    model = {"headers": [{"name": "x-ai-eg-model", "value": "m"}]}
    (path,) = matched({**model, "path": {"type": "PathPrefix", "value": "/v1/chat"}})
    assert path["path_separated_prefix"] == "/v1/chat"
    (method,) = matched({**model, "method": "POST"})
    assert method["headers"][1] == {"name": ":method", "string_match": {"exact": "POST"}}
    (query,) = matched({**model, "queryParams": [{"name": "a", "value": "b"}]})
    assert query["query_parameters"] == [{"name": "a", "string_match": {"exact": "b"}}]


def test_a_match_that_cannot_be_said_is_left_out() -> None:
    model = {"headers": [{"name": "x-ai-eg-model", "value": "m"}]}
    other = {"headers": [{"name": "x-ai-eg-model", "type": "RegularExpression", "value": "(?!gpt).*"}]}
    assert len(matched({**model, "unheard": {}}, model)) == len(matched(other, model)) == 1
    with pytest.raises(ImportFailed, match="none of its matches"):
        matched({**model, "unheard": {}})


def test_a_key_in_a_header_mutation() -> None:
    mutation = {
        "set": [
            {"name": "Authorization", "value": "Bearer sk-live-1"},
            {"name": "x-team", "value": "a"},
            {"name": "OpenAI-Project", "value": "p"},
        ]
    }
    ref = {"name": "b", "headerMutation": mutation}
    made = imported(manifest("AIGatewayRoute", "r", rules=[rule(ref)]), *backend("b", "10.0.0.1", 8000))
    added = placements.routes(yaml.safe_load(made.yaml))[0]["request_headers_to_add"]
    assert [item["header"]["value"] for item in added] == ["Bearer %ENVIRONMENT(HEADER_API_KEY)%", "a", "p"]
    assert any("Envoy's environment" in note for note in made.notes)


def test_a_project_that_nobody_names() -> None:
    with pytest.raises(ImportFailed, match="names its project"):
        imported(ROUTE, *backend("b", "aiplatform.googleapis.com", schema={"name": "GCPVertexAI"}))
