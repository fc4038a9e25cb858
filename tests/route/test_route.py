from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extproc import dialects
from extproc.providers import DIALECTS, PROVIDERS
from extproc.route import Route, RouteError, compile_route
from extproc.route import compile as module
from extproc.route.compile import MAX_CACHED
from extproc.route.model import ENVOY_OWNS
from extproc.route.route import Logged

ENV = {"KEY": "sk-secret", "OTHER": "sk-other", "HOST": "h.example", "TWO": "a\nb", "EURO": "\u20ac"}


def compiled(*levels: Any) -> Route:
    return compile_route(levels, environ=ENV)


def problem(*levels: Any) -> str:
    with pytest.raises(RouteError) as caught:
        compiled(*levels)
    return str(caught.value)


def raw(body: str) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return members


def apply(route: Route, members: dict[str, Any], name: str) -> dict[str, Any]:
    """What a request of dialect *name* becomes on its way to an upstream of the same dialect."""
    dialect = dialects.get(name)
    if route.model and route.model != dialect.peek("", members).model:
        members = dialect.rename("", members, route.model)[1]
    return route.apply(members, name, dialect.limits)


def whole_path(route: Route, path: str, client_path: str, *, passthrough: bool = False) -> str:
    """The path as it is sent."""
    seen, secret = route.query(path, client_path, passthrough=passthrough)
    return f"{seen}{'&' if '?' in seen else '?'}{secret}" if secret else seen


def sent(route: Route, body: str, dialect: str = "openai_chat") -> Any:
    return json.loads(msgspec.json.encode(apply(route, raw(body), dialect)))


# ---- reading


@pytest.mark.parametrize(
    "source",
    [
        "{provider: openai, options: {model: gpt-4, temperature: 0.5},"
        " auth: {header: {Authorization: 'Bearer ${KEY}'}}}",
        '{"provider": "openai", "options": {"model": "gpt-4", "temperature": 0.5},'
        ' "auth": {"header": {"Authorization": "Bearer ${KEY}"}}}',
        "provider: openai\noptions:\n  model: gpt-4\n  temperature: 0.5\nauth:\n  header:\n"
        "    Authorization: Bearer ${KEY}\n",
        {
            "provider": "openai",
            "options": {"model": "gpt-4", "temperature": "0.5"},
            "auth": {"header": {"Authorization": "Bearer ${KEY}"}},
        },
    ],
)
def test_text_and_struct_say_the_same(source: Any) -> None:
    route = compiled(source)
    assert (route.provider.name, route.model, route.options) == ("openai", "gpt-4", {"temperature": 0.5})
    assert route.credentials() == [("authorization", "Bearer sk-secret")]
    assert (route.client, route.upstream, route.losses) == (None, None, "allow")


def test_every_key() -> None:
    route = compiled(
        """
        provider: vertex_ai
        provider_conf: {project_id: 42, region: eu-west1}
        client: anthropic-messages
        upstream: openai-chat
        auth: {header: {Authorization: 'Bearer ${KEY}'}, query: {k: '${OTHER}'}}
        options: {stop: [x]}
        override:
          endpoint: https://${HOST}/p?q=1
          llm_options: {max_tokens: 5}
          request_body: {openai-chat: {user: u}}
          request_body_force_override: true
        losses: reject
        quirks: {image: false}
        max_request_bytes: 10
        max_response_bytes: 20
        prefixes: {anthropic-messages: /anthropic/, openai_chat: ''}
        logging: {summaries: true}
        """
    )
    assert route.provider.name == "vertex-ai"
    assert route.provider_conf == {"project_id": "42", "region": "eu-west1"}
    assert (route.client, route.upstream) == ("anthropic_messages", "openai_chat")
    assert route.prefixes == {"anthropic_messages": "/anthropic", "openai_chat": ""}
    assert (route.max_request_bytes, route.max_response_bytes, route.losses) == (10, 20, "reject")
    assert (route.quirks, route.logging) == ({"image": False}, Logged(summaries=True))
    assert (route.max_tokens, route.force_request_body) == (5, True)
    assert route.request_body == {"openai_chat": {"user": "u"}}
    assert "sk-" not in repr(route) and "q=1" not in repr(route.endpoint)


