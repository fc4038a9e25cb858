"""By binaries that say what Envoy says; tests/envoy/test_check.py asks Envoy itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.check import validate
from extproc.check.validate import by_envoy

LINE = "[2026-11-26 10:00:00.000][7][critical][main] [source/server/server.cc:1] "


def binary(folder: Path, script: str) -> Path:
    made = folder / "envoy"
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(0o755)
    return made


def said(text: str, status: int = 1) -> str:
    return f"cat >&2 <<'END'\n{text}\nEND\nexit {status}"


def test_what_it_takes_is_no_finding(tmp_path: Path) -> None:
    assert by_envoy(tmp_path / "e.yaml", binary(tmp_path, said("[warning] something", 0))) == []


def test_the_file_is_only_validated(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    (found,) = by_envoy(file, binary(tmp_path, 'echo "[critical] $*" >&2; exit 1'))
    assert "--mode validate" in found.problem and f"-c {file}" in found.problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{LINE}error initializing configuration '/e.yaml': Protobuf message (no such field 'x')",
         "Protobuf message (no such field 'x')"),
        (f"first\n{LINE}a listener without an address\nlast", "a listener without an address"),
        ("first\nlast", "last"),
        ("", "it ended with status 1"),
    ],
)  # fmt: skip
def test_what_it_says(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = by_envoy(tmp_path / "e.yaml", binary(tmp_path, said(text)))
    assert (found.problem, found.severity, found.code) == (f"Envoy refuses it: {problem}", "error", "envoy")


@pytest.mark.parametrize("text", ["unable to read file: /a.crt", "Invalid path: /x", "Failed to load a certificate"])
def test_what_only_this_machine_lacks_is_no_fault_of_the_file(tmp_path: Path, text: str) -> None:
    assert by_envoy(tmp_path / "e.yaml", binary(tmp_path, said(f"{LINE}{text}"))) == []


def test_no_verdict_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_envoy(tmp_path / "e.yaml", tmp_path / "there-is-none") == []
    monkeypatch.setattr(validate, "SECONDS", 0.2)
    assert by_envoy(tmp_path / "e.yaml", binary(tmp_path, "exec sleep 60")) == []
