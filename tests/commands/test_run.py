"""``extproc run`` up to where it would start something; tests/envoy/test_run.py starts it."""

from __future__ import annotations

import importlib
import io
import json
import socket
import sys
from pathlib import Path

import pytest
import yaml

from extproc.check import check
from extproc.commands import run as command
from extproc.gateway import read, schema
from extproc.run import running
from extproc.run.found import Findings
from extproc.run.main import NothingFound, RunOptions
from extproc.run.running import NoEnvoy
from tests.support.command_line import Run


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a file, and an environment with one key."""
    monkeypatch.chdir(tmp_path)
    for name in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "k")


def test_it_writes_what_it_would_run(run: Run) -> None:
    done = run("run", "--no-probe", "--print-envoy")
    assert done.status == 0 and b"api.openai.com" in done.out and b"start the sidecar beside it" in done.out
    assert [finding for finding in check(done.out.decode()) if finding.severity == "error"] == []


def test_it_writes_what_it_found(run: Run) -> None:
    done = run("run", "--no-probe", "--print-config")
    assert done.status == 0 and read(done.out.decode()).providers.keys() == {"openai"}
    Path("extproc.yaml").write_bytes(done.out)
    assert run("run", "--print-config").status == 0, "and reads it again"


def test_it_writes_its_schema(run: Run) -> None:
    assert json.loads(run("run", "--schema").out) == schema()


def test_without_anything_it_says_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    done = run("run", "--no-probe")
    assert done.status == 2 and "extproc run --scripted" in done.err and done.out == b""


@pytest.mark.parametrize(
    ("text", "word"),
    [("providers: {opnai: }", "did you mean 'openai'?"), ("providers: {anthropic: }", "export ANTHROPIC_API_KEY=...")],
)
def test_a_mistake_in_the_file_is_one_line(run: Run, text: str, word: str) -> None:
    Path("mine.yaml").write_text(text)
    done = run("run", "-c", "mine.yaml")
    assert done.status == 2 and word in done.err and done.err.startswith("extproc: mine.yaml: ")


def test_what_it_cannot_have_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise FileNotFoundError("there is no Envoy here: do this")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("run", "--no-probe", "--port", str(port))
        assert done.status == 2 and "--port 0 takes a free one" in done.err
        Path("mine.yaml").write_text(yaml.safe_dump({"listen": f"127.0.0.1:{port}"}))
        assert run("run", "--no-probe", "-c", "mine.yaml").status == 2
    monkeypatch.setattr(running, "envoy_binary", none)
    assert "there is no Envoy here: do this" in run("run", "--no-probe", "--port", "0").err
    assert "is no port" in run("run", "--port", "99999").err


@pytest.mark.parametrize(
    ("missing", "answer", "works", "then"),
    [
        (NoEnvoy("none"), "y", True, [(False, True)]),
        (NoEnvoy("none"), "", False, []),
        (NoEnvoy("none"), "n", True, []),
        (NoEnvoy("none"), None, True, []),
        (NothingFound(Findings()), "Y", True, [(True, True)]),
        (NothingFound(Findings()), "no", True, []),
    ],
)
def test_what_is_missing_is_offered_on_a_terminal(
    missing: Exception, answer: str | None, works: bool, then: list[tuple[bool, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[tuple[bool, bool]] = []
    done: list[list[str]] = []

    def main(options: RunOptions) -> int:
        began.append((options.scripted, bool(done) or options.scripted))
        if len(began) == 1:
            raise missing
        return 0

    def ran(what: list[str]) -> bool:
        done.append(what)
        return works

    def said(question: str) -> str:
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr("builtins.input", said)
    monkeypatch.setattr(command, "_done", ran)
    monkeypatch.setattr(importlib, "invalidate_caches", lambda: None)
    if not then:
        with pytest.raises(type(missing)):
            command._asking(main, RunOptions())
    else:
        assert command._asking(main, RunOptions()) == 0
    assert began[1:] == then
    assert all(line[-1] == "extproc-llm[run]" for line in done) and len(done) <= 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_command_that_is_not_there_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert command._done([sys.executable, "-c", ""]) and not command._done([sys.executable, "-c", "exit(1)"])
    assert not command._done(["/no/such/uv"]) and "/no/such/uv: No such file" in capfd.readouterr().err


def test_a_file_that_is_not_there_can_be_written(run: Run) -> None:
    assert "`extproc run --print-config > mine.yaml` writes one" in run("run", "-c", "mine.yaml").err
