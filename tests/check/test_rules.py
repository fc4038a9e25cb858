from __future__ import annotations

from extproc.check import RULES, check
from extproc.reference import config as envoy_config
from extproc.reference.config import REFERENCE
from tests.check.edits import EDITS, LISTENER_EDITS
from tests.check.edits_one_stream import ONE_STREAM_EDITS
from tests.check.judged import found_in, listener_config


def test_the_reference_is_clean() -> None:
    assert check(REFERENCE.read_text("utf-8")) == []
    assert found_in(envoy_config.reference()) == []
    assert found_in(envoy_config.two_streams(envoy_config.reference())) == []


def test_the_listener_placement_is_clean() -> None:
    assert found_in(listener_config()) == []


def test_every_edit_is_one_of_a_rules() -> None:
    """The tests of the rules' modules take theirs by its code."""
    assert {edit[0] for edit in [*EDITS, *LISTENER_EDITS]} <= set(RULES)


def test_every_rule_has_an_edit_that_it_finds() -> None:
    found = {edit[0] for edit in [*EDITS, *LISTENER_EDITS]} | {code for code, _ in ONE_STREAM_EDITS}
    assert found - {""} == set(RULES)


def test_every_rule_says_what_happens_and_what_to_write() -> None:
    for code, rule in RULES.items():
        assert code == rule.code == code.lower()
        assert len(rule.trouble) > 20 and rule.write and rule.severity in ("error", "warning")
