from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from extproc import Call, Refused, RouteError, Translation, capabilities
from extproc.providers import CONF_NAMES, DIALECTS, PROVIDERS, Provider, native_to
from extproc.route import compile_route

CHAT = "/v1/chat/completions"
TABLE = {
    "openai": [
        ("openai_chat", CHAT, "max_completion_tokens"),
        ("openai_responses", "/v1/responses", "max_output_tokens"),
        ("openai_embeddings", "/v1/embeddings", None),
        ("openai_endpoints", "/v1", None),
    ],
    "openai-compatible": [
        ("openai_chat", CHAT, "max_tokens"),
        ("openai_responses", "/v1/responses", "max_output_tokens"),
        ("openai_embeddings", "/v1/embeddings", None),
        ("openai_endpoints", "/v1", None),
        ("anthropic_messages", "/v1/messages", "max_tokens"),
    ],
    "azure-openai": [
        ("openai_chat", "/openai/v1/chat/completions", "max_tokens"),
        ("openai_responses", "/openai/v1/responses", "max_output_tokens"),
        ("openai_embeddings", "/openai/v1/embeddings", None),
        ("openai_endpoints", "/openai/v1", None),
    ],
    "azure-anthropic": [("anthropic_messages", "/anthropic/v1/messages", "max_tokens")],
    "deepseek": [("openai_chat", "/chat/completions", "max_tokens")],
    "aimlapi": [
        ("openai_chat", CHAT, "max_tokens"),
        ("openai_responses", "/v1/responses", "max_output_tokens"),
        ("openai_embeddings", "/v1/embeddings", None),
        ("openai_endpoints", "/v1", None),
    ],
    "openrouter": [
        ("openai_chat", "/api/v1/chat/completions", "max_tokens"),
        ("openai_responses", "/api/v1/responses", "max_output_tokens"),
        ("openai_embeddings", "/api/v1/embeddings", None),
        ("openai_endpoints", "/api/v1", None),
    ],
    "gemini": [
        ("openai_chat", "/v1beta/openai/chat/completions", "max_completion_tokens"),
        ("gemini", "/v1beta/models/{model}", "max_output_tokens"),
        ("openai_embeddings", "/v1beta/openai/embeddings", None),
        ("openai_endpoints", "/v1beta/openai", None),
        ("gemini_endpoints", "/v1beta", None),
        ("gemini_embeddings", "/v1beta/models/{model}", None),
    ],
    "bedrock": [
        ("bedrock_converse", "/model/{model}", "max_tokens"),
        ("anthropic_bedrock", "/model/{model}", "max_tokens"),
        ("openai_chat", "/openai/v1/chat/completions", "max_completion_tokens"),
        ("titan_embeddings", "/model/{model}", None),
        ("nova_embeddings", "/model/{model}", None),
        ("cohere_bedrock", "/model/{model}", None),
    ],
    "cohere": [
        ("cohere_embeddings", "/v2/embed", None),
        ("openai_chat", "/compatibility/v1/chat/completions", "max_tokens"),
        ("openai_embeddings", "/compatibility/v1/embeddings", None),
        ("openai_endpoints", "/v2", None),
    ],
    "bedrock-anthropic": [("anthropic_bedrock", "/model/{model}", "max_tokens")],
    "vertex-anthropic": [
        (
            "anthropic_vertex",
            "/v1/projects/{project_id}/locations/{region}/publishers/anthropic/models/{model}",
            "max_tokens",
        )
    ],
    "vertex-ai": [
        (
            "openai_chat",
            "/v1/projects/{project_id}/locations/{region}/endpoints/openapi/chat/completions",
            "max_completion_tokens",
        ),
        (
            "gemini",
            "/v1/projects/{project_id}/locations/{region}/publishers/google/models/{model}",
            "max_output_tokens",
        ),
        ("vertex_predict", "/v1/projects/{project_id}/locations/{region}/publishers/google/models/{model}", None),
        ("gemini_embeddings", "/v1/projects/{project_id}/locations/{region}/publishers/google/models/{model}", None),
    ],
    "anthropic": [
        ("anthropic_messages", "/v1/messages", "max_tokens"),
        ("openai_chat", CHAT, "max_tokens"),
        ("anthropic_endpoints", "/v1", None),
    ],
}


