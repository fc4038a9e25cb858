"""The demo as a user runs it."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from extproc.demo.screen import Screen

ROOT = Path(__file__).parents[2]


def test_output_is_plain_where_it_is_no_terminal() -> None:
    out = io.StringIO()
    screen = Screen(out)
    screen.title("A title")
    screen.labelled("client got", "word " * 60, "red")
    screen.events("client got", [f"event {n}" for n in range(40)])
    text = out.getvalue()
    assert "\x1b" not in text
    assert "... 26 more events ..." in text
    assert max(map(len, text.splitlines())) <= 140


@pytest.mark.envoy
def test_once_makes_the_tour_and_ends() -> None:
    command = [sys.executable, "-m", "extproc", "demo", "--once"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 7 steps were right." in done.stdout
    assert "top_k:dropped" in done.stdout
    assert "the-clients-own-key" not in done.stdout


@pytest.mark.envoy
def test_leaves_all_running_until_it_is_told_to_end(tmp_path: Path) -> None:
    log = tmp_path / "out"
    with log.open("w") as out:
        child = subprocess.Popen([sys.executable, "-m", "extproc", "demo"], cwd=ROOT, stdout=out, stderr=out)
    try:
        until = time.monotonic() + 60
        while "Ctrl-C ends everything." not in log.read_text():
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        for snippet in re.findall(r"<<'END'\n(.*?)\nEND", log.read_text(), re.DOTALL):
            command = [sys.executable, "-c", snippet]
            said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            assert "The sky is blue." in said.stdout
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(30)
    text = log.read_text()
    assert text.count("<<'END'") == 2
    assert child.returncode == 130
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:" in text and "Ended." in text
