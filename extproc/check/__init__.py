"""``extproc check``: what is wrong with an Envoy configuration that calls the sidecar, before a user finds out."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from . import rules_clusters, rules_filters, rules_metadata, rules_routes, schema
from .rule import ERROR, RULES, Finding, Rule, findings
from .topology import build
from .tree import Unreadable, parse

__all__ = ["RULES", "Finding", "Rule", "Unreadable", "check", "main", "markdown"]

_PARTS = (rules_filters, rules_metadata, rules_clusters, rules_routes, schema)
"""Importing them enters their rules."""


def check(text: str, file: str = "-") -> list[Finding]:
    """What the rules find in *text*: an Envoy bootstrap as YAML or JSON, or the JSON of ``/config_dump``. *file* names
    it in the findings. Raises Unreadable."""
    try:
        return findings(build(parse(text)), file)
    except RecursionError:
        raise Unreadable("an alias that contains itself") from None


def main(files: Sequence[str], output: str = "text") -> int:
    """Print what is found in *files*, as ``text`` or as ``json`` (a list of findings). 0: nothing of severity error, 1:
    some, 2: a file cannot be read."""
    found: list[Finding] = []
    unreadable: list[str] = []
    for file in files:
        try:
            found += check(Path(file).read_text("utf-8"), file)
        except Unreadable as error:
            unreadable.append(f"{file}: {error}")
        except OSError as error:
            unreadable.append(f"{file}: {error.strerror}")
        except UnicodeDecodeError:
            unreadable.append(f"{file}: not UTF-8 text")
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