@pytest.mark.rows("A20", "B8", "D1", "D28")
def test_d1_d28_the_whole_table() -> None:
    found = {name: [(d, e.path, e.max_tokens) for d, e in row.dialects.items()] for name, row in PROVIDERS.items()}
    assert found == TABLE


@pytest.mark.rows("A19", "B34", "D1")
def test_default_hosts() -> None:
    """Where a route leads whose cluster is made from the provider's own host (``extproc import``)."""
    hosts = {name: row.host or row.regional_host for name, row in PROVIDERS.items()}
    assert hosts == {
        "openai": "api.openai.com",
        "azure-openai": "{resource}.openai.azure.com",
        "deepseek": "api.deepseek.com",
        "aimlapi": "api.aimlapi.com",
        "anthropic": "api.anthropic.com",
        "azure-anthropic": "{resource}.services.ai.azure.com",
        "openrouter": "openrouter.ai",
        "gemini": "generativelanguage.googleapis.com",
        "vertex-ai": "aiplatform.googleapis.com",
        "bedrock": "bedrock-runtime.{region}.amazonaws.com",
        "bedrock-anthropic": "bedrock-runtime.{region}.amazonaws.com",
        "vertex-anthropic": "aiplatform.googleapis.com",
        "cohere": "api.cohere.com",
        "openai-compatible": None,
    }


def test_every_dialect_of_a_row_may_be_named_by_a_route() -> None:
    assert {dialect for row in PROVIDERS.values() for dialect in row.dialects} <= set(DIALECTS)


def test_every_dialect_that_is_built_may_be_named_by_a_route() -> None:
    from extproc import dialects

    assert set(dialects.REGISTRY) <= set(DIALECTS)


@pytest.mark.parametrize("name", [name for name, row in PROVIDERS.items() if "openai_chat" in row.dialects])
@pytest.mark.rows("D28")
def test_d28_a_translated_request_names_its_limit_as_the_route_would(name: str) -> None:
    row = capabilities.packaged().find(name, "some-model")
    assert row.token_field == PROVIDERS[name].dialects["openai_chat"].max_tokens


@pytest.mark.rows("D5")
def test_only_openai_compatible_may_do_without_auth() -> None:
    assert [name for name, row in PROVIDERS.items() if not row.auth_required] == ["openai-compatible"]


@pytest.mark.parametrize(
    ("dialect", "provider"),
    [("openai_chat", "openai"), ("anthropic_messages", "anthropic"), ("openai_responses", "openai"),
     ("bedrock_converse", "bedrock"), ("anthropic_vertex", "vertex-anthropic")],
)  # fmt: skip
def test_native_to(dialect: str, provider: str) -> None:
    assert native_to(dialect) == provider


def test_conf_needed_comes_from_the_path() -> None:
    assert PROVIDERS["vertex-ai"].conf_needed("openai_chat", {}) == ["project_id", "region"]
    assert PROVIDERS["openai"].conf_needed("openai_chat", {}) == []
    azure = PROVIDERS["azure-openai"]
    assert azure.conf_needed("openai_chat", {}) == []
    assert azure.conf_needed("openai_chat", {"deployment": "d"}) == ["deployment", "api_version"]
    assert azure.conf_needed("openai_embeddings", {"api_version": "v"}) == ["api_version"]


# ---- what goes out


C2 = {
    "model": "claude-opus-4-5",
    "messages": [
        {"role": "system", "content": "You are a mathematician"},
        {"role": "user", "content": "What is 1+1?"},
    ],
}
AZURE = "https://res.services.ai.azure.com/anthropic/v1/messages"


