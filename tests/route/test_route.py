from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc import dialects
from extproc.providers import PROVIDERS
from extproc.route import RouteError, compile_route

from .routes import OPENAI, apply, compiled, raw, sent, whole_path

# ---- reading


def test_a_root_stands_before_the_prefix_of_every_api() -> None:
    """As `rootPrefix` of Envoy AI Gateway, beside the prefixes of its endpoints."""
    route = compiled(OPENAI + "prefixes: {root: /llm/, anthropic-messages: /anthropic}")
    assert set(route.prefixes) == set(dialects.REGISTRY)
    assert route.prefixes["anthropic_messages"] == "/llm/anthropic" and route.prefixes["openai_chat"] == "/llm"


# ---- target


@pytest.mark.parametrize(
    ("text", "client", "dialect", "path"),
    [
        ("provider: openai", "anthropic_messages", "openai_chat", "/v1/chat/completions"),
        ("provider: openai", "openai_responses", "openai_responses", "/v1/responses"),
        ("provider: anthropic", "openai_chat", "anthropic_messages", "/v1/messages"),
        ("provider: anthropic\nupstream: openai-chat", "anthropic_messages", "openai_chat", "/v1/chat/completions"),
        ("provider: openai-compatible", "anthropic_messages", "openai_chat", "/v1/chat/completions"),
        ("provider: openai-compatible\nupstream: anthropic-messages", "openai_chat", "anthropic_messages",
         "/v1/messages"),
        ("provider: vertex-ai\nprovider_conf: {project_id: p/q, region: eu}", "openai_chat", "openai_chat",
         "/v1/projects/p%2Fq/locations/eu/endpoints/openapi/chat/completions"),
    ],
)  # fmt: skip
@pytest.mark.rows("B34", "F3")
def test_the_upstreams_dialect(text: str, client: str, dialect: str, path: str) -> None:
    target = compiled(text + "\nauth: none").target(client)
    assert (target.dialect, target.path, target.host) == (dialect, path, None)


@pytest.mark.rows("C10")
def test_an_explicit_argument_wins_over_the_route() -> None:
    route = compiled("{provider: anthropic, auth: none}")
    assert route.target("anthropic_messages", "openai_chat").dialect == "openai_chat"
    with pytest.raises(RouteError, match=r"^route: upstream: provider anthropic does not speak 'openai_responses'"):
        route.target("openai_chat", "openai_responses")


@pytest.mark.parametrize(
    ("endpoint", "port", "host", "path"),
    [
        ("https://h.example", 443, "h.example", "/v1/chat/completions"),
        ("http://h.example/", 80, "h.example", "/v1/chat/completions"),
        ("http://h.example:8080/base/chat", 8080, "h.example:8080", "/base/chat"),
        ("https://h.example:443/x?api-version=1", 443, "h.example", "/x"),
        ("http://[::1]:9/x", 9, "[::1]:9", "/x"),
        ("HTTPS://H.Example/Deploy", 443, "h.example", "/Deploy"),
    ],
)
@pytest.mark.rows("B15", "D14")
def test_b15_endpoint(endpoint: str, port: int, host: str, path: str) -> None:
    route = compiled({"provider": "openai", "auth": "none", "override": {"endpoint": endpoint}})
    target = route.target("openai_chat")
    assert route.endpoint is not None
    assert (route.endpoint.port, target.host, target.path) == (port, host, path)


# ---- query


AZURE = {
    "provider": "azure-openai",
    "auth": {"header": {"api-key": "${KEY}"}, "query": {"sig": "a&b =", "z": "auth"}},
    "override": {
        "endpoint": "https://r.example/openai/deployments/d/chat/completions?api-version=2024-02-15&z=end&y=end"
    },
}