def test_a_root_stands_before_the_prefix_of_every_api() -> None:
    """As `rootPrefix` of Envoy AI Gateway, beside the prefixes of its endpoints."""
    route = compiled(OPENAI + "prefixes: {root: /llm/, anthropic-messages: /anthropic}")
    assert set(route.prefixes) == set(dialects.REGISTRY)
    assert route.prefixes["anthropic_messages"] == "/llm/anthropic" and route.prefixes["openai_chat"] == "/llm"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ('{"temperature": "1e-1", "top_k": "40", "stream": "True"}',
         {"temperature": 0.1, "top_k": 40, "stream": True}),
        ('{"temperature": "1", "stop": "5", "user": "7"}', {"temperature": 1, "stop": "5", "user": "7"}),
        ('{"temperature": null, "seed": 5}', {"temperature": None, "seed": 5}),
        ("{cutoff: 2024-10-21, effort: on, time: 1:30, zero: 007}",
         {"cutoff": "2024-10-21", "effort": "on", "time": "1:30", "zero": 7}),
    ],
)  # fmt: skip
def test_option_values(text: str, options: dict[str, Any]) -> None:
    found = compiled(f"{{provider: openai, auth: none, options: {text}}}").options
    assert found == options
    assert [type(value) for value in found.values()] == [type(value) for value in options.values()]


