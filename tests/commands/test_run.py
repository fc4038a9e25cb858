from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from extproc.commands.run import COMMAND
from tests.support.command_line import Run


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_schema_for_editors(run: Run) -> None:
    schema = json.loads(run("run", "--schema").out)
    assert "providers" in json.dumps(schema) and schema["type"] == "object"


def test_what_was_found_is_a_configuration(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
    said = run("run", "--no-probe", "--print-config")
    assert said.status == 0 and "openai" in yaml.safe_load(said.out)["providers"]
    assert b"sk-secret" not in said.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--port", "x"], "no port"),
        (["--port", "65536"], "no port"),
        (["-c", "none.yaml", "--print-config"], "none.yaml"),
        (["--print-config", "--print-envoy"], "not allowed with"),
    ],
)
def test_what_is_wrong_is_the_users(run: Run, arguments: list[str], problem: str) -> None:
    said = run("run", "--no-probe", *arguments)
    assert said.status == 2 and problem in said.err


def test_each_status_is_told() -> None:
    assert [line[0] for line in COMMAND.statuses] == ["0", "1", "2"] and COMMAND.examples
