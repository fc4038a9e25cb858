from __future__ import annotations

from typing import Any

import pytest
import yaml

from extproc import Translation
from extproc.check import check
from extproc.importers import convert

from .test_apisix import HEADER, parts

GUARD: dict[str, Any] = {"match_all_roles": True, "deny_patterns": ["bad.*word"], "allow_patterns": ["please"]}
TEMPLATE: dict[str, Any] = {
    "templates": [{"name": "ask", "template": {"model": "m", "messages": [{"role": "user", "content": "{{x}}"}]}}]
}
AROUND: dict[str, Any] = {"prepend": [{"role": "system", "content": "be brief"}]}


def turned(**plugins: Any) -> tuple[Any, list[str]]:
    route = {"id": "r1", "uri": "/*", "plugins": {"ai-proxy": {"provider": "openai", "auth": HEADER}, **plugins}}
    made = convert("apisix", yaml.safe_dump(route).encode())
    assert not [item for item in check(made.yaml) if item.severity == "error"], list(map(str, check(made.yaml)))
    found, _, _ = parts(made)
    level = yaml.safe_load(found.get("metadata", {}).get("filter_metadata", {}).get("extproc", {}).get("route", "{}"))
    return level.get("policies"), made.notes


@pytest.mark.parametrize(
    ("plugins", "policies"),
    [
        ({}, None),
        ({"ai-prompt-decorator": AROUND}, [{"prompt_decorator": AROUND}]),
        ({"ai-prompt-template": TEMPLATE}, [{"prompt_template": TEMPLATE}]),
        ({"ai-prompt-guard": GUARD}, [{"prompt_guard": {**GUARD, "deny_code": 400}}]),
        (
            {"ai-prompt-decorator": AROUND, "ai-prompt-template": TEMPLATE, "ai-prompt-guard": GUARD},
            [
                {"prompt_guard": {**GUARD, "deny_code": 400}},
                {"prompt_template": TEMPLATE},
                {"prompt_decorator": AROUND},
            ],
        ),
    ],
)
def test_plugins_become_policies(plugins: dict[str, Any], policies: Any) -> None:
    found, notes = turned(**plugins)
    assert found == policies and not any("ai-prompt" in note for note in notes)
    if policies:
        Translation("openai_chat", "openai_chat", route={"provider": "openai", "auth": "none", "policies": policies})


def test_what_they_have_and_we_do_not_is_said() -> None:
    _, notes = turned(**{"ai-prompt-decorator": {**AROUND, "other": 1}})
    assert any("plugins.ai-prompt-decorator.other" in note for note in notes)


def test_patterns_that_are_none_here_are_named() -> None:
    plugin = {"deny_patterns": ["fine", "(?!x)y"]}
    made = convert("apisix", yaml.safe_dump({"id": "r1", "uri": "/*", "plugins": {
        "ai-proxy": {"provider": "openai", "auth": HEADER}, "ai-prompt-guard": plugin}}).encode())  # fmt: skip
    assert [note for note in made.notes if "deny_patterns[1]" in note and "RE2" in note]