def sent(route: dict[str, Any], body: Any, path: str = "/v1/chat/completions") -> Any:
    return Translation(route={"auth": "none", **route}, now=0).request(json.dumps(body).encode(), path=path)


@pytest.mark.parametrize(
    ("route", "host"),
    [
        ({"provider": "azure-anthropic"}, None),
        ({"provider": "anthropic", "override": {"endpoint": AZURE}}, "res.services.ai.azure.com"),
        ({"provider": "azure-anthropic", "override": {"endpoint": AZURE}}, "res.services.ai.azure.com"),
    ],
)
@pytest.mark.rows("C1", "C2")
def test_c1_c2_an_openai_client_on_foundrys_claude(route: dict[str, Any], host: str | None) -> None:
    call = sent({**route, "auth": {"header": {"x-api-key": "k"}}}, C2)
    assert (call.path, call.host) == ("/anthropic/v1/messages", host)
    body = json.loads(call.body)
    assert body["system"] == "You are a mathematician" and body["max_tokens"] > 0
    assert [message["role"] for message in body["messages"]] == ["user"]
    headers = dict(call.all_headers())
    assert (headers["x-api-key"], headers["anthropic-version"]) == ("k", "2023-06-01")


@pytest.mark.parametrize(
    ("conf", "options", "path", "expected"),
    [
        ({}, {}, "/v1/chat/completions", "/openai/v1/chat/completions"),
        ({"api_version": "2024-10-21"}, {}, "/v1/chat/completions",
         "/openai/deployments/gpt%204%2Fo/chat/completions?api-version=2024-10-21"),
        ({"api_version": "2024-10-21"}, {"model": "mine"}, "/v1/messages?beta=true",
         "/openai/deployments/mine/chat/completions?api-version=2024-10-21"),
        ({"api_version": "v", "deployment": "d{model}"}, {}, "/v1/chat/completions?api-version=client&x=1",
         "/openai/deployments/d%7Bmodel%7D/chat/completions?x=1&api-version=v"),
        ({"api_version": "v"}, {"model": "ada"}, "/v1/embeddings", "/openai/deployments/ada/embeddings?api-version=v"),
        ({}, {}, "/embeddings", "/openai/v1/embeddings"),
    ],
)  # fmt: skip
@pytest.mark.rows("B18", "B19")
def test_e3_b18_b19_azures_paths(conf: dict[str, str], options: dict[str, str], path: str, expected: str) -> None:
    route = {"provider": "azure-openai", "provider_conf": conf, "options": options}
    body = {"model": "gpt 4/o", "max_tokens": 5, "input": "x", "messages": [{"role": "user", "content": "x"}]}
    assert sent(route, body, path).path == expected


def test_e3_a_deployment_needs_its_api_version() -> None:
    with pytest.raises(RouteError) as caught:
        sent({"provider": "azure-openai", "provider_conf": {"deployment": "d"}}, C2)
    assert str(caught.value) == (
        "route: provider_conf: provider azure-openai needs api_version, or an override.endpoint with a path"
    )


@pytest.mark.parametrize("model", [".", ".."])
def test_a_model_leads_to_no_other_path(model: str) -> None:
    with pytest.raises(Refused) as caught:
        sent({"provider": "azure-openai", "provider_conf": {"api_version": "v"}}, {**C2, "model": model})
    assert caught.value.status == 400 and caught.value.failed.param == "model"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
@pytest.mark.rows("B17")
def test_b17_a_path_never_names_a_model_that_is_not_there(path: str) -> None:
    with pytest.raises(Refused) as caught:
        sent({"provider": "azure-openai", "provider_conf": {"api_version": "v"}}, {"messages": [], "input": ""}, path)
    assert caught.value.status == 400
    error = json.loads(caught.value.body)["error"]
    assert (error["param"], error["message"]) == ("model", "model is required: the upstream's path names it")


