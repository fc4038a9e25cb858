from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from extproc import Translation, policy
from extproc.route import RouteError, compile_route

from .members import nobody
from .policies import policies as policies

ROOT = Path(__file__).parents[2]
AWS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
pytestmark = pytest.mark.usefixtures("policies")


def routed(*policies: Any) -> Translation:
    return Translation("openai_chat", "openai_chat", route={"provider": "openai", "auth": "none", "policies": policies})


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"nonsense": {}}, "policies[0]: unknown policy 'nonsense'; choose one of: "),
        ({}, "policies[0]: expected one policy's name"),
        ({"words": {}, "marker": {}}, "policies[0]: expected one policy's name"),
        ({"words": 7}, "policies[0].words: expected a mapping"),
        ({"words": {"denied": []}}, "policies[0].words.denied: unknown key; choose one of: fail, deny"),
        ({"words": {"deny": "x"}}, "policies[0].words.deny: expected a list of texts"),
        ({"words": {"fail": "maybe"}}, "policies[0].words.fail: choose one of: closed, open"),
        ({"marker": {}}, "policies[0].marker.text: is needed"),
        ({"tool_filter": {"max_tools": -1}}, "policies[0].tool_filter.max_tools: expected a whole number"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(entry: Any, says: str) -> None:
    with pytest.raises(RouteError) as wrong:
        routed(entry)
    assert says in str(wrong.value) and str(wrong.value).startswith("route: ")


@pytest.mark.parametrize("entry", ["words", 7, None])
def test_the_list_holds_mappings(entry: Any) -> None:
    with pytest.raises(RouteError, match="policies"):
        routed(entry)


def test_each_policy_is_a_file_with_its_line_in_the_registry() -> None:
    folder = Path(str(policy.__file__)).parent
    with_configure = {
        path.stem for path in folder.glob("*.py") if "\ndef configure(given: Given) -> Make:" in path.read_text("utf-8")
    }
    assert with_configure == {kind.__module__.rpartition(".")[2] for kind in policy.KINDS.values()} - {"policies"}


DOCUMENTED = [name for name, kind in policy.KINDS.items() if kind.__module__.startswith("extproc.")]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_each_policy_is_documented_and_has_an_example(name: str) -> None:
    page = (ROOT / "docs" / "policies.md").read_text("utf-8")
    (section,) = re.findall(rf"^## `{name}`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert f"| [`{name}`](#{name}) |" in page
    blocks = re.findall(r"^```yaml\n(policies:\n.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert blocks, "an example of its members"
    for block in blocks:
        secrets = dict.fromkeys(re.findall(r"\$\{(\w+)\}", block), "x") | AWS
        route = compile_route([f"provider: openai\nauth: none\n{block}"], environ=secrets)
        assert name in [each.name for each in route.policies]
    folder = ROOT / "examples" / f"policy-{name.replace('_', '-')}"
    assert f"- {name}:" in (folder / "envoy.yaml").read_text("utf-8")


def test_they_stand_in_the_operators_order_with_what_each_does_when_it_cannot_say() -> None:
    entries: list[dict[str, Any]] = [{"tool_filter": {"max_tools": 1, "fail": "open"}}, {"redact": None}]
    made = policy.configured(entries, nobody())
    assert [(each.name, each.fail_open) for each in made] == [("tool_filter", True), ("redact", False)]
