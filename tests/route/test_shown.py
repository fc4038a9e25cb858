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
        "from": {"losses": "route", "options": {"temperature": "route", "model": "cluster"}, "provider": "cluster",
                 "auth": "cluster"},
    }  # fmt: skip


def test_each_value_is_from_the_level_that_said_it_last() -> None:
    options = "options: {model: a, response_format: {type: json_schema, x: {y: 1, z: 1}}, stop: [END], temperature: 1}"
    found = shown(
        f"provider: openai\nauth: none\n{options}\nprices: {{input: 1, output: 2}}",
        "options: {model: b, response_format: {x: {z: 2}}, stop: [OTHER]}\nprices: {output: 3}",
        "options: {stop: {}, temperature: null}",
    )
    assert found["from"] == {
        "provider": "route", "auth": "route", "prices": {"input": "route", "output": "cluster"},
        "options": {
            "model": "cluster", "response_format": {"type": "route", "x": {"y": "route", "z": "cluster"}},
            "stop": "endpoint", "temperature": "endpoint",
        },
    }  # fmt: skip


def test_what_another_provider_leaves_of_a_level_is_still_that_levels() -> None:
    found = shown(
        "provider: openai\nauth: none\noptions: {model: a, temperature: 1}\nprices: {input: 1}",
        "provider: anthropic\nauth: none\noptions: {top_k: 5}",
    )
    assert found["route"]["options"] == {"temperature": 1, "top_k": 5} and found["route"]["prices"] == "table"
    assert found["from"]["options"] == {"temperature": "route", "top_k": "cluster"}
    assert (found["from"]["prices"], found["from"]["provider"]) == ("route", "cluster")


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
