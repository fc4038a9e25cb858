"""A stranger's first minute, in a fresh container with Python and nothing else: `pip install .`, `extproc run` with a
key, a pasted line. The key is of a scripted provider."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from extproc.demo.provider import ScriptedProvider
from extproc.demo.serve import OPENAI_KEY, openai

from .stack import ROOT, base, docker

SECONDS = 60
"""From the first command to the answer, on a machine that does nothing else."""


@pytest.fixture
def machine(engine: None) -> Iterator[str]:
    """A container with the sources in /src, and this machine's network, where the provider and the registry are."""
    image = (
        base().get("EXTPROC_BASE") or re.findall(r"^ARG BASE=(\S+)", (ROOT / "Dockerfile").read_text("utf-8"), re.M)[0]
    )
    name = docker("run", "-d", "--rm", "--network", "host", "--entrypoint", "sleep", image, "600").strip()
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
        )
        there = b"\n".join(each for each in listed.stdout.splitlines() if (ROOT / os.fsdecode(each)).exists())
        packed = subprocess.run(["tar", "-c", "-T", "-"], cwd=ROOT, input=there, capture_output=True, check=True)
        docker("exec", name, "mkdir", "/src")
        subprocess.run(["docker", "exec", "-i", name, "tar", "-x", "-C", "/src"], input=packed.stdout, check=True)
        yield name
    finally:
        docker("rm", "-f", name, check=False)


class Terminal:
    """A shell in a container, on a terminal."""

    def __init__(self, container: str) -> None:
        self._own, theirs = pty.openpty()
        command = ["docker", "exec", "-it", "-e", "PS1=$ ", "-e", "PIP_PROGRESS_BAR=off", "-w", "/src", container, "sh"]
        self._child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        os.set_blocking(self._own, False)
        self.said = ""

    def type(self, line: str) -> None:
        os.write(self._own, line.encode() + b"\n")

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """What was said since the last wait, up to *pattern*."""
        until = time.monotonic() + seconds
        while (found := re.search(pattern, self.said)) is None:
            assert time.monotonic() < until, self.said[-3000:]
            with suppress(BlockingIOError, OSError):
                self.said += os.read(self._own, 65536).decode("utf-8", "replace")
            time.sleep(0.05)
        self.said = self.said[found.end() :]
        return found

    def close(self) -> None:
        os.close(self._own)
        self._child.kill()
        self._child.wait()


@contextmanager
def terminal(container: str) -> Iterator[Terminal]:
    made = Terminal(container)
    try:
        yield made
    finally:
        made.close()


def test_pip_install_and_run_answer_within_a_minute(machine: str, count: Callable[[str], None]) -> None:
    with ScriptedProvider(openai) as provider, terminal(machine) as shell:
        shell.wait_for(r"\$ ", 10)
        began = time.monotonic()
        shell.type("python3 -m venv /env && . /env/bin/activate && pip install . && echo INSTALL''ED")
        shell.wait_for("INSTALLED", 300)
        shell.type(f"export OPENAI_API_KEY={OPENAI_KEY} OPENAI_BASE_URL=http://127.0.0.1:{provider.port}/v1")
        shell.type("extproc run --port 0")
        shell.wait_for(r"Install one now \(35 MB\)\? \[Y/n\]", 30)
        shell.type("")
        said = shell.wait_for(r"(?s)\n(curl -sN http://127\.0\.0\.1:\d+/v1/messages [^\r\n]+).*?Ready: http://127", 120)
        answered = subprocess.run(["sh", "-c", said[1]], capture_output=True, text=True, timeout=30, check=True).stdout
        seconds = time.monotonic() - began
        assert "The sky is blue." in answered and '"type":"message"' in answered.replace(" ", ""), answered
        shell.type("\x03")
        shell.wait_for("Ended", 20)
    count(f"{seconds:.0f} s from `python3 -m venv` to the answer of a pasted line, an Envoy's download included")
    assert seconds < SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
