from __future__ import annotations

import pytest

from extproc.llm import signers


@pytest.mark.parametrize(
    ("provider", "model", "signer"),
    [
        ("anthropic", "claude-opus-4-7", signers.CLAUDE),
        ("openai-compatible", "us.anthropic.CLAUDE-x", signers.CLAUDE),
        ("azure-anthropic", "our-deployment", signers.CLAUDE),
        ("anthropic", "MiniMax-M3", "minimax-messages-v1"),
        ("openai-compatible", "MiniMax-M3", "minimax-messages-v1"),
        ("openai-compatible", "fireworks/Kimi-k2.5", "kimi-messages-v1"),
        ("openai-compatible", "42", "unknown-messages-v1"),
    ],
)
def test_whose_signature_it_is(provider: str, model: str, signer: str) -> None:
    assert signers.signer(provider, model) == signer
    assert signers.is_claude(provider, model) == (signer == signers.CLAUDE)
