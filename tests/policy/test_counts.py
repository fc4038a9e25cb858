"""Requests that only ask for the number of their tokens: a provider reads them as any other."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc import Answer, Call, Refused, Translation
from extproc.effects import Effect

from .clients import PROVIDER, exchange
from .test_moderation import served

MAIL = "joe@example.com"
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "anthropic_messages": ("/v1/messages/count_tokens", {
        "model": "m", "system": "be kind", "messages": [{"role": "user", "content": MAIL}]}),
    "openai_responses": ("/v1/responses/input_tokens", {"model": "m", "instructions": "be kind", "input": MAIL}),
    "gemini": ("/v1beta/models/m:countTokens", {"generateContentRequest": {
        "model": "models/m", "systemInstruction": {"parts": [{"text": "be kind"}]},
        "contents": [{"role": "user", "parts": [{"text": MAIL}]}]}}),
    "anthropic_bedrock": ("/model/m/count-tokens", {"input": {"converse": {
        "system": [{"text": "be kind"}], "messages": [{"role": "user", "content": [{"text": MAIL}]}]}}}),
}  # fmt: skip
"""Clients whose APIs can ask so."""
NUMBER = {"openai_chat": b"", "anthropic_messages": b'{"input_tokens":7}', "gemini": b'{"totalTokens":7}',
          "openai_responses": b'{"object":"response.input_tokens","input_tokens":7}',
          "bedrock_converse": b'{"inputTokens":7}'}  # fmt: skip
"""How an upstream answers; OpenAI's Chat API has no such question."""
PAIRS = [(client, upstream) for client in ASKED for upstream in PROVIDER]


def asking(client: str, upstream: str, *policies: dict[str, Any]) -> tuple[Translation, Call | Answer]:
    t = exchange(client, upstream, *policies)
    path, body = ASKED[client]
    return t, served(t.requesting(msgspec.json.encode(body), "POST", path), nobody)


def nobody(effect: Effect) -> Any:
    raise AssertionError(f"asked for {effect}")


def counted(t: Translation, made: Call | Answer) -> bool:
    """Whether the client is told a number."""
    if isinstance(made, Answer):
        return made.status == 200 and any(type(n) is int and n > 0 for n in msgspec.json.decode(made.body).values())
    t.response_head(200, [("content-type", "application/json")])
    out = t.response_body(NUMBER[t.upstream or ""], True)
    return 7 in msgspec.json.decode(out).values()


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_what_is_personal_is_not_sent_to_be_counted(client: str, upstream: str) -> None:
    t, made = asking(client, upstream, {"redact": {}})
    if isinstance(made, Call):
        assert b"EMAIL_1" in unwrapped(made.body) and MAIL.encode() not in unwrapped(made.body)
        assert b"be kind" in unwrapped(made.body)
    assert isinstance(made, Call) or upstream == "openai_chat", "who can count is asked"
    assert counted(t, made) and t.policy_facts["redact_email"] == 1 and not t.policed


def unwrapped(body: bytes) -> bytes:
    """Bedrock is asked about the bytes of a whole body."""
    found = msgspec.json.decode(body).get("input")
    if not (isinstance(found, dict) and "invokeModel" in found):
        return body
    return msgspec.json.decode(msgspec.json.encode(found["invokeModel"]["body"]), type=bytes)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_what_a_guard_denies_is_not_counted(client: str, upstream: str) -> None:
    t, made = asking(client, upstream, {"prompt_guard": {"deny_patterns": ["joe@"], "deny_code": 200}})
    assert isinstance(made, Answer) and made.status == 400, "a number cannot refuse"
    assert b"prohibited content" in made.body and t.denied_by == "prompt_guard"
    _, made = asking(client, upstream, {"prompt_guard": {"deny_patterns": ["ann@"]}})
    assert isinstance(made, Call) or upstream == "openai_chat"


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_what_is_added_is_counted(client: str, upstream: str) -> None:
    text = "in French, and in at least two hundred words"
    t, made = asking(client, upstream, {"prompt_decorator": {"append": [{"role": "user", "content": text}]}})
    if isinstance(made, Call):
        assert text.encode() in unwrapped(made.body)
    else:
        _, plain = asking(client, upstream)
        assert isinstance(plain, Answer) and plain.body != made.body
    assert counted(t, made)


@pytest.mark.parametrize("client", ASKED)
def test_who_would_ask_others_is_not_asked(client: str) -> None:
    asks = {"provider": "openai", "auth": "none", "options": {"model": "m"}, "prompt": "p"}
    policies: list[dict[str, Any]] = [
        {"moderation": {"endpoint": "http://guard.test"}},
        {"rag": {"search": {"endpoint": "http://s.test"}}},
        {"request_rewrite": asks},
    ]
    for policy in policies:
        t, made = asking(client, "anthropic_messages", policy)
        assert isinstance(made, Call) and counted(t, made)


def test_what_nobody_changes_keeps_its_bytes() -> None:
    t = exchange("anthropic_messages", "anthropic_messages", {"redact": {}}, {"tool_filter": {"deny": ["x"]}})
    body = b'{ "model":"m","messages": [{"role":"user", "content":"hi"}] }'
    made = t.request(body, "POST", "/v1/messages/count_tokens")
    assert isinstance(made, Call) and made.body == body


def test_what_cannot_be_read_is_what_fail_says() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":7}]}'
    rule = {"prompt_guard": {"deny_patterns": ["x"], "fail_mode": "warn"}}
    t = exchange("anthropic_messages", "anthropic_messages", rule)
    made = t.request(body, "POST", "/v1/messages/count_tokens")
    assert isinstance(made, Call) and t.policy_facts == {"prompt_guard_skipped": True}
    t = exchange("anthropic_messages", "anthropic_messages", {"prompt_guard": {"deny_patterns": ["x"]}})
    with pytest.raises(Refused):
        t.request(body, "POST", "/v1/messages/count_tokens")