OPENAI = "provider: openai\nauth: none\n"
LIST = (
    "openai, azure-openai, deepseek, aimlapi, anthropic, azure-anthropic, openrouter, gemini, vertex-ai, bedrock, "
    "bedrock-anthropic, vertex-anthropic, cohere, "
    "openai-compatible"
)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([""], f"route: provider: no level names one; choose one of: {LIST}"),
        ([None, None, None], f"route: provider: no level names one; choose one of: {LIST}"),
        (["provider: opnai"],
         f"route: provider: unknown provider 'opnai'; did you mean 'openai'? Choose one of: {LIST}"),
        ([OPENAI, None, "provider: x"], f"endpoint: provider: unknown provider 'x'; choose one of: {LIST}"),
        ([OPENAI, "optoins: {}"],
         "cluster: unknown key 'optoins'; did you mean 'options'? Choose one of: provider, provider_conf, client, "
         "upstream, auth, options, override, losses, quirks, max_request_bytes, max_response_bytes, prefixes, "
         "other_paths, forward, policies, usage, logging, metadata"),
        ([OPENAI + "override: {llm_options: {max_token: 1}}"],
         "route: unknown key 'override.llm_options.max_token'; did you mean 'max_tokens'? Choose one of: max_tokens"),
        ([OPENAI + "override: {llm_options: {max_tokens: 0}}"],
         "route: override.llm_options.max_tokens: expected at least 1"),
        ([OPENAI + "override: {llm_options: {max_tokens: many}}"],
         "route: override.llm_options.max_tokens: expected a whole number"),
        ([OPENAI + "losses: ignore"], "route: losses: choose one of: allow, report, reject"),
        ([OPENAI + "options: []"], "route: options: expected a mapping"),
        ([OPENAI + "options: {model: 4}"], "route: options.model: expected the name of a model"),
        ([OPENAI + "options: {top_p: high}"], "route: options.top_p: expected a number"),
        ([OPENAI + "options: {top_p: nan}"], "route: options.top_p: expected a number"),
        ([OPENAI + "options: {stream: maybe}"], "route: options.stream: expected true or false"),
        ([OPENAI + "override: {request_body: {openai-chat: {seed: x}}}"],
         "route: override.request_body.openai_chat.seed: expected a number"),
        ([OPENAI + "quirks: {top_k: some}"], "route: quirks: Expected `bool`, got `str` - at `$.top_k`"),
        ([OPENAI + "prefixes: {openai_chat: x}"], "route: prefixes.openai_chat: a prefix is empty or starts with `/`"),
        ([OPENAI + "prefixes: {root: x}"], "route: prefixes: `root` is empty or starts with `/`"),
        ([OPENAI + "prefixes: {root: /x, chat: /y}"], "route: prefixes.chat: unknown dialect 'chat'; "
         f"choose one of: {', '.join(DIALECTS)}"),
        ([OPENAI + "timeout: 30000"],
         "route: timeout: this is Envoy's; set the route's `timeout`, `retry_policy.per_try_timeout` and the cluster's "
         "`connect_timeout`"),
        ([OPENAI + "ssl_verify: false"],
         "route: ssl_verify: this is Envoy's; set the cluster's `transport_socket` (`validation_context` of its "
         "`UpstreamTlsContext`)"),
        (["provider: openai"],
         "route: auth: provider openai needs one, beside `provider`: auth: {header: {Authorization: 'Bearer "
         "${OPENAI_API_KEY}'}}, or `auth: none` when Envoy adds the credential"),
        (["{provider: openai, auth: }"], "route: auth: expected `none` or a mapping with header, query, gcp or aws"),
        (["{provider: openai, auth: {header: {}}}"],
         "route: auth: names no credential; give header, query, gcp or aws, or `auth: none`"),
        (["{provider: openai, auth: {gcp: {}}}"],
         "route: auth.gcp.service_account_json: environment variable GCP_SERVICE_ACCOUNT is not set"),
        (["{provider: openai, auth: {header: {X-Key: 5}}}"], "route: auth.header.X-Key: expected text (quote it)"),
        (["{provider: openai, auth: {header: {X-Key: a, x-key: b}}}"],
         "route: auth.header: x-key is given twice: the case of a header's name says nothing"),
        (["{provider: openai, auth: {header: {'a b': c}}}"], "route: auth.header: 'a b' is not a header's name"),
        (["{provider: openai, auth: {header: {Host: c}}}"],
         "route: auth.header: Host is not a credential's header: it is set by the gateway or by Envoy"),
        (["{provider: openai, auth: {header: {x-api-key: '${NOPE}'}}}"],
         "route: auth.header.x-api-key: environment variable NOPE is not set"),
        ([OPENAI, "auth: {query: {key: '${NOPE}'}}"], "cluster: auth.query.key: environment variable NOPE is not set"),
        (["{provider: openai, auth: {header: {x-api-key: '${TWO}'}}}"],
         "route: auth.header.x-api-key: environment variable TWO holds a line break or another control character"),
        (["{provider: openai, auth: {header: {x-api-key: '${EURO}'}}}"],
         "route: auth.header.x-api-key: the value holds characters that a header cannot carry"),
        ([OPENAI + "upstream: anthropic-messages"],
         "route: upstream: provider openai does not speak 'anthropic_messages'; choose one of: openai_chat, "
         "openai_responses, openai_embeddings"),
        ([OPENAI + "client: openai"],
         "route: client: unknown dialect 'openai'; did you mean 'openai_chat'? Choose one of: openai_chat, "
         "anthropic_messages, openai_responses, bedrock_converse, gemini, anthropic_bedrock, anthropic_vertex, "
         "openai_embeddings, gemini_embeddings, vertex_predict, titan_embeddings, nova_embeddings, "
         "cohere_embeddings, cohere_bedrock"),
        (["{provider: vertex-ai, auth: none}"],
         "route: provider_conf: provider vertex-ai needs project_id and region, or an override.endpoint with a path"),
        ([OPENAI + "override: {endpoint: 'ftp://h'}"],
         "route: override.endpoint: expected https://host[:port][/path][?query], or http://"),
        ([OPENAI + "override: {endpoint: 'https://u:p@h'}"],
         "route: override.endpoint: credentials belong into auth, not into the endpoint"),
        ([OPENAI + "override: {endpoint: 'https://h:x'}"], "route: override.endpoint: its host or port cannot be read"),
        ([OPENAI + "override: {endpoint: 'https://${NOPE}'}"],
         "route: override.endpoint: environment variable NOPE is not set"),
        ([OPENAI, "provider: openai\n\tx"],
         "cluster: not YAML or JSON: found character ... that cannot start any token (line 2, column 1)"),
        (["[openai]"], "route: expected a mapping such as {provider: openai, auth: none}"),
        (["{provider: openai, provider: gemini}"], "route: 'provider' is given twice"),
        (['{"auth": "none", "auth": "none"}'], "route: 'auth' is given twice"),
        (["a: &x [1]\nb: *x"], "route: not YAML or JSON: aliases are not allowed here (line 2, column 4)"),
        (["a: !!binary aGk="], "route: not YAML or JSON: tags are not allowed here (line 1, column 4)"),
        (["x" * 70000], "route: the text is longer than 65536 characters"),
        (['{"options": {"a": NaN}}'], "route: not YAML or JSON: a number that no JSON number can be"),
        ([{"options": {"a": {1: 2}}}], "route: options.a: a key is not text"),
        ([{"options": {"a": [object()]}}], "route: options.a[0]: object is not a kind of JSON value"),
        ([{"options": {"a": 2**70}}], "route: options.a: the number does not fit into 64 bits"),
        (["[" * 5000], "route: nested deeper than 32 levels"),
        ([{"options": {"a": json.loads("[" * 100 + "]" * 100)}}],
         "route: options.a" + "[0]" * 31 + ": nested deeper than 32 levels"),
        ([OPENAI + "losses: x\nfoo: 1\nlogging: {a: 1, b: 2}"],
         "route: losses: choose one of: allow, report, reject; route: unknown key 'logging.a'; choose one of: "
         "summaries, payloads, redact; route: unknown key 'logging.b'; choose one of: summaries, payloads, redact; "
         "and 1 more"),
    ],
)  # fmt: skip
@pytest.mark.rows("D2", "D3", "D4", "D5")
def test_each_error_says_where_and_what(levels: list[Any], message: str) -> None:
    assert problem(*levels) == message