@pytest.mark.rows("C10")
def test_c10_anthropics_own_compatible_endpoint_is_a_choice() -> None:
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {},
            "required": [], "additionalProperties": False}}}  # fmt: skip
    messages = {
        "model": "claude-opus-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
        "tools": [{"name": "f", "input_schema": tool["function"]["parameters"], "strict": True}],
    }  # fmt: skip
    call = sent({"provider": "anthropic", "upstream": "openai-chat"}, messages, "/v1/messages")
    body = json.loads(call.body)
    assert call.path == "/v1/chat/completions" and body["max_tokens"] == 9
    assert "strict" not in body["tools"][0]["function"]
    assert sent({"provider": "anthropic"}, messages, "/v1/messages").path == "/v1/messages"


def test_e13_gemini() -> None:
    route = {"provider": "gemini", "override": {"llm_options": {"max_tokens": 7}}}
    call = sent(route, {**C2, "model": "gemini-2.5-pro"})
    assert call.path == "/v1beta/openai/chat/completions"
    assert json.loads(call.body)["max_completion_tokens"] == 7


@pytest.mark.rows("C4")
def test_the_limit_that_is_sent_where_a_client_names_none() -> None:
    for route, limit in (({}, 64000), ({"quirks": {"max_output": 2000}}, 2000), ({"options": {"max_tokens": 7}}, 7)):
        assert json.loads(sent({"provider": "anthropic", **route}, C2).body)["max_tokens"] == limit


@pytest.mark.rows("A17")
def test_two_routes_of_a_provider_have_each_their_own_host_and_path() -> None:
    ends = ("https://one.example:1/a", "https://two.example/b")
    calls = [sent({"provider": "anthropic", "override": {"endpoint": end}}, C2) for end in (*ends, ends[0])]
    assert [(call.host, call.path) for call in calls] == [
        ("one.example:1", "/a"), ("two.example", "/b"), ("one.example:1", "/a"),
    ]  # fmt: skip
    assert sent({"provider": "anthropic"}, C2).host is None


def conf_of(name: str) -> dict[str, str]:
    given = {"project_id": "p", "region": "r"}
    return {each: value for each, value in given.items() if each in PROVIDERS[name].conf_known}


@pytest.mark.rows("A18")
@pytest.mark.parametrize("name", [n for n, row in PROVIDERS.items() if next(iter(row.dialects)) == "openai_chat"])
def test_an_openai_request_goes_to_any_provider_of_that_api_as_it_is(name: str) -> None:
    """Though the same process translates for Anthropic's upstreams."""
    conf = conf_of(name)
    raw = b'{"model":"m", "messages":[{"role":"system","content":"s"}],"x":1.0, "max_tokens":5}'
    t = Translation(route={"provider": name, "auth": "none", "provider_conf": conf}, now=0)
    call = t.request(raw, path=CHAT)
    assert isinstance(call, Call)
    assert call.body == raw and t.passthrough and call.path.startswith(PROVIDERS[name].dialects["openai_chat"].path[:4])
    assert not [name for name, _ in call.headers if name.startswith("anthropic-")]


@pytest.mark.rows("A26", "C2")
@pytest.mark.parametrize("model", ["claude-3-haiku-20240307", "claude-3-opus-latest", "claude-3-5-sonnet-20241022",
    "claude-3-7-sonnet-latest", "claude-sonnet-4-20250514", "claude-opus-4-5", "claude-haiku-4-5", "claude-of-tomorrow"]
)  # fmt: skip
def test_blocks_and_a_system_prompt_for_every_claude(model: str) -> None:
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {"url": "https://h.example/a.png"}},
    ]
    asked = {"model": model, "messages": [C2["messages"][0], {"role": "user", "content": parts}]}
    body = json.loads(sent({"provider": "anthropic"}, asked).body)
    assert (body["model"], body["system"]) == (model, "You are a mathematician") and body["max_tokens"] >= 4096
    assert body["messages"] == [{"role": "user", "content": [
        {"type": "text", "text": "What is"}, {"type": "image", "source": {"type": "url", "url": "https://h.example/a.png"}},
    ]}]  # fmt: skip


