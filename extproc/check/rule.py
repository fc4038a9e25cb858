"""What a rule is, and what it finds. A new rule is one decorated function in a ``rules_*`` module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .topology import Config
from .tree import Node

ERROR, WARNING = "error", "warning"
Found = Iterator[Node | tuple[Node, str]]
"""Where it is wrong, with what is wrong there if the rule's own words do not say it."""


@dataclass(frozen=True)
class Rule:
    code: str
    severity: str
    looks: str
    """What is wrong, in a few words."""
    trouble: str
    """What will happen to a user."""
    write: str
    """The line to write."""
    run: Callable[[Config], Found]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in one place."""

    file: str
    line: int
    path: str
    code: str
    severity: str
    problem: str
    trouble: str
    write: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: {self.severity}: {self.problem} [{self.code}]"
        return f"{where}\n  at:    {self.path}\n  then:  {self.trouble}\n  write: {self.write}"


RULES: dict[str, Rule] = {}
"""By code, in the order of the documentation."""


def rule(
    code: str, severity: str, looks: str, *, then: str, write: str
) -> Callable[[Callable[[Config], Found]], Callable[[Config], Found]]:
    """Enter the decorated function as a rule."""

    def enter(run: Callable[[Config], Found]) -> Callable[[Config], Found]:
        assert code not in RULES, code
        RULES[code] = Rule(code, severity, looks, then, write, run)
        return run

    return enter


def findings(config: Config, file: str) -> list[Finding]:
    """All that the rules find in *config*, by line. A place that YAML aliases share is named once."""
    found: dict[tuple[str, int, str], Finding] = {}
    for item in RULES.values():
        for hit in item.run(config):
            node, problem = hit if isinstance(hit, tuple) else (hit, item.looks)
            key = (item.code, node.line, problem)
            made = Finding(file, node.line, node.path, item.code, item.severity, problem, item.trouble, item.write)
            found.setdefault(key, made)
    return sorted(found.values(), key=lambda finding: (finding.line, finding.code))
