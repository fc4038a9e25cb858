"""docs/from-ai-proxy.md names every attribute of the two plugins (rows D1-D30)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from extproc.importers import convert
from extproc.providers import PROVIDERS
from extproc.route.model import ENVOY_OWNS, Level

PAGE = (Path(__file__).parents[2] / "docs" / "from-ai-proxy.md").read_text("utf-8")
SCHEMA: dict[str, Any] = json.loads((Path(__file__).parent / "attributes.json").read_text("utf-8"))
"""What the schemas of APISIX's plugins have, with where and when it was read."""
ATTRIBUTES = sorted({
    *SCHEMA["ai-proxy"],
    *SCHEMA["ai-proxy-multi"],
    *SCHEMA["instances"],
    *(f"checks.active.{name}" for name in SCHEMA["instances.checks.active"]),
})  # fmt: skip


def rows() -> dict[str, str]:
    found = {}
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            first, rest = line.strip("| ").split(" | ", 1)
            for name in re.findall(r"`([^`]+)`", first):
                found[name] = rest
    return found


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_has_a_row(name: str) -> None:
    alone = name.removeprefix("instances.")
    assert rows().get(name) or rows().get(alone) or is_a_group(name), name


def is_a_group(name: str) -> bool:
    """Whether *name* is but the sum of its members."""
    members = [other for other in ATTRIBUTES if other.startswith(f"{name}.")]
    members = [other for other in members if not any(more.startswith(f"{other}.") for more in members)]
    return bool(members) and all(rows().get(other) or rows().get(other.removeprefix("instances.")) for other in members)


def test_the_data_says_where_it_is_from() -> None:
    assert SCHEMA["version"] and SCHEMA["date"] and len(SCHEMA["commit"]) == 40 and len(ATTRIBUTES) > 70


@pytest.mark.parametrize("provider", SCHEMA["providers"])
def test_every_provider_is_one_here(provider: str) -> None:
    assert provider in PROVIDERS


@pytest.mark.parametrize("name", ["fallback_strategy", "balancer.algorithm"])
def test_every_word_is_on_the_page(name: str) -> None:
    assert all(word in PAGE for word in SCHEMA[name])


@pytest.mark.parametrize("name", [*SCHEMA["ai-proxy"], *SCHEMA["ai-proxy-multi"]])
def test_the_import_takes_every_attribute_or_says_why_not(name: str) -> None:
    """What no one takes is called unknown: no attribute of the schema may be."""
    plugin: dict[str, Any] = {"provider": "openai", "auth": {"header": {"Authorization": "Bearer x"}}}
    kind = "ai-proxy"
    if name in SCHEMA["ai-proxy-multi"]:
        kind, plugin = "ai-proxy-multi", {"instances": [{"name": "a", "weight": 1, **plugin}]}
    target, path = plugin, name.split(".")
    if path[0] == "instances" and len(path) > 1:
        target, path = plugin["instances"][0], path[1:]
    if path[0] not in target:
        value: Any = VALUES.get(name, 1000)
        for part in reversed(path[1:]):
            value = {part: value}
        target[path[0]] = value
    document = {"id": "r", "uri": "/x", "plugins": {kind: plugin}}
    notes = convert("apisix", json.dumps(document).encode()).notes
    assert not [note for note in notes if "has no equivalent here, and is left out" in note], notes


VALUES: dict[str, Any] = {
    "provider_conf": {"project_id": "p", "region": "r"}, "auth": {}, "options": {}, "options.model": "m",
    "provider_conf.project_id": "p", "provider_conf.region": "r", "override": {}, "override.endpoint": "https://h/v1/x",
    "override.llm_options": {"max_tokens": 5}, "override.request_body": {"openai-chat": {}},
    "override.request_body_force_override": True, "logging": {}, "logging.summaries": True, "logging.payloads": True,
    "keepalive": False, "ssl_verify": True, "balancer": {}, "balancer.algorithm": "roundrobin",
    "balancer.hash_on": "vars", "balancer.key": "remote_addr", "instances.checks": {"active": {}},
    "instances.examples": ["x"], "instances.threshold": 0.5, "semantic_opts": {}, "semantic_opts.embeddings": {},
    "semantic_opts.fallback": "a", "semantic_opts.debugging": True, "semantic_opts.threshold": 0.5,
    "fallback_strategy": "http_429", "fallback_http_statuses": [401], "max_retries": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", ENVOY_OWNS)
def test_what_the_sidecar_refuses_is_named(name: str) -> None:
    assert any(name in row.split(".") or f"instances.{name}" == row for row in rows()) or name == "balancer"


def test_what_is_called_ours_is_a_key_of_the_route() -> None:
    for name, rest in rows().items():
        if rest.endswith("| ours"):
            target = re.findall(r"`([^`]+)`", rest)[0]
            assert target.partition(".")[0] in Level.model_fields, name
