"""Edits of configurations, and what is found in what they make."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from extproc.check import RULES, check
from extproc.reference import config as envoy_config
from extproc.reference.config import REFERENCE
from tests.check.edits import EDITS, LISTENER_EDITS, Edit, Places
from tests.support import placements


class Dumper(yaml.SafeDumper):
    """YAML without aliases, long texts as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text_of(config: dict[str, Any]) -> str:
    return yaml.dump(config, Dumper=Dumper, sort_keys=False)


def found_in(config: dict[str, Any]) -> list[str]:
    return [finding.code for finding in check(text_of(config))]


def listener_config() -> dict[str, Any]:
    """Translation on the listener alone, as the tests of that placement have it."""
    return placements.on_listener(envoy_config.reference())


class ListenerPlaces(Places):
    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.manager = placements.manager(config)
        self.filter = self.manager["http_filters"][1]
        self.route = placements.route(config, "openai")
        self.action = self.route["route"]
        cluster = placements.clusters(config)["openai"]
        self.endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]


TEXT = REFERENCE.read_text("utf-8")


def edited(old: str, new: str, count: int = 1) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, count)


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def edits_of(module: str) -> list[Any]:
    """The edits of the reference at which the rules of *module* find something, as parameters of a test."""
    return [
        pytest.param(code, edit, id=f"{code}-{variant}".rstrip("-"))
        for code, variant, edit in EDITS
        if _in(code, module)
    ]


def listener_edits_of(module: str) -> list[Any]:
    """The same of the placement on the listener; a variant of None finds nothing."""
    return [pytest.param(code, variant, edit, id=code) for code, variant, edit in LISTENER_EDITS if _in(code, module)]


def _in(code: str, module: str) -> bool:
    return code in RULES and RULES[code].run.__module__ == module


def assert_found(code: str, edit: Edit) -> None:
    """*edit* gives a finding of the rule *code*, and no other."""
    config = envoy_config.two_streams(envoy_config.reference())
    edit(Places(config))
    found = check(text_of(config))
    assert {finding.code for finding in found} == {code}, [str(finding) for finding in found]
    assert found[0].severity == RULES[code].severity


def assert_found_on_the_listener(code: str, variant: str | None, edit: Edit) -> None:
    config = listener_config()
    edit(ListenerPlaces(config))
    found = check(text_of(config))
    assert {finding.code for finding in found} == ({code} if variant is not None else set()), list(map(str, found))
