from __future__ import annotations

import pytest

from extproc import capabilities
from extproc.providers import DIALECTS, PROVIDERS, native_to

CHAT = "/v1/chat/completions"
TABLE = {
    "openai": [
        ("openai_chat", CHAT, "max_completion_tokens"),
        ("openai_responses", "/v1/responses", "max_output_tokens"),
        ("openai_embeddings", "/v1/embeddings", None),
    ],
    "openai-compatible": [
        ("openai_chat", CHAT, "max_tokens"),
        ("openai_responses", "/v1/responses", "max_output_tokens"),
        ("openai_embeddings", "/v1/embeddings", None),
        ("anthropic_messages", "/v1/messages", "max_tokens"),
    ],
    "azure-openai": [
        ("openai_chat", "/openai/v1/chat/completions", "max_tokens"),
        ("openai_embeddings", "/openai/v1/embeddings", None),
    ],
    "azure-anthropic": [("anthropic_messages", "/anthropic/v1/messages", "max_tokens")],
    "deepseek": [("openai_chat", "/chat/completions", "max_tokens")],
    "aimlapi": [("openai_chat", CHAT, "max_tokens"), ("openai_embeddings", "/v1/embeddings", None)],
    "openrouter": [
        ("openai_chat", "/api/v1/chat/completions", "max_tokens"),
        ("openai_embeddings", "/api/v1/embeddings", None),
    ],
    "gemini": [
        ("openai_chat", "/v1beta/openai/chat/completions", "max_completion_tokens"),
        ("openai_embeddings", "/v1beta/openai/embeddings", None),
    ],
    "bedrock": [("openai_chat", "/openai/v1/chat/completions", "max_completion_tokens")],
    "vertex-ai": [
        (
            "openai_chat",
            "/v1/projects/{project_id}/locations/{region}/endpoints/openapi/chat/completions",
            "max_completion_tokens",
        )
    ],
    "anthropic": [("anthropic_messages", "/v1/messages", "max_tokens"), ("openai_chat", CHAT, "max_tokens")],
}


def test_d1_d28_the_whole_table() -> None:
    found = {name: [(d, e.path, e.max_tokens) for d, e in row.dialects.items()] for name, row in PROVIDERS.items()}
    assert found == TABLE


def test_every_dialect_of_a_row_may_be_named_by_a_route() -> None:
    assert {dialect for row in PROVIDERS.values() for dialect in row.dialects} <= set(DIALECTS)


def test_every_dialect_that_is_built_may_be_named_by_a_route() -> None:
    from extproc import dialects

    assert set(dialects.REGISTRY) <= set(DIALECTS)


@pytest.mark.parametrize("name", [name for name, row in PROVIDERS.items() if "openai_chat" in row.dialects])
def test_d28_a_translated_request_names_its_limit_as_the_route_would(name: str) -> None:
    row = capabilities.packaged().find(name, "some-model")
    assert row.token_field == PROVIDERS[name].dialects["openai_chat"].max_tokens


def test_only_openai_compatible_may_do_without_auth() -> None:
    assert [name for name, row in PROVIDERS.items() if not row.auth_required] == ["openai-compatible"]


@pytest.mark.parametrize(
    ("dialect", "provider"),
    [("openai_chat", "openai"), ("anthropic_messages", "anthropic"), ("openai_responses", "openai"),
     ("bedrock_converse", "openai-compatible")],
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