@pytest.mark.rows("B25", "A20")
def test_names_of_providers_come_from_the_one_table() -> None:
    with pytest.raises(RouteError) as caught:
        compile_route(["provider: nobody-at-all"])
    choices = str(caught.value).partition("choose one of: ")[2].split(", ")
    assert choices == list(PROVIDERS) and {"openai", "anthropic", "gemini"} <= set(choices)
    for name, row in PROVIDERS.items():
        conf = conf_of(name)
        compiled = compile_route([{"provider": name, "auth": "none", "provider_conf": conf}])
        assert compiled.provider is row and row.name == name


@pytest.mark.rows("B41")
@pytest.mark.parametrize(
    ("written", "meant"),
    [("openai_compatible", "openai-compatible"), ("azure_openai", "azure-openai"), ("vertex_ai", "vertex-ai")],
)
def test_another_spelling_of_a_provider_works(written: str, meant: str) -> None:
    conf = conf_of(meant)
    found = compile_route([{"provider": written, "auth": "none", "provider_conf": conf}])
    assert found.provider is PROVIDERS[meant]


@pytest.mark.rows("B41")
@pytest.mark.parametrize(
    ("written", "meant"),
    [("open-ai", "openai"), ("OpenAI", "openai"), ("azureopenai", "azure-openai"), ("deep-seek", "deepseek"),
     ("vertexai", "vertex-ai"), ("open-router", "openrouter")],
)  # fmt: skip
def test_a_wrong_spelling_of_a_provider_is_answered_with_the_right_one(written: str, meant: str) -> None:
    with pytest.raises(RouteError) as caught:
        compile_route([f"provider: {written}\nauth: none"])
    assert f"unknown provider '{written}'; did you mean '{meant}'? Choose one of: openai, " in str(caught.value)


# ---- what is written about them


@pytest.mark.parametrize("row", [row for row in PROVIDERS.values() if "gcp" not in row.auth], ids=lambda row: row.name)
def test_the_auth_that_is_recommended_compiles(row: Provider) -> None:
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", row.auth), "key")
    route = compile_route([f"{{provider: {row.name}, auth: {row.auth}}}"], environ=environ)
    assert all("key" in value for _, value in route.credentials()) and bool(route.credentials()) == row.auth_required


def test_the_table_in_the_docs_is_this_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "providers.md").read_text("utf-8")
    lines = [line for line in text.split("## Notes")[0].splitlines() if line.startswith("|")][2:]
    assert lines == [_line(row) for row in PROVIDERS.values()]


def _line(row: Provider) -> str:
    spoken = ", ".join(f"({name})" if endpoint.explicit else name for name, endpoint in row.dialects.items())
    host = row.regional_host or row.host
    return f"| {row.name} | {host + ' ' if host else ''}| {spoken} | `{row.auth}` |"


@pytest.mark.parametrize("name", sorted(CONF_NAMES))
def test_each_member_of_provider_conf_is_asked_for_somewhere(name: str) -> None:
    asked = [f"{row.regional_host}{endpoint}" for row in PROVIDERS.values() for endpoint in row.dialects.values()]
    assert any(name in text for text in asked)


def test_a_member_of_provider_conf_that_nobody_reads_is_refused() -> None:
    with pytest.raises(RouteError, match=r"^route: provider_conf: unknown key 'project'; did you mean 'project_id'"):
        compile_route([{"provider": "openai", "auth": "none", "provider_conf": {"project": "p"}}])


def test_what_a_provider_can_be_told() -> None:
    assert PROVIDERS["openai"].conf_known == frozenset()
    assert PROVIDERS["vertex-ai"].conf_known == {"project_id", "region"}
    assert all(row.conf_known <= CONF_NAMES for row in PROVIDERS.values())