@pytest.mark.parametrize(
    ("client_path", "query"),
    [
        ("/v1/chat/completions", "api-version=2024-02-15&y=end&sig=a%26b%20%3D&z=auth"),
        ("/x?a=1&a=%32&y=client&z=client&api%2Dversion=x",
         "a=1&a=%32&api-version=2024-02-15&y=end&sig=a%26b%20%3D&z=auth"),
        ("/x?k%65y=client&API_KEY=k&beta=true&flag;t%6fken=k",
         "beta=true&flag&api-version=2024-02-15&y=end&sig=a%26b%20%3D&z=auth"),
        ("/x?API_VERSION=client&%2561pi-version=client", "api-version=2024-02-15&y=end&sig=a%26b%20%3D&z=auth"),
    ],
)  # fmt: skip
@pytest.mark.rows("B16", "D7")
def test_b16_e3_query_precedence(client_path: str, query: str) -> None:
    route = compiled(AZURE)
    path = route.target("openai_chat").path
    for _ in range(2):  # B10, B21: the second request sees nothing of the first
        assert (
            whole_path(route, path, client_path, passthrough=True) == f"/openai/deployments/d/chat/completions?{query}"
        )


def test_what_only_the_clients_api_knows_goes_on_to_its_own_kind_alone() -> None:
    route = compiled("{provider: anthropic, auth: none}")
    assert whole_path(route, "/v1/messages", "/v1/messages?beta=true&key=x") == "/v1/messages"
    assert (
        whole_path(route, "/v1/messages", "/v1/messages?beta=true&key=x", passthrough=True) == "/v1/messages?beta=true"
    )


def test_a_route_forwards_parameters_by_name() -> None:
    route = compiled("{provider: openai, auth: none, forward: {query: [Trace_id, 'x-*']}}")
    asked = "/x?trace-id=1&TRACE%5fID=2&x-a=3&other=4&key=5"
    assert whole_path(route, "/g", asked) == "/g?trace-id=1&TRACE%5fID=2&x-a=3"
    assert whole_path(route, "/g", asked, passthrough=True) == "/g?trace-id=1&TRACE%5fID=2&x-a=3&other=4"


def test_what_is_forwarded_to_one_provider_is_not_to_the_next() -> None:
    below = "{provider: openai, auth: none, forward: {headers: [x-tenant]}}"
    assert "x-tenant" in compile_route([below]).forward_headers
    assert "x-tenant" not in compile_route([below, "{provider: anthropic, auth: none}"]).forward_headers


def test_a_path_with_a_query_of_its_own() -> None:
    route = compiled("{provider: openai, auth: none}")
    assert whole_path(route, "/g?alt=sse", "/x?alt=json&q=1", passthrough=True) == "/g?q=1&alt=sse"


# ---- apply


def test_nothing_configured_changes_nothing() -> None:
    members = raw('{"model":"m", "max_tokens" : 5,"x":1.0}')
    assert apply(compiled("{provider: openai, auth: none}"), members, "openai_chat") == members


@pytest.mark.rows("D12", "D13")
def test_d12_d13_options_and_model_replace_the_clients_and_keep_the_rest_of_the_bytes() -> None:
    route = compiled("{provider: openai, auth: none, options: {model: gpt-4, temperature: 0, stop: null, n: 1}}")
    members = raw('{"model":"m","big": 12345678901234567890.10,"temperature":1,"n":1,"u":"\\u00e9"}')
    assert msgspec.json.encode(apply(route, members, "openai_chat")) == (
        b'{"model":"gpt-4","big":12345678901234567890.10,"temperature":0,"n":1,"u":"\\u00e9","stop":null}'
    )
    assert bytes(members["model"]) == b'"m"'


def test_a_member_that_already_says_so_keeps_its_bytes() -> None:
    route = compiled("{provider: openai, auth: none, options: {model: gpt-4, stream: true}}")
    members = raw('{"stream":true,"model":"gpt-4"}')
    assert apply(route, members, "openai_chat") == members


CAP = "override: {llm_options: {max_tokens: 5}}"


