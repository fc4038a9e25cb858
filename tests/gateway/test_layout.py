"""What a gateway's file comes to: routes, clusters, models, secrets."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from extproc.check import check
from extproc.gateway import FileError, Layout, lay_out, read
from extproc.route import compile_route
from extproc.route.catalogue import read_catalogue

KEYS = {"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b", "GEMINI_API_KEY": "c", "DEEPSEEK_API_KEY": "d", "K": "e"}


def laid(text: str) -> Layout:
    made = lay_out(read(text))
    errors = [finding for finding in check(made.yaml("a test")) if finding.severity == "error"]
    assert not errors, list(map(str, errors))
    return made


def host_of(made: Layout) -> dict[str, Any]:
    chain = made.config["static_resources"]["listeners"][0]["filter_chains"][0]
    (host,) = chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
    found: dict[str, Any] = host
    return found


def says(made: Layout) -> dict[str, Any]:
    found: dict[str, Any] = host_of(made)["metadata"]["filter_metadata"]["extproc"]
    return found


def clusters(made: Layout) -> dict[str, Any]:
    return {cluster["name"]: cluster for cluster in made.config["static_resources"]["clusters"]}


FILE = """
providers: {openai: , anthropic: , vllm: {provider: openai-compatible, url: "http://127.0.0.1:8000/v1"}}
models:
  gpt-*: openai
  fast: openai/gpt-5.4-mini
  quick: {use: fast}
  terse: {use: openai/gpt-5.4-mini, options: {temperature: 0}}
  terser: terse
  best: [openai/gpt-5.4, anthropic/claude-opus-4-8]
  "claude-*": [anthropic, vllm/claude-like]
  "*": vllm
