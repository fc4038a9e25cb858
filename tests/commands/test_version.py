from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from extproc.commands import version
from extproc.version import version as number_of
from tests.support.command_line import Run

ROOT = Path(__file__).parents[2]


def test_it_stands_in_one_place(run: Run) -> None:
    number = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert run("version", "--short").out.decode() == f"{number_of()}\n"
    assert number == number_of()
    others = [path for path in (ROOT / "extproc").rglob("*.py") if f'"{number}"' in path.read_text("utf-8")]
    assert others == []


def test_it_names_what_is_here(run: Run) -> None:
    said = dict(line.split(None, 1) for line in run("version").out.decode().splitlines())
    assert set(said) == {"extproc", "compiled", "extras", "python", "envoy", "system"}
    assert said["compiled"] in ("yes", "no")


@pytest.mark.envoy
def test_envoys_own_number() -> None:
    assert version.envoy().count(".") == 2


def test_without_envoy_it_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXTPROC_ENVOY", "/nowhere/envoy")
    assert "/nowhere/envoy" in run("version").out.decode()
