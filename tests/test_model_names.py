"""What is shipped and shown names models that live."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from extproc.capabilities import packaged

ROOT = Path(__file__).parent.parent

SOON = date(2027, 2, 1)
"""Who follows an example should not have to change it within two months."""

PAGES = sorted(
    path
    for folder in ("deploy", "docs", "examples", "extproc/reference", "extproc/demo", ".")
    for path in ((ROOT / folder).rglob("*") if folder != "." else ROOT.glob("*.md"))
    if path.is_file() and path.suffix in (".yaml", ".yml", ".md", ".json", ".py", ".sh", ".toml")
)
_NAME = re.compile(r"(?<![\w/.-])(?:(?:claude|gpt|o[134]|gemini|chatgpt)-[a-z0-9][a-z0-9.-]*[a-z0-9])")
CONTRACTS = {"gpt-4"}
"""A name in the metadata that this program must understand word for word; no model of an example."""


def test_there_are_pages() -> None:
    assert len(PAGES) > 20


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_model_that_ends_soon(path: Path) -> None:
    named = set(_NAME.findall(path.read_text("utf-8"))) - CONTRACTS
    ends = {name: packaged().ends(name) for name in named if packaged().prefix(name) not in (None, "claude", "gemini")}
    assert not {name: day for name, day in ends.items() if day is not None and day < SOON}
