from __future__ import annotations

from typing import Any

import pytest
import yaml

from extproc import Translation
from extproc.check import check
from extproc.importers import convert

from .plugins import HEADER, parts

GUARD: dict[str, Any] = {"match_all_roles": True, "deny_patterns": ["bad.*word"], "allow_patterns": ["please"]}
TEMPLATE: dict[str, Any] = {
    "templates": [{"name": "ask", "template": {"model": "m", "messages": [{"role": "user", "content": "{{x}}"}]}}]
}
AROUND: dict[str, Any] = {"prepend": [{"role": "system", "content": "be brief"}]}

REWRITE: dict[str, Any] = {
    "prompt": "translate", "provider": "openai", "auth": {"header": {"Authorization": "Bearer ${OPENAI_API_KEY}"}},
    "options": {"model": "gpt-5.4-mini", "temperature": 0}, "timeout": 5000, "ssl_verify": True, "keepalive": True,
}  # fmt: skip
REWRITTEN: dict[str, Any] = {
    "prompt": "translate", "provider": "openai", "auth": {"header": {"Authorization": "Bearer ${OPENAI_API_KEY}"}},
    "options": {"model": "gpt-5.4-mini", "temperature": 0}, "timeout": 5.0,
}  # fmt: skip
RAG: dict[str, Any] = {
    "embeddings_provider": {"openai": {
        "endpoint": "https://api.openai.com/v1/embeddings", "api_key": "${OPENAI_API_KEY}", "dimensions": 256}},
    "vector_search_provider": {"azure-ai-search": {
        "endpoint": "https://ours.search.windows.net/indexes/docs/docs/search?api-version=2024-07-01",
        "api_key": "${SEARCH_KEY}", "fields": "vec", "select": "text", "exhaustive": True}},
}  # fmt: skip
FOUND: dict[str, Any] = {
    "embeddings": {
        "provider": "openai-compatible", "auth": {"header": {"authorization": "Bearer ${OPENAI_API_KEY}"}},
        "override": {"endpoint": "https://api.openai.com/v1/embeddings"},
        "options": {"model": "text-embedding-3-large", "dimensions": 256},
    },
    "top_k": 5,
    "search": {
        "kind": "azure_ai_search", "endpoint": "https://ours.search.windows.net", "index": "docs",
        "api_key": "${SEARCH_KEY}", "vector_field": "vec", "text_field": "text",
    },
}  # fmt: skip
ALIYUN: dict[str, Any] = {
    "endpoint": "https://green-cip.cn-shanghai.aliyuncs.com", "region_id": "cn-shanghai",
    "access_key_id": "${ALIYUN_ID}", "access_key_secret": "${ALIYUN_SECRET}", "check_response": True,
    "risk_level_bar": "medium", "request_check_roles": ["user", "tool"], "stream_check_mode": "realtime",
    "keepalive_timeout": 60000,
}  # fmt: skip
MODERATED: dict[str, Any] = {
    "provider": "aliyun", "region_id": "cn-shanghai", "endpoint": "https://green-cip.cn-shanghai.aliyuncs.com",
    "risk_level_bar": "medium", "check_response": True, "access_key_id": "${ALIYUN_ID}",
    "access_key_secret": "${ALIYUN_SECRET}", "match_all_conversation_history": False, "match_all_roles": False,
    "tool_results": True, "max_chars": 2000, "stream_check_mode": "realtime", "stream_check_interval": 128,
    "fail": "open", "timeout": 10.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "SEARCH_KEY", "ALIYUN_ID", "ALIYUN_SECRET", "ALIYUN_API_KEY", "ALIYUN_API_KEY_2"):
        monkeypatch.setenv(name, "x")


def turned(**plugins: Any) -> tuple[Any, list[str]]:
    route = {"id": "r1", "uri": "/*", "plugins": {"ai-proxy": {"provider": "openai", "auth": HEADER}, **plugins}}
    made = convert("apisix", yaml.safe_dump(route).encode())
    assert not [item for item in check(made.yaml) if item.severity == "error"], list(map(str, check(made.yaml)))
    found, _, _ = parts(made)
    level = yaml.safe_load(found.get("metadata", {}).get("filter_metadata", {}).get("extproc", {}).get("route", "{}"))
    return level.get("policies"), made.notes


