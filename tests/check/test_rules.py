from __future__ import annotations

from typing import Any

import pytest
import yaml

from extproc.check import RULES, check
from extproc.reference import config as envoy_config
from extproc.reference.config import REFERENCE
from tests.check.edits import EDITS, LISTENER_EDITS, Edit, Places
from tests.check.edits_one_stream import ONE_STREAM_EDITS
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


def test_the_reference_is_clean() -> None:
    assert check(REFERENCE.read_text("utf-8")) == []
    assert found_in(envoy_config.reference()) == []


def test_the_listener_placement_is_clean() -> None:
    assert found_in(listener_config()) == []


@pytest.mark.parametrize(("code", "variant", "edit"), EDITS, ids=[f"{e[0]}-{e[1]}".rstrip("-") for e in EDITS])
def test_an_edit_gives_its_finding_and_no_other(code: str, variant: str, edit: Edit) -> None:
    config = envoy_config.reference()
    edit(Places(config))
    if code == "schema":
        pytest.importorskip("envoy_data_plane")
    found = check(text_of(config))
    assert {finding.code for finding in found} == {code}, [str(finding) for finding in found]
    assert found[0].severity == RULES[code].severity


@pytest.mark.parametrize(("code", "variant", "edit"), LISTENER_EDITS, ids=[e[0] for e in LISTENER_EDITS])
def test_an_edit_of_the_listener_placement(code: str, variant: str | None, edit: Edit) -> None:
    config = listener_config()
    edit(ListenerPlaces(config))
    found = check(text_of(config))
    assert {finding.code for finding in found} == ({code} if variant is not None else set()), list(map(str, found))


def test_every_rule_has_an_edit_that_it_finds() -> None:
    found = {edit[0] for edit in [*EDITS, *LISTENER_EDITS]} | {code for code, _ in ONE_STREAM_EDITS}
    assert found - {""} == set(RULES)


def test_every_rule_says_what_happens_and_what_to_write() -> None:
    for code, rule in RULES.items():
        assert code == rule.code == code.lower()
        assert len(rule.trouble) > 20 and rule.write and rule.severity in ("error", "warning")
