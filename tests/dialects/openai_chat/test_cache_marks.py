"""Cache marks on their way to servers of this API: some hand them on to Claude, the others cache by themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Call, Translation

MARK = {"type": "ephemeral"}


def text(said: str, mark: Any = MARK) -> dict[str, Any]:
    return {"type": "text", "text": said, **({"cache_control": mark} if mark else {})}


def sent(body: dict[str, Any], **route: Any) -> tuple[dict[str, Any], list[str]]:
    t = Translation("anthropic_messages", "openai_chat", route={"auth": "none", **route}, now=0)
    made = t.request(json.dumps({"model": "anthropic/claude-opus-5-5", "max_tokens": 9, **body}).encode())
    assert isinstance(made, Call)
    return json.loads(made.body), [str(loss) for loss in t.losses]


BODY = {
    "system": [text("s")],
    "messages": [
        {"role": "user", "content": [text("a", None), text("b", {"type": "ephemeral", "ttl": "1h"})]},
        {"role": "assistant", "content": [text("c", None)]},
        {"role": "user", "content": [text("d")]},
    ],
}
KNOWS: list[dict[str, Any]] = [
    {"provider": "openrouter"},
    {"provider": "openai-compatible", "quirks": {"cache_control": True}},
]


@pytest.mark.parametrize("route", KNOWS)
def test_a_server_that_knows_them_gets_them_where_they_stood(route: dict[str, Any]) -> None:
    body, losses = sent(BODY, **route)
    system, first, answer, last = body["messages"]
    assert system["content"] == [text("s")]
    assert first["content"] == [text("a", None), text("b", {"type": "ephemeral", "ttl": "1h"})]
    assert answer["content"] == "c" and last["content"] == [text("d")]
    assert not [loss for loss in losses if "cache" in loss]


@pytest.mark.parametrize("provider", ["openai", "openai-compatible", "deepseek"])
def test_any_other_gets_plain_texts_and_a_report(provider: str) -> None:
    body, losses = sent(BODY, provider=provider)
    assert "cache_control" not in json.dumps(body) and body["messages"][-1]["content"] == "d"
    assert "cache_control:dropped" in losses


def test_four_at_most_and_the_first_stay() -> None:
    turns = [{"role": "user", "content": [text(str(n))]} for n in range(6)]
    body, losses = sent({"messages": turns}, provider="openrouter")
    assert json.dumps(body).count("cache_control") == 4 and "cache_control:dropped" in losses
    assert json.dumps(body).index('"5"') > json.dumps(body).rindex("cache_control")


def test_a_server_that_takes_no_parts_gets_none() -> None:
    body, losses = sent(BODY, provider="openai-compatible", quirks={"cache_control": True, "content_parts": False})
    assert "cache_control" not in json.dumps(body) and "cache_control:dropped" in losses