@pytest.mark.parametrize(
    ("plugins", "policies"),
    [
        ({}, None),
        ({"ai-prompt-decorator": AROUND}, [{"prompt_decorator": AROUND}]),
        ({"ai-prompt-template": TEMPLATE}, [{"prompt_template": TEMPLATE}]),
        ({"ai-prompt-guard": GUARD}, [{"prompt_guard": {**GUARD, "deny_code": 400}}]),
        ({"ai-request-rewrite": REWRITE}, [{"request_rewrite": REWRITTEN}]),
        ({"ai-rag": RAG}, [{"rag": FOUND}]),
        ({"ai-aliyun-content-moderation": ALIYUN}, [{"moderation": MODERATED}]),
        (
            {"ai-rag": RAG, "ai-aliyun-content-moderation": ALIYUN, "ai-request-rewrite": REWRITE},
            [{"request_rewrite": REWRITTEN}, {"rag": FOUND}, {"moderation": MODERATED}],
        ),
        (
            {"ai-prompt-decorator": AROUND, "ai-prompt-template": TEMPLATE, "ai-prompt-guard": GUARD},
            [
                {"prompt_template": TEMPLATE},
                {"prompt_decorator": AROUND},
                {"prompt_guard": {**GUARD, "deny_code": 400}},
            ],
        ),
        (
            {"ai-request-rewrite": REWRITE, "ai-prompt-template": TEMPLATE},
            [{"prompt_template": TEMPLATE}, {"request_rewrite": REWRITTEN}],
        ),
    ],
)
def test_plugins_become_policies(plugins: dict[str, Any], policies: Any) -> None:
    """In the order in which APISIX runs them: some before all others, whatever their priorities."""
    found, notes = turned(**plugins)
    assert found == policies and not any("no equivalent" in note or "ai-prompt-guard" in note for note in notes)
    if policies:
        Translation("openai_chat", "openai_chat", route={"provider": "openai", "auth": "none", "policies": policies})


def test_what_they_have_and_we_do_not_is_said() -> None:
    _, notes = turned(**{"ai-prompt-decorator": {**AROUND, "other": 1}})
    assert any("plugins.ai-prompt-decorator.other" in note for note in notes)


def test_patterns_that_are_none_here_are_named() -> None:
    plugin = {"deny_patterns": ["fine", "(?!x)y"]}
    made = convert("apisix", yaml.safe_dump({"id": "r1", "uri": "/*", "plugins": {
        "ai-proxy": {"provider": "openai", "auth": HEADER}, "ai-prompt-guard": plugin}}).encode())  # fmt: skip
    assert [note for note in made.notes if "deny_patterns[1]" in note and "RE2" in note]


def test_secrets_that_are_written_into_a_plugin_are_not_kept() -> None:
    plugin = {**ALIYUN, "access_key_id": "AKID", "access_key_secret": "SECRET"}
    found, notes = turned(**{"ai-aliyun-content-moderation": plugin})
    members = found[0]["moderation"]
    assert (members["access_key_id"], members["access_key_secret"]) == ("${ALIYUN_API_KEY}", "${ALIYUN_API_KEY_2}")
    assert sum("access_key" in note and "sidecar's environment" in note for note in notes) == 2


@pytest.mark.parametrize(
    ("plugin", "members", "says"),
    [
        ("ai-request-rewrite", {**REWRITE, "options": None}, "options.model: names no model"),
        ("ai-request-rewrite", {**REWRITE, "ssl_verify": False}, "ssl_verify: the sidecar verifies"),
        ("ai-request-rewrite", {**REWRITE, "colour": 1}, "ai-request-rewrite.colour: has no equivalent"),
        ("ai-rag", {**RAG, "rerank_provider": {"cohere": {}}}, "ai-rag.rerank_provider: has no equivalent"),
        (
            "ai-rag",
            {
                "embeddings_provider": {"azure_openai": {
                    "endpoint": "https://o.openai.azure.com/openai/deployments/e/embeddings?api-version=1",
                    "api_key": "${OPENAI_API_KEY}"}},
                "vector_search_provider": {"azure_ai_search": {
                    "endpoint": "https://ours.search.windows.net", "api_key": "${SEARCH_KEY}"}},
            },
            "what a client says in ai_rag is not read here",
        ),
        ("ai-aliyun-content-moderation", {**ALIYUN, "stream_check_interval": 3}, "is counted in characters here"),
        ("ai-aliyun-content-moderation", {**ALIYUN, "request_check_roles": ["system"]}, "everybody's words"),
        ("ai-aliyun-content-moderation",
         {**ALIYUN, "request_check_length_limit": 9000, "response_check_length_limit": 9000},
         "request_check_length_limit: is 200 to 2000"),
        ("ai-aliyun-content-moderation", {**ALIYUN, "request_check_length_limit": 20}, "limit: is 200 to 2000"),
        ("ai-prompt-template", TEMPLATE, "a request that names no template goes on"),
        ("ai-aws-content-moderation", {"comprehend": {}}, "bedrock_guardrail"),
        ("ai-content-moderation", {"provider": {"aws_comprehend": {}}}, "bedrock_guardrail"),
        ("ai-lakera-guard", {"api_key": "x"}, "provider webhook"),
        ("ai-cache", {}, "ai-cache: has no equivalent"),
    ],
)  # fmt: skip
def test_what_is_not_quite_the_same_is_said(plugin: str, members: dict[str, Any], says: str) -> None:
    _, notes = turned(**{plugin: members})
    assert [note for note in notes if says in note], notes


def test_who_rewrites_does_not_see_what_is_added() -> None:
    _, notes = turned(**{"ai-prompt-decorator": AROUND, "ai-request-rewrite": REWRITE})
    assert any("without what ai-prompt-decorator adds" in note for note in notes)
