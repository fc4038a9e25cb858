from __future__ import annotations

import json
import re
from typing import Any

import pytest

from extproc.providers import DIALECTS
from extproc.route import RouteError
from extproc.route.model import ENVOY_OWNS
from extproc.route.route import Logged

from .routes import OPENAI, compiled, problem


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
         "other_paths, forward, policies, usage, duration, endpoints, logging, metadata, prices"),
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
         "openai_responses, openai_embeddings, openai_endpoints"),
        ([OPENAI + "client: openai"],
         "route: client: unknown dialect 'openai'; did you mean 'openai_chat'? Choose one of: openai_chat, "
         "anthropic_messages, openai_responses, bedrock_converse, gemini, anthropic_bedrock, anthropic_vertex, "
         "openai_embeddings, gemini_embeddings, vertex_predict, titan_embeddings, nova_embeddings, "
         "cohere_embeddings, cohere_bedrock, openai_endpoints, anthropic_endpoints, gemini_endpoints"),
        ([OPENAI + "endpoints: [filez]"],
         "route: endpoints.0: unknown endpoint 'filez'; did you mean 'files'? Choose one of: images, audio, "
         "moderations, completions, rerank, score, classify, pooling, tokenize, compact, realtime, files, uploads, "
         "batches, fine_tuning, videos, vector_stores, containers, evals, conversations, responses, chat, skills, "
         "caches, operations, or say all or none"),
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
         "summaries, payloads, span_content, redact; route: unknown key 'logging.b'; choose one of: "
         "summaries, payloads, span_content, redact; "
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
