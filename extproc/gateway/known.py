"""What ``extproc run`` takes for granted about a provider beyond its row in ``extproc/providers``: which models are its
own by their names, one to try it with, and where it differs from the row because clients of every API ask it."""

from __future__ import annotations

from typing import Any

from ..frozen import Frozen
from ..providers import PROVIDERS

OPERATIONS = {
    "openai_chat": "/chat/completions",
    "openai_responses": "/responses",
    "openai_embeddings": "/embeddings",
    "anthropic_messages": "/v1/messages",
}
"""What a vendor's SDK adds to its base URL, by the API."""


class KnownProvider(Frozen):
    """One provider, by the name of its row."""

    patterns: tuple[str, ...] = ()
    """Names of models that are its own."""
    sample: str = ""
    """A model to try it with."""
    url: str = ""
    """The variable by which its own SDK is told another base URL."""
    keys: tuple[str, ...] = ()
    """Other variables for the key, beside the one that stands in the row."""
    level: dict[str, Any] = {}
    """Members of the route where it differs from the row."""


_CLAUDE = ("claude-*",)
_GPT = ("gpt-*", "o1*", "o3*", "o4*")

KNOWN = {
    "openai": KnownProvider(
        ("gpt-*", "chatgpt-*", "o1*", "o3*", "o4*", "text-embedding-*"), "gpt-5.4-mini", "OPENAI_BASE_URL"
    ),
    "anthropic": KnownProvider(_CLAUDE, "claude-haiku-4-5", "ANTHROPIC_BASE_URL"),
    # Its own API, which takes the key in a header of its own, says more than its OpenAI-compatible one.
    "gemini": KnownProvider(
        ("gemini-*", "gemma-*"),
        "gemini-2.5-flash",
        "GOOGLE_GEMINI_BASE_URL",
        ("GOOGLE_API_KEY",),
        {"upstream": "gemini", "auth": {"header": {"x-goog-api-key": "${GEMINI_API_KEY}"}}},
    ),
    "deepseek": KnownProvider(("deepseek-*",), "deepseek-chat", "DEEPSEEK_BASE_URL"),
    "openrouter": KnownProvider((), "openrouter/auto", "OPENROUTER_BASE_URL"),
    "azure-openai": KnownProvider(_GPT, "gpt-5.4-mini"),
    "azure-anthropic": KnownProvider(_CLAUDE, "claude-haiku-4-5"),
    "bedrock": KnownProvider(("amazon.*", "anthropic.*", "us.*", "eu.*", "global.*"), "amazon.nova-lite-v1:0"),
    "bedrock-anthropic": KnownProvider(_CLAUDE, "claude-haiku-4-5"),
    "vertex-ai": KnownProvider(("gemini-*",), "gemini-2.5-flash", level={"upstream": "gemini"}),
    "vertex-anthropic": KnownProvider(_CLAUDE, "claude-haiku-4-5"),
}
NOTHING = KnownProvider()


def known(provider: str) -> KnownProvider:
    """What is known of *provider*."""
    return KNOWN.get(provider, NOTHING)


def base_path(provider: str, dialect: str) -> str | None:
    """The path of the base URL that an SDK has for *dialect* at *provider*; ``None`` where it is not made so."""
    path, operation = PROVIDERS[provider].dialects[dialect].path, OPERATIONS.get(dialect)
    return path.removesuffix(operation) if operation and path.endswith(operation) else None
