"""``extproc launch`` and ``extproc env``, with a script in the place of a client."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.commands import launch
from extproc.commands.launch import split
from extproc.demo.provider import ScriptedProvider, json_answer
from tests.support.command_line import Run
from tests.support.ports import free_port

CLIENT = """#!/bin/sh
echo "url $ANTHROPIC_BASE_URL model $ANTHROPIC_MODEL small $ANTHROPIC_DEFAULT_HAIKU_MODEL key ${ANTHROPIC_API_KEY-none}"
for word in "$@"; do echo "word $word"; done
curl -s "$ANTHROPIC_BASE_URL/v1/models" > models
exit 7
"""


@pytest.fixture
def gateway() -> Iterator[str]:
    listed = {"data": [{"id": "gpt-5.4-mini"}, {"id": "claude-haiku-4-5"}]}
    with ScriptedProvider(lambda request: json_answer(listed)) as made:
        yield f"http://127.0.0.1:{made.port}"


def launched(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "claude").write_text(CLIENT)
    (folder / "claude").chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_BASE_URL", "_URL"))}
    path = f"{folder}:{os.environ['PATH']}"
    command = [sys.executable, "-m", "extproc", "launch", *words]
    return subprocess.run(
        command,
        cwd=folder,
        env={**clean, "PATH": path, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_client_is_started_with_its_own_arguments_and_status(tmp_path: Path, gateway: str) -> None:
    done = launched(
        tmp_path, "claude", "--url", gateway, "-p", "what is it?", "--model", "opus", ANTHROPIC_API_KEY="sk-1"
    )
    assert done.returncode == 7
    assert done.stdout.splitlines() == [
        f"url {gateway} model claude-haiku-4-5 small claude-haiku-4-5 key none",
        "word -p", "word what is it?", "word --model", "word opus",
    ]  # fmt: skip
    assert "Claude Code on http" in done.stderr and "sk-1" not in done.stderr


def test_the_model_and_the_url_may_be_named(tmp_path: Path, gateway: str) -> None:
    done = launched(tmp_path, "--model=a", "--small-model", "b", "claude", EXTPROC_URL=gateway)
    assert done.stdout.startswith(f"url {gateway} model a small b key none")


@pytest.mark.envoy
def test_where_no_gateway_runs_one_is_started_for_as_long(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "claude").write_text(CLIENT)
    (tmp_path / "claude").chmod(0o755)
    (tmp_path / "extproc.yaml").write_text("providers: {openai: {url: 'http://127.0.0.1:1'}}\nmodels: {m: openai}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setattr(launch, "USUAL", f"http://127.0.0.1:{free_port()}")
    done = run("launch", "claude", "-p", "hi")
    assert done.status == 7, done.err
    assert "no gateway runs: starting one" in done.err
    assert '"id":"m"' in (tmp_path / "models").read_text()
    url = re.search(r"url (\S+) model m ", done.out.decode())
    assert url is not None and url[1] != launch.USUAL
    left = subprocess.run(["curl", "-s", "-m", "2", url[1]], capture_output=True, timeout=30, check=False)
    assert left.returncode == 7, "it has ended with the client"


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["claude", "--url", "http://127.0.0.1:{port}"], "`extproc run` starts one, `extproc doctor http"),
        (["codex", "--url", "x"], "codex is not installed: npm install -g @openai/codex"),
        (["vim"], "invalid choice: 'vim'"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, words: list[str], word: str) -> None:
    done = launched(tmp_path, *(each.format(port=free_port()) for each in words))
    assert done.returncode == 2 and word in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("line", "own", "rest"),
    [
        ("launch claude", "launch claude", ""),
        ("launch claude -p hi", "launch claude", "-p hi"),
        ("launch claude --model a -p hi", "launch claude --model a", "-p hi"),
        ("launch --url=u claude exec --model b", "launch --url=u claude", "exec --model b"),
        ("launch claude -- --model b", "launch claude", "--model b"),
        ("launch codex --help", "launch codex", "--help"),
        ("launch --help", "launch --help", ""),
    ],
)
def test_what_is_ours_and_what_is_the_clients(line: str, own: str, rest: str) -> None:
    assert split(line.split()) == (own.split(), rest.split())


def test_env_prints_lines_that_a_shell_takes(run: Run, gateway: str) -> None:
    done = run("env", "claude", "--url", gateway)
    lines = done.out.decode().splitlines()
    assert done.status == 0 and f"export ANTHROPIC_BASE_URL={gateway}" in lines
    assert "export ANTHROPIC_MODEL=claude-haiku-4-5" in lines
    assert run("env", "openai").out.decode().splitlines()[0] == "export OPENAI_BASE_URL=http://127.0.0.1:10000/v1"


def test_env_needs_a_model_or_a_gateway(run: Run) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run("env", "claude", "--url", url)
    assert done.status == 2 and "--model NAME names one without asking" in done.err
    assert b"ANTHROPIC_MODEL=m" in run("env", "claude", "--url", url, "--model", "m").out
