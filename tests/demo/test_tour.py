"""The demo as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.envoy
def test_once_makes_the_tour_and_ends() -> None:
    command = [sys.executable, "-m", "extproc", "demo", "--once"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 7 steps were right." in done.stdout
    assert "top_k:dropped" in done.stdout
    assert "the-clients-own-key" not in done.stdout
