"""The image's software bill of materials (CycloneDX 1.6): what is installed, checked against what was locked.

python sbom.py LOCK: the bill to standard output. Status 1, and why, if anything is installed that the lock does not
name in this version. Needs nothing but Python.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

OURS = "extproc-llm"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_TOOLS = frozenset({"pip", "setuptools"})
"""They install, and are taken away."""


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(text: str) -> dict[str, str]:
    """Version by name of what a lock names."""
    return {plain(name): version for name, version in _PINNED.findall(text)}


def installed() -> dict[str, metadata.Distribution]:
    found = {plain(each.metadata["Name"]): each for each in metadata.distributions()}
    return {name: each for name, each in sorted(found.items()) if name not in _TOOLS}


def unlocked(found: dict[str, str], lock: dict[str, str]) -> list[str]:
    """What is installed otherwise than it was locked, each in a line."""
    return [
        f"{name} {version} is installed, {lock.get(name, 'none')} is locked"
        for name, version in found.items()
        if name != OURS and lock.get(name) != version
    ]


def component(name: str, version: str, licence: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "library", "name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
    made["bom-ref"] = made["purl"]
    if licence and len(licence) < 100:
        made["licenses"] = [{"license": {"name": licence}}]
    return made


def bill(found: dict[str, metadata.Distribution]) -> dict[str, Any]:
    """The bill of materials of *found*, by name."""
    parts = [
        component(name, each.version, each.metadata.get("License-Expression") or each.metadata.get("License"))
        for name, each in found.items()
    ]
    ours = next((part for part in parts if part["name"] == OURS), component(OURS, "0", None))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(parts, sort_keys=True))}",
        "version": 1,
        "metadata": {"component": {**ours, "type": "application"}},
        "components": [part for part in parts if part["name"] != OURS],
    }


def main(path: str) -> int:
    found = installed()
    wrong = unlocked({name: each.version for name, each in found.items()}, locked(Path(path).read_text("utf-8")))
    for line in wrong:
        print(f"sbom: {line}", file=sys.stderr)
    json.dump(bill(found), sys.stdout, indent=1)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
