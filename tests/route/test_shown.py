"""Compiled routes as an operator sees them: with their levels, without secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.route import RouteError, compile_route
from extproc.route import compile as module
from extproc.route.compile import compiled

HIDDEN = "hidden-from-all"


@pytest.fixture(autouse=True)
def empty() -> None:
    module._cache.clear()


def shown(*levels: Any) -> Any:
    compile_route(levels)
    (found,) = compiled()
    return found


def test_what_the_levels_come_to_and_which_said_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", HIDDEN)
    found = shown(
        "losses: report\noptions: {temperature: 0.5}",
        "provider: openai\nauth: {header: {Authorization: 'Bearer ${OPENAI_API_KEY}'}}\noptions: {model: gpt-5.4-mini}",
    )
    assert found == {
        "route": {
            "losses": "report", "options": {"temperature": 0.5, "model": "gpt-5.4-mini"}, "provider": "openai",
            "auth": {"header": {"Authorization": "Bearer ${OPENAI_API_KEY}"}},
        },
        "from": {"losses": "route", "options": "cluster", "provider": "cluster", "auth": "cluster"},
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        f"provider: openai\nauth: {{header: {{x-anything: {HIDDEN}}}}}",
        f"provider: openai\nauth: {{header: {{Authorization: 'Bearer {HIDDEN}'}}}}",
        f"provider: openai\nauth: {{header: {{Authorization: '{HIDDEN}${{HOME_KEY}}'}}}}",
        f"provider: gemini\nauth: {{query: {{key: {HIDDEN}}}}}",
        "provider: bedrock\nauth: {aws: {access_key_id: AKIA1, secret_access_key: " + HIDDEN + ", region: eu-west-1}}\n"
        "provider_conf: {region: eu-west-1}",
        f"provider: openai\nauth: none\noverride: {{endpoint: 'https://x/v1?key={HIDDEN}'}}",
        f"provider: openai\nauth: none\noptions: {{api_key: {HIDDEN}}}",
        f"provider: openai\nauth: none\noverride: {{request_body: {{openai_chat: {{tools: [{{token: {HIDDEN}}}]}}}}}}",
    ],
)
def test_no_secret_is_shown(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_KEY", "another-that-is-hidden")
    made = json.dumps(shown(text))
    assert "hidden" not in made and "AKIA1" not in made and "***" in made


def test_a_route_that_does_not_compile_says_why() -> None:
    with pytest.raises(RouteError):
        compile_route(["provider: nobody"])
    (found,) = compiled()
    assert found["error"].startswith("route: provider: unknown provider")


def test_a_mapping_is_shown_as_its_text_would_be() -> None:
    assert shown({"provider": "openai", "auth": "none"})["route"]["provider"] == "openai"