@pytest.mark.parametrize("name", sorted(ENVOY_OWNS))
@pytest.mark.rows("B24")
def test_what_envoy_owns_is_refused_with_envoys_field(name: str) -> None:
    assert problem({"provider": "openai", "auth": "none", name: 1}).startswith(f"route: {name}: this is Envoy's; set ")


@pytest.mark.parametrize(
    "text",
    [
        "{provider: openai, auth: {header: {Authorization: 'Bearer sk-plain'}}, oops: 1}",
        "{provider: openai, auth: {header: {Authorization: ['sk-plain']}}}",
        "{provider: openai, auth: {header: {Authorization: 'sk-plain'",
        "{provider: openai, auth: {header: {Authorization: 'sk-plain\\n\u0001'}}}",
        '{provider: openai, auth: {header: {Authorization: "sk-plain\\n"}}}',
        "{provider: openai, auth: {header: {Authorization: '${sk-plain}'}}}",
        "{provider: openai, auth: {header: {Authorization: *sk-plain}}}",
        "{provider: openai, auth: none, override: {endpoint: 'https://h/ ?key=sk-plain'}}",
        "{provider: openai, auth: {header: {Authorization: '${KEY}${TWO}'}}}",
    ],
)
def test_no_error_shows_a_secret(text: str) -> None:
    message = problem(text)
    assert "sk-" not in message and "a\nb" not in message


# ---- levels


def test_levels_are_laid_over_each_other() -> None:
    route = compiled(
        "{client: anthropic_messages, losses: report, options: {model: m, temperature: 1, a: {x: 1, y: 2}}}",
        "{provider: openai, auth: {header: {Authorization: '${KEY}'}}, options: {a: {y: 3}}}",
        "{options: {temperature: null}, losses: reject}",
    )
    assert (route.client, route.losses, route.model) == ("anthropic_messages", "reject", "m")
    assert route.options == {"temperature": None, "a": {"x": 1, "y": 3}}
    assert route.credentials() == [("authorization", "sk-secret")]


