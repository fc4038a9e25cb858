"""The one version."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from extproc import version

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]


def test_it_is_the_projects(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (version.DISTRIBUTION, version.version()) == (PROJECT["name"], PROJECT["version"])
    monkeypatch.setattr(version, "DISTRIBUTION", "extproc-llm-of-nobody")
    assert version.version() == "unknown"