@pytest.mark.parametrize(
    ("provider", "dialect", "name"),
    [
        (name, dialect, endpoint.max_tokens)
        for name, row in PROVIDERS.items()
        for dialect, endpoint in row.dialects.items()
    ],
)
@pytest.mark.rows("D15", "D28")
def test_d15_d28_llm_options_by_provider_and_dialect(provider: str, dialect: str, name: str | None) -> None:
    conf = {
        name: value for name, value in (("project_id", "p"), ("region", "r")) if name in PROVIDERS[provider].conf_known
    }
    override = {"llm_options": {"max_tokens": 5}}
    route = compiled({"provider": provider, "auth": "none", "provider_conf": conf, "override": override})
    body = {"max_tokens": 1000, "max_completion_tokens": 1000, "max_output_tokens": 1000}
    expected: dict[str, Any] = dict(body)
    if name in ("max_tokens", "max_completion_tokens"):
        del expected["max_tokens"], expected["max_completion_tokens"]
    if name:
        expected[name] = 5
    assert sent(route, json.dumps(body), dialect) == expected


def test_a_quirk_renames_the_limit() -> None:
    route = compiled(f"provider: azure-openai\nauth: none\nquirks: {{token_field: max_completion_tokens}}\n{CAP}")
    assert sent(route, '{"max_tokens": 9}') == {"max_completion_tokens": 5}


def test_a_limit_in_options_is_the_only_one_left() -> None:
    route = compiled("{provider: openai, auth: none, options: {max_completion_tokens: 7}}")
    assert sent(route, '{"max_tokens": 9, "a": 1}') == {"a": 1, "max_completion_tokens": 7}
    assert sent(compiled("{provider: openai, auth: none}"), '{"max_tokens": 9}') == {"max_tokens": 9}


BODY = """
provider: openai
auth: none
options: {temperature: 0.1}
override:
  llm_options: {max_tokens: 5}
  request_body:
    openai-chat: {temperature: 0.9, max_completion_tokens: 6, stop: [a], meta: {x: 1, y: {z: 2}}, extra: {q: null}}
    anthropic-messages: {never: 1}
"""
CLIENT = '{"temperature":1,"stop":["s","t"],"meta":{"x":0,"y":{"w":3}},"nil":null}'


@pytest.mark.rows("D16", "D17")
def test_d16_d17_request_body_fills() -> None:
    assert sent(compiled(BODY), CLIENT) == {
        "temperature": 0.1,
        "stop": ["s", "t"],
        "meta": {"x": 0, "y": {"w": 3, "z": 2}},
        "nil": None,
        "max_completion_tokens": 5,
        "extra": {"q": None},
    }


@pytest.mark.rows("D29", "D30")
def test_d29_d30_request_body_forced_wins_over_llm_options() -> None:
    assert sent(compiled(BODY + "  request_body_force_override: true"), CLIENT) == {
        "temperature": 0.9,
        "stop": ["a"],
        "meta": {"x": 1, "y": {"w": 3, "z": 2}},
        "nil": None,
        "max_completion_tokens": 6,
        "extra": {"q": None},
    }


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.recursive(st.none() | st.integers(0, 3) | st.just("s"), lambda x: st.lists(x, max_size=2)
                     | st.dictionaries(st.sampled_from("abc"), x, max_size=3), max_leaves=6),
    ),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
@pytest.mark.rows("A17", "B10")
def test_b10_the_route_is_not_changed_by_requests_nor_requests_by_the_route(body: dict[str, Any], force: bool) -> None:
    patch = {"a": {"b": {"c": 1}, "l": [1]}, "b": [1, {"c": 2}], "c": 3}
    override = {"request_body": {"openai_chat": patch}, "request_body_force_override": force}
    route = compiled({"provider": "openai", "auth": "none", "options": {"a": {"b": 1}}, "override": override})
    before = msgspec.json.encode([route.request_body, route.options])
    given_body, text = json.loads(json.dumps(body)), json.dumps(body)
    first = msgspec.json.encode(apply(route, given_body, "openai_chat"))
    assert given_body == body
    assert sent(route, text) == sent(route, text) == json.loads(first)
    assert msgspec.json.encode([route.request_body, route.options]) == before
