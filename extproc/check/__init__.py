"""``extproc check``: what is wrong with an Envoy configuration that calls the sidecar, before a user finds out."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from . import (
    rules_clusters,
    rules_filters,
    rules_host,
    rules_metadata,
    rules_one_stream,
    rules_order,
    rules_routes,
    rules_secrets,
    schema,
)
from .rule import ERROR, RULES, Finding, Rule, findings
from .topology import configurations, is_resources
from .tree import Node, Unreadable, documents
from .validate import by_envoy

__all__ = ["RULES", "Finding", "Rule", "Unreadable", "check", "main", "markdown"]

_PARTS = (
    rules_filters,
    rules_metadata,
    rules_host,
    rules_clusters,
    rules_routes,
    rules_order,
    rules_secrets,
    rules_one_stream,
    schema,
)
"""Importing them enters their rules."""


def check(text: str, file: str = "-") -> list[Finding]:
    """What the rules find in *text*: an Envoy bootstrap as YAML or JSON, a file of resources (for LDS, RDS, CDS), the
    JSON of ``/config_dump``, a Kubernetes ConfigMap that holds such files, EnvoyFilters. *file* names it in the
    findings. Raises Unreadable."""
    return _found(documents(text), {file: 0})


def _together(texts: dict[str, str]) -> list[Finding]:
    """What the rules find in *texts*, by their files' names, which are the parts of one configuration."""
    roots: list[Node] = []
    begins: dict[str, int] = {}
    first = 0
    for file, text in texts.items():
        begins[file] = first
        roots += documents(text, after=first)
        first += len(text.splitlines()) + 1
    return _found(roots, begins)


def _found(roots: list[Node], begins: dict[str, int]) -> list[Finding]:
    """What the rules find in *roots*; *begins*: by a file's name, behind which line of theirs it begins."""
    found = [finding for config in configurations(roots) for finding in findings(config, "")]
    placed = []
    for finding in found:
        file = next(name for name in reversed(begins) if begins[name] < finding.line)
        placed.append(replace(finding, file=file, line=finding.line - begins[file]))
    return sorted(placed, key=lambda finding: (begins[finding.file], finding.line, finding.code))


def _is_bootstrap(roots: list[Node]) -> bool:
    """Whether *roots*, all of a file, are what Envoy takes as one."""
    parts = ("static_resources", "dynamic_resources")
    return len(roots) == 1 and any(map(roots[0].has, parts)) and not roots[0].has("kind")


def main(files: Sequence[str], output: str = "text", envoy: Path | None = None) -> int:
    """Print what is found in *files*, as ``text`` or as ``json`` (a list of findings): each by itself, or together
    where one holds resources that another leaves out. 0: nothing of severity error, 1: some, 2: a file cannot be read.
    Bootstraps in which no error was found are shown to the binary *envoy* as well."""
    found: list[Finding] = []
    unreadable: list[str] = []
    texts: dict[str, str] = {}
    roots: dict[str, list[Node]] = {}
    for file in dict.fromkeys(files):
        try:
            texts[file] = Path(file).read_text("utf-8")
            roots[file] = documents(texts[file])
        except Unreadable as error:
            unreadable.append(f"{file}: {error}")
        except OSError as error:
            unreadable.append(f"{file}: {error.strerror}")
        except UnicodeDecodeError:
            unreadable.append(f"{file}: not UTF-8 text")
    bootstraps = {file for file in roots if _is_bootstrap(roots[file])}
    parts = [file for file in roots if any(map(is_resources, roots[file]))]
    if parts:
        parts = [*(file for file in roots if file in bootstraps and file not in parts), *parts]
    for group in [*([file] for file in roots if file not in parts), *([parts] if parts else [])]:
        try:
            # One file is read already; of several each begins where the one before ended.
            one = len(group) == 1
            mine = _found(roots[group[0]], {group[0]: 0}) if one else _together({file: texts[file] for file in group})
            if envoy is not None and not any(item.severity == ERROR for item in mine):
                mine += [said for file in group if file in bootstraps for said in by_envoy(Path(file), envoy)]
            found += mine
        except Unreadable as error:
            unreadable.append(f"{group[0]}: {error}")
    errors = sum(finding.severity == ERROR for finding in found)
    if output == "json":
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    elif len(unreadable) < len(files):
        print(_text(found, errors, len(files) - len(unreadable)))
    if unreadable:
        print("\n".join(f"extproc: {line}" for line in unreadable), file=sys.stderr)
        return 2
    return 1 if errors else 0


def _text(found: Sequence[Finding], errors: int, files: int) -> str:
    what = "1 file" if files == 1 else f"{files} files"
    if not found:
        return f"{what}: nothing found"
    return "\n\n".join([*map(str, found), f"{what}: {errors} errors, {len(found) - errors} warnings"])


def markdown() -> str:
    """The rules as a table."""
    lines = ["| rule | severity | what is wrong | what happens then | to write |", "|---|---|---|---|---|"]
    for item in RULES.values():
        cells = (f"`{item.code}`", item.severity, item.looks, item.trouble, _code(item.write))
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    return f"`{text}`" if any(char in text for char in ":[{%_") else text
