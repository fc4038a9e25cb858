"""Whose signature a block of thinking bears.

A provider takes back only what it signed itself; what another one signed is an error there, and since it stays in the
history, each request after it fails as well. So a label goes with every signature, through the client and back.
"""

from __future__ import annotations

import re
from typing import Final

OPENAI: Final = "openai-responses-v1"
"""Of OpenAI's own encrypted reasoning (``reader``): as OpenRouter's ``reasoning_details`` names it."""
CLAUDE: Final = "anthropic-claude-v1"
"""As OpenRouter's ``reasoning_details`` names the scheme of Claude's signatures."""

_CLAUDE_HOSTS: Final = frozenset({"anthropic", "azure-anthropic", "bedrock-anthropic", "vertex-anthropic"})
"""Providers that host nothing but Claude, under whatever name a deployment has."""
_OTHERS: Final = frozenset({
    "deepseek", "doubao", "ernie", "gemma", "glm", "gpt", "grok", "hunyuan", "kimi", "llama", "mimo", "minimax",
    "mistral", "moonshot", "nemotron", "qwen", "step",
})  # fmt: skip
"""How the names of other makers' models begin: an endpoint may be another's, whatever the provider is called."""
_WORD: Final = re.compile(r"[a-z]+")


def is_claude(provider: str, model: str) -> bool:
    """Whether *model* at *provider* is one of Anthropic's."""
    name = model.lower()
    return "claude" in name or (provider in _CLAUDE_HOSTS and _maker(name) not in _OTHERS)


def signer(provider: str, model: str) -> str:
    """The label of what *model* at *provider* signs, where it speaks the Messages API."""
    return CLAUDE if is_claude(provider, model) else f"{_maker(model.lower()) or 'unknown'}-messages-v1"


def reader(provider: str, model: str) -> str:
    """The label of the reasoning that *model* at *provider* encrypts, where it speaks OpenAI's Responses API: whoever
    hosts a model can read it, another host of the same model cannot."""
    host = _maker(model.lower()) or "unknown" if provider == "openai-compatible" else provider
    return f"{host}-responses-v1"


def _maker(name: str) -> str:
    """The first word of the model's own name, behind those who host it (``fireworks/minimax-m3``)."""
    found = _WORD.search(name.rsplit("/", 1)[-1])
    return found.group() if found else ""
