"""What an example's README tells its reader to send."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in ROOT.glob("*/envoy.yaml"))
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Asked:
    """A ``curl`` line."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


def blocks(name: str) -> list[str]:
    return _BLOCK.findall((ROOT / name / "README.md").read_text("utf-8"))


def asked(name: str) -> Asked:
    """The one request that the README shows."""
    (line,) = [block for block in blocks(name) if block.startswith("curl ")]
    words = shlex.split(line.replace("\\\n", " "))
    headers = [words[i + 1].partition(": ") for i, word in enumerate(words) if word == "-H"]
    (data,) = [words[i + 1] for i, word in enumerate(words) if word == "-d"]
    (url,) = [word for word in words if word.startswith("http://127.0.0.1:10000/")]
    path = url.removeprefix("http://127.0.0.1:10000")
    return Asked(path, {key: value for key, _, value in headers}, msgspec.json.decode(data))
