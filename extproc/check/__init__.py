"""``extproc check``: what is wrong with an Envoy configuration that calls the sidecar, before a user finds out."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
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
from .topology import configurations
from .tree import Unreadable, documents
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
    """What the rules find in *text*: an Envoy bootstrap as YAML or JSON, the JSON of ``/config_dump``, a Kubernetes
    ConfigMap that holds a bootstrap, EnvoyFilters. *file* names it in the findings. Raises Unreadable."""
    found = [finding for config in configurations(documents(text)) for finding in findings(config, file)]
    return sorted(found, key=lambda finding: (finding.line, finding.code))


def is_bootstrap(text: str) -> bool:
    """Whether *text*, which can be read, is what Envoy takes as a file."""
    found = documents(text)
    return len(found) == 1 and found[0].has("static_resources") and not found[0].has("kind")


def main(files: Sequence[str], output: str = "text", envoy: Path | None = None) -> int:
    """Print what is found in *files*, as ``text`` or as ``json`` (a list of findings). 0: nothing of severity error, 1:
    some, 2: a file cannot be read. Bootstraps in which no error was found are shown to the binary *envoy* as well."""
    found: list[Finding] = []
    unreadable: list[str] = []
    for file in files:
        try:
            text = Path(file).read_text("utf-8")
            mine = check(text, file)
            if envoy is not None and "static_resources" in text and not any(item.severity == ERROR for item in mine):
                mine += by_envoy(Path(file), envoy) if is_bootstrap(text) else []
            found += mine
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
