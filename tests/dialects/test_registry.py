"""Which API a request speaks, and where on a host it is."""

from __future__ import annotations

import pytest

from extproc.dialects import REGISTRY, detect

MOUNTED = {"anthropic_messages": "/anthropic", "openai_chat": "", "bedrock_converse": "/aws"}


@pytest.mark.rows("F1")
@pytest.mark.parametrize("prefix", ["", "/anthropic", "/any/where"])
def test_without_prefixes_an_api_is_recognised_behind_any(prefix: str) -> None:
    assert detect(f"{prefix}/v1/messages?beta=true", b"") == "anthropic_messages"
    assert detect(f"{prefix}/v1/chat/completions", b"") == "openai_chat"


@pytest.mark.rows("F2")
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/anthropic/v1/messages", "anthropic_messages"),
        ("/anthropic/v1/messages/count_tokens?beta=true", "anthropic_messages"),
        ("/v1/messages", None),
        ("/anthropic/anthropic/v1/messages", None),
        ("/anthropicc/v1/messages", None),
        ("/other/anthropic/v1/messages", None),
        ("/v1/chat/completions", "openai_chat"),
        ("/chat/completions", "openai_chat"),
        ("/v1/chat/completions/", "openai_chat"),
        ("/anthropic/v1/chat/completions", None),
        ("/openai/deployments/x/chat/completions", None),
        ("/aws/model/a%2Fb/converse-stream", "bedrock_converse"),
        ("/model/a/converse", None),
        ("/aws/model/a/b/converse", None),
        ("/wherever/v1/responses", "openai_responses"),
    ],
)
def test_with_a_prefix_only_there(path: str, name: str | None) -> None:
    assert detect(path, b'{"messages":[]}', MOUNTED) == name


@pytest.mark.rows("F2")
def test_a_body_does_not_bring_back_what_a_prefix_took_away() -> None:
    body = b'{"messages":[],"model":"m"}'
    assert detect("/anything", body) == "openai_chat"
    assert detect("/anything", body, {"openai_chat": ""}) is None


@pytest.mark.parametrize("name", REGISTRY)
def test_every_api_is_found_at_its_root(name: str) -> None:
    stem = "/model/m" if name == "bedrock_converse" else ""
    for end in REGISTRY[name].paths:
        assert detect(stem + end, b"", dict.fromkeys(REGISTRY, "")) == name