@pytest.mark.rows("D5")
def test_auth_is_never_merged_between_levels() -> None:
    below = "{provider: openai, auth: {header: {Authorization: '${KEY}'}, query: {k: v}}}"
    assert compiled(below, "auth: {header: {api-key: '${OTHER}'}}").credentials() == [("api-key", "sk-other")]
    assert compiled(below, "auth: {header: {api-key: '${OTHER}'}}").auth_query == ()
    assert compiled(below, "auth: none").credentials() == []
    assert compiled(below, "{provider: openai-compatible}").credentials() == []
    assert problem(below, None, "provider: openai").startswith("endpoint: auth: provider openai needs one")


def test_another_provider_drops_what_was_said_about_the_one_below() -> None:
    below = (
        "{provider: openai, auth: none, upstream: openai_responses, options: {model: gpt, temperature: 1},"
        " quirks: {image: false}, override: {endpoint: 'https://h/p', llm_options: {max_tokens: 1}}, losses: report}"
    )
    route = compiled(below, None, "{provider: anthropic, auth: none}")
    assert (route.model, route.options, route.upstream, route.quirks) == (None, {"temperature": 1}, None, {})
    assert (route.endpoint, route.max_tokens, route.losses) == (None, None, "report")
    same = compiled(below, None, "{provider: openai, auth: none}")
    assert (same.model, same.upstream, same.max_tokens) == ("gpt", "openai_responses", 1)


def test_a_provider_over_a_route_that_names_none_is_not_another_one() -> None:
    assert compiled("options: {model: gpt-4}", "{provider: openai, auth: none}").model == "gpt-4"


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


@pytest.mark.parametrize(
    ("forward", "problem"),
    [
        ("{headers: [Authorization]}", "authorization is a credential: what the upstream is to have stands in auth"),
        ("{headers: [x_api_key]}", "x-api-key is a credential: what the upstream is to have stands in auth"),
        ("{headers: [content-length]}", "content-length is set by the gateway or by Envoy"),
        ("{headers: ['*']}", "'*' is no name, and no beginning of names such as x-tenant-*"),
        ("{query: ['a*b']}", "'a*b' is no name, and no beginning of names such as x-tenant-*"),
    ],
)
def test_what_no_route_may_forward(forward: str, problem: str) -> None:
    with pytest.raises(RouteError, match=re.escape(problem)):
        compiled(f"{{provider: openai, auth: none, forward: {forward}}}")


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
    conf = {"project_id": "p", "region": "r"}
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


def test_a_null_of_the_clients_is_not_missing() -> None:
    route = compiled("{provider: openai, auth: none, override: {request_body: {openai_chat: {stop: [a], m: {x: 1}}}}}")
    assert sent(route, '{"stop":null,"m":"text"}') == {"stop": None, "m": "text"}


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


# ---- caching


@pytest.fixture
def fresh() -> Any:
    module._cache.clear()
    yield
    module._cache.clear()