policies: [{redact: {}}]
"""


def test_a_model_with_one_provider_takes_the_listeners_stream() -> None:
    made = laid(FILE)
    models = read_catalogue(says(made)["models"])
    assert models.find_line("gpt-5.4") == ("gpt-5.4", "openai")
    assert models.find_line("fast") == models.find_line("quick") == ("gpt-5.4-mini", "openai")
    assert models.find_line("terse") == ("gpt-5.4-mini", "openai.terse")
    assert models.find_line("terser") == ("gpt-5.4-mini", "openai.terser"), "with what is said of the other one"
    assert models.find_line("anything") == ("anything", "vllm")
    texts = {name: yaml.safe_load(text) for name, text in says(made)["routes"].items()}
    assert set(texts) == {"openai", "openai.terse", "openai.terser", "vllm"}
    assert texts["openai.terser"]["options"] == {"temperature": 0}
    assert all(text["policies"] == [{"redact": {}}] and text["losses"] == "report" for text in texts.values())
    for name in texts:
        (options,) = clusters(made)[name]["typed_extension_protocol_options"].values()
        assert "http_filters" not in options, "no second stream"


def test_a_model_with_several_has_a_filter_behind_it() -> None:
    made = laid(FILE)
    models = read_catalogue(says(made)["models"])
    assert models.find_line("best") == ("best", "") and models.find_line("claude-x") == ("claude-x", "")
    cluster = clusters(made)["model.best"]
    (options,) = cluster["typed_extension_protocol_options"].values()
    assert options["http_filters"][0]["name"] == "extproc.translate" and "outlier_detection" in cluster
    places = cluster["load_assignment"]["endpoints"]
    texts = [yaml.safe_load(p["lb_endpoints"][0]["metadata"]["filter_metadata"]["extproc"]["route"]) for p in places]
    assert [(p["priority"], t["provider"], t["options"]["model"]) for p, t in zip(places, texts, strict=True)] == [
        (0, "openai", "gpt-5.4"), (1, "anthropic", "claude-opus-4-8"),
    ]  # fmt: skip
    named = {route["name"]: route for route in host_of(made)["routes"]}
    assert named["model.best"]["route"]["retry_policy"]["num_retries"] == 1
    assert "529" in str(named["model.best"]["route"]["retry_policy"]["retriable_status_codes"])
    assert named["model.claude-any"]["match"]["headers"][0]["string_match"] == {"safe_regex": {"regex": "claude\\-.*"}}


def test_what_bears_a_key_takes_its_route_or_none() -> None:
    for route in host_of(laid(FILE))["routes"]:
        (header,) = [item for item in route["match"]["headers"] if item["name"] == "x-extproc-route"]
        assert header.get("invert_match") or header["string_match"] == {"exact": route["name"]}


def test_without_models_each_provider_has_its_own_and_the_first_the_rest() -> None:
    made = laid(
        "providers: {anthropic: , openai: , local: {provider: openai-compatible, url: 'http://h:1', models: [q]}}"
    )
    models = read_catalogue(says(made)["models"])
    expected = {
        "claude-opus-4-8": ("claude-opus-4-8", "anthropic"),
        "gpt-5.4": ("gpt-5.4", "openai"),
        "q": ("q", "local"),
        "local/a/b": ("a/b", "local"),
        "openai/claude-x": ("claude-x", "openai"),
        "whatever": ("whatever", "anthropic"),
    }
    assert {name: models.find_line(name) for name in expected} == expected
    assert [model.id for model in models.listed] == ["claude-haiku-4-5", "gpt-5.4-mini", "q"]
    assert made.samples == {"anthropic": "claude-haiku-4-5", "openai": "gpt-5.4-mini", "local": "q"}
    assert made.secrets == ["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]


def test_without_a_star_other_names_are_unknown() -> None:
    models = read_catalogue(says(laid("providers: {openai: }\nmodels: {a: openai/b}"))["models"])
    assert models.find_line("c") is None


@pytest.mark.parametrize(
    ("provider", "url", "where", "path", "dialect"),
    [
        ("openai", "", ("api.openai.com", 443, True), "/v1/chat/completions", "openai_chat"),
        ("openai", "http://127.0.0.1:9/v1/", ("127.0.0.1", 9, False), "/v1/chat/completions", "openai_chat"),
        ("openai", "http://127.0.0.1:9", ("127.0.0.1", 9, False), "/v1/chat/completions", "openai_chat"),
        ("openai", "https://h/api/v3", ("h", 443, True), "/api/v3/chat/completions", "openai_chat"),
        ("openai", "https://h/x/chat/completions", ("h", 443, True), "/x/chat/completions", "openai_chat"),
        ("openai", "https://h/v1?a=b", ("h", 443, True), "/v1/chat/completions", "openai_chat"),
        ("deepseek", "https://h/", ("h", 443, True), "/chat/completions", "openai_chat"),
        ("anthropic", "https://h", ("h", 443, True), "/v1/messages", "anthropic_messages"),
        ("anthropic", "https://h/v1", ("h", 443, True), "/v1/messages", "anthropic_messages"),
        ("anthropic", "https://h/proxy/v1", ("h", 443, True), "/proxy/v1/messages", "anthropic_messages"),
        ("anthropic", "https://h/proxy", ("h", 443, True), "/proxy/v1/messages", "anthropic_messages"),
        ("gemini", "http://h:8", ("h", 8, False), "/v1beta/models/{model}", "gemini"),
        ("openai-compatible", "http://h:8000/v1", ("h", 8000, False), "/v1/chat/completions", "openai_chat"),
    ],
)
def test_a_base_url_is_read_as_the_vendors_sdk_reads_it(
    provider: str, url: str, where: tuple[str, int, bool], path: str, dialect: str
) -> None:
    text = f"providers: {{p: {{provider: {provider}, url: '{url}'}}}}" if url else f"providers: {{{provider}: }}"
    made = laid(text)
    ((name, level),) = made.routes.items()
    target = compile_route([level], environ=KEYS).target("openai_chat")
    assert (target.path, target.dialect) == (path, dialect)
    cluster = clusters(made)[name]
    address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert (address["address"], address["port_value"], "transport_socket" in cluster) == where
    assert made.hosts == {where[0]}


@pytest.mark.parametrize(
    ("entry", "auth", "secrets"),
    [
        ("openai: ", {"header": {"Authorization": "Bearer ${OPENAI_API_KEY}"}}, ["OPENAI_API_KEY"]),
        ("openai: {key: '${K}'}", {"header": {"Authorization": "Bearer ${K}"}}, ["K"]),
        ("anthropic: {key: '${file:/k/a}'}", {"header": {"x-api-key": "${file:/k/a}"}}, ["/k/a"]),
        ("gemini: ", {"header": {"x-goog-api-key": "${GEMINI_API_KEY}"}}, ["GEMINI_API_KEY"]),
        ("o: {provider: openai-compatible, url: 'http://h'}", "none", []),
        ("o: {provider: openai-compatible, url: 'http://h', key: '${K}'}",
         {"header": {"Authorization": "Bearer ${K}"}}, ["K"]),
        ("openai: {auth: none}", "none", []),
        ("bedrock: {provider_conf: {region: us-east-1}, auth: {aws: {credentials_file: /a, profile: b}}}",
         {"aws": {"credentials_file": "/a", "profile": "b"}},
         ["/a", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]),
        ("vertex-ai: {provider_conf: {region: global, project_id: p}}", {"gcp": {}}, ["GCP_SERVICE_ACCOUNT"]),
    ],
)  # fmt: skip
def test_a_credential_is_the_providers_usual_one_or_as_given(entry: str, auth: Any, secrets: list[str]) -> None:
    made = laid(f"providers: {{{entry}}}")
    assert [level["auth"] for level in made.routes.values()] == [auth]
    assert made.secrets == secrets


def test_where_the_sidecar_says_the_host_envoy_does_not() -> None:
    local = "local: {provider: openai-compatible, url: 'http://127.0.0.1:8000'}"
    bedrock = "bedrock: {provider_conf: {region: us-east-1}, auth: {aws: {}}}"
    made = laid(f"providers: {{{bedrock}, {local}, openai: }}")
    rewritten = {route["name"]: route["route"].get("auto_host_rewrite") for route in host_of(made)["routes"]}
    assert rewritten == {"bedrock": False, "local": False, "openai": True, "no_such_model": None}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("models: {a: openai}", "providers: none is named"),
        (
            "providers: {openai: }\nmodels: {a: opena/x}",
            "models.a: 'opena/x' is neither a provider nor a model; did",
        ),
        ("providers: {openai: }\nmodels: {a: b, b: a}", "leads back to itself: a -> b"),
        ("providers: {openai: }\nmodels: {a: 'openai/'}", "is neither a provider nor a model"),
        ("providers: {openai: }\nmodels: {a: 'openai/*'}", "stands for nothing: the name has none"),
        ("providers: {openai: , anthropic: }\nmodels: {'g/*': ['openai/*', anthropic]}", "each model is named in full"),
        ("providers: {bedrock: }", "providers.bedrock: needs provider_conf: {region: ...}, or url"),
        ("providers: {azure-openai: }", "providers.azure-openai: needs provider_conf: {resource: ...}, or url"),
        ("providers: {x: {provider: openai-compatible}}", "providers.x: needs url, where it is served"),
    ],
)
def test_what_leads_nowhere_is_said_with_its_place(text: str, word: str) -> None:
    with pytest.raises(FileError) as caught:
        lay_out(read(text))
    assert str(caught.value).startswith("extproc.yaml: ") and word in str(caught.value)


def test_the_bootstrap_says_how_to_start_what_belongs_to_it() -> None:
    assert "extproc serve --secrets 'OPENAI_API_KEY'" in laid("providers: {openai: }").yaml("x")


def test_prefixes_are_told_before_the_model_is_known() -> None:
    made = laid("providers: {openai: }\nprefixes: {anthropic_messages: /anthropic}\nother_paths: refuse")
    text = host_of(made)["routes"][-1]["metadata"]["filter_metadata"]["extproc"]["route"]
    assert yaml.safe_load(text) == {
        "losses": "report", "prefixes": {"anthropic_messages": "/anthropic"}, "other_paths": "refuse",
    }  # fmt: skip
