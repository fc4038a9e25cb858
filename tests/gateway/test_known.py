from __future__ import annotations

import pytest

from extproc.gateway.known import KNOWN, base_path, known
from extproc.providers import PROVIDERS


def test_it_is_about_providers_that_there_are() -> None:
    assert set(KNOWN) <= set(PROVIDERS)
    assert known("openai-compatible").patterns == () and known("nobody").sample == ""


@pytest.mark.parametrize("name", KNOWN)
def test_a_provider_can_be_tried(name: str) -> None:
    assert KNOWN[name].sample
    assert all(pattern.count("*") == 1 for pattern in KNOWN[name].patterns)


@pytest.mark.parametrize(
    ("provider", "dialect", "path"),
    [
        ("openai", "openai_chat", "/v1"),
        ("openai", "openai_responses", "/v1"),
        ("deepseek", "openai_chat", ""),
        ("openrouter", "openai_chat", "/api/v1"),
        ("anthropic", "anthropic_messages", ""),
        ("azure-anthropic", "anthropic_messages", "/anthropic"),
        ("azure-openai", "openai_chat", "/openai/v1"),
        ("gemini", "gemini", None),
        ("bedrock", "bedrock_converse", None),
    ],
)
def test_the_path_of_an_sdks_base_url(provider: str, dialect: str, path: str | None) -> None:
    assert base_path(provider, dialect) == path