def counting(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    real: Callable[..., Route] = module._compile

    def compile_counted(levels: Any, environ: Any, permitted: Any) -> Route:
        calls.append(levels)
        return real(levels, environ, permitted)

    monkeypatch.setattr(module, "_compile", compile_counted)
    return calls


@pytest.mark.replaces_code
@pytest.mark.usefixtures("fresh")
def test_compiled_once_per_distinct_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counting(monkeypatch)
    text = "{provider: openai, auth: none}"
    assert compile_route([text]) is compile_route([text])
    assert compile_route([dict(BASE)]) is compile_route([dict(BASE)])
    assert compile_route([None, text]) is not compile_route([text])
    assert len(calls) == 3


@pytest.mark.replaces_code
@pytest.mark.usefixtures("fresh")
def test_an_error_is_kept_too_but_not_its_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counting(monkeypatch)
    caught = []
    for _ in range(3):
        with pytest.raises(RouteError) as error:
            compile_route(["provider: nope"])
        caught.append(error.value)
    assert len(calls) == 1 and len({str(error) for error in caught}) == 1
    assert len({id(error) for error in caught}) == 3


@pytest.mark.usefixtures("fresh")
def test_an_error_about_a_file_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "key"
    text = f"{{provider: openai, auth: {{header: {{Authorization: 'Bearer ${{file:{path}}}'}}}}}}"
    with pytest.raises(RouteError, match=r"^route: auth.header.Authorization: file '.*/key': No such file"):
        compile_route([text])
    path.write_text("k1\n")
    route = compile_route([text])
    assert route.credentials() == [("authorization", "Bearer k1")]
    path.write_text("k2 is longer\n")
    assert compile_route([text]) is route and route.credentials() == [("authorization", "Bearer k2 is longer")]


@pytest.mark.usefixtures("fresh")
def test_the_cache_is_bounded() -> None:
    for i in range(MAX_CACHED + 10):
        module._cache.put((str(i),), "x")
    assert len(module._cache) == MAX_CACHED
    assert module._cache.get(("0",)) is None and module._cache.get((str(MAX_CACHED),)) == "x"


@pytest.mark.usefixtures("fresh")
def test_a_thousand_mixed_routes_in_one_process_do_not_grow_it() -> None:
    texts = [f"{{provider: openai, auth: none, options: {{model: m{i}}}}}" for i in range(100)]
    for text in texts:
        compile_route([text])
    gc.collect()
    before = len(gc.get_objects())
    for i in range(1000):
        assert compile_route([texts[i % 100]]).model == f"m{i % 100}"
    gc.collect()
    assert len(gc.get_objects()) - before < 200


# ---- fuzz

WORDS = [
    "provider", "auth", "options", "override", "endpoint", "request_body", "header", "query", "none", "openai", "model",
    "quirks", "token_field", "llm_options", "max_tokens", "openai-chat", "losses", "client", "prefixes", "logging",
    "provider_conf", "https://h/p?q", "${KEY}", "${file:/nope}", "${", "anthropic", "vertex-ai", "\ud800", "[key]",
]  # fmt: skip
SIGNS = [
    ": ", "{", "}", "[", "]", ", ", "\n", "  ", "- ", "'", '"', "&a ", "*a", "!!int ", "!x ", "<<", "? ", "|\n", "%",
    "---\n", "#", "1e999", ".5", "0x", "\\",
]  # fmt: skip
WORD = st.sampled_from(WORDS) | st.text(max_size=6)
ATOM = st.none() | st.booleans() | st.integers() | st.floats() | WORD | st.binary(max_size=2) | st.dates()
TREE = st.recursive(
    ATOM, lambda x: st.lists(x, max_size=3) | st.dictionaries(WORD | ATOM, x, max_size=4), max_leaves=12
)
BASE: dict[Any, Any] = {"provider": "openai", "auth": "none"}


@given(st.lists(st.dictionaries(WORD, TREE, max_size=5), max_size=3), st.booleans())
@settings(max_examples=300, deadline=None)
@example([{"override": {"endpoint": "https://[::1"}}], True)
@example([{"\n": b""}, {"\ud800": 1}], True)
@example([{"quirks": {"efforts": [{}]}}], True)
@example([{"auth": {"header": {"[key]": None}}}], True)
def test_no_mapping_raises_anything_but_a_route_error(levels: list[dict[Any, Any]], based: bool) -> None:
    try:
        route = compile_route([BASE | level if based else level for level in levels], environ=ENV)
    except RouteError as error:
        assert str(error).isprintable() and str(error).encode()
        return
    body = apply(route, {"model": "m"}, "openai_chat")
    msgspec.json.encode(body)
    whole_path(route, route.target("openai_chat").path, "/x?y=z")


@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS + SIGNS), max_size=14).map("".join))
@settings(max_examples=500, deadline=None)
@example("0b1: _")
@example("- ? \n")
def test_no_text_raises_anything_but_a_route_error(text: str) -> None:
    for levels in ([text], [OPENAI, text]):
        try:
            msgspec.json.encode(apply(compile_route(levels, environ=ENV), {}, "openai_chat"))
        except RouteError as error:
            assert str(error).isprintable() and str(error).encode()
