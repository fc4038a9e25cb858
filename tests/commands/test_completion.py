"""Completion, as a shell does it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from extproc import commands
from tests.support.command_line import Run

NAMES = {command.name for command in commands.every()}


def completed(script: str, line: str) -> set[str]:
    """What bash offers at the end of *line*."""
    words = line.split(" ")
    listed = " ".join(f"'{word}'" for word in words)
    typed = f"COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}"
    ask = f"{script}\n{typed}; _extproc; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=30, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("extproc ver", {"version"}),
        ("extproc translate re", {"request", "response"}),
        ("extproc translate request --cl", {"--client"}),
        ("extproc translate request --client openai_chat --up", {"--upstream"}),
        ("extproc completion ", {"bash", "zsh", "fish", "--help"}),
        ("extproc demo --o", {"--once"}),
        ("extproc nothing ", NAMES | {"--help", "--version"}),
        ("extproc ", NAMES | {"--help", "--version"}),
    ],
)
def test_bash(run: Run, line: str, offered: set[str]) -> None:
    assert completed(run("completion", "bash").out.decode(), line) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_others_name_every_command(run: Run, shell: str) -> None:
    script = run("completion", shell).out.decode()
    assert all(name in script for name in NAMES)
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=script, text=True, check=True, timeout=30)
