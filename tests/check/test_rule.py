from __future__ import annotations

import pytest

from extproc.check import rule as rules
from extproc.check.rule import ERROR, WARNING, Finding, Found, findings, rule
from extproc.check.topology import Config
from extproc.check.tree import parse

ROOT = parse("a: 1\nb: {c: 2}\n")


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES", {})


@pytest.mark.usefixtures("only")
@pytest.mark.replaces_code
def test_what_a_rule_finds_is_told_by_line_and_once() -> None:
    @rule("second", WARNING, "b is bad", then="it breaks", write="b: 0")
    def second(config: Config) -> Found:
        yield ROOT.get("b")
        yield ROOT.get("b")

    @rule("first", ERROR, "a is bad", then="it ends", write="a: 0")
    def first(config: Config) -> Found:
        yield ROOT.get("b"), "b is worse"
        yield ROOT.get("a")

    found = findings(Config(ROOT), "e.yaml")
    assert [(each.line, each.code, each.problem) for each in found] == [
        (1, "first", "a is bad"),
        (2, "first", "b is worse"),
        (2, "second", "b is bad"),
    ]
    assert str(found[0]) == "e.yaml:1: error: a is bad [first]\n  at:    a\n  then:  it ends\n  write: a: 0"


@pytest.mark.usefixtures("only")
@pytest.mark.replaces_code
def test_two_rules_of_one_code_fail_at_once() -> None:
    rule("x", ERROR, "", then="", write="")(lambda config: iter(()))
    with pytest.raises(AssertionError, match="x"):
        rule("x", ERROR, "", then="", write="")(lambda config: iter(()))


def test_a_finding_is_a_value() -> None:
    finding = Finding("f", 1, "a", "x", ERROR, "p", "t", "w")
    assert finding == Finding("f", 1, "a", "x", ERROR, "p", "t", "w")
    with pytest.raises(AttributeError):
        finding.line = 2  # type: ignore[misc]
