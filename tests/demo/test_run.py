from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


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
