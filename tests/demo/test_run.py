from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.upstream import eventually

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
        (view,) = re.findall(r"^live view     (\S+)/ ", log.read_text())

        def translated() -> list[Any]:
            told = json.loads(urllib.request.urlopen(f"{view}/exchanges?bodies=no", timeout=10).read())
            return [each for each in told["exchanges"] if each["upstream"]]

        # Two attempts of the failover among them.
        assert eventually(lambda: len(translated()) == 8, 15)
        told = translated()
        assert all(each["has_payloads"] for each in told)
        lossy = next(each for each in told if "top_k:dropped" in each["losses"])
        whole = json.loads(urllib.request.urlopen(f"{view}/exchanges/{lossy['id']}", timeout=10).read())
        assert {"path": "top_k", "how": "dropped", "became": [], "why": ""} in whole["members"]
        assert lossy["cost_usd"] > 0
        assert whole["payloads"]["upstream"]["request"]["body"]["max_completion_tokens"] == 1024
        for snippet in re.findall(r"<<'END'\n(.*?)\nEND", log.read_text(), re.DOTALL):
            command = [sys.executable, "-c", snippet]
            said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            assert "The sky is blue." in said.stdout
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(30)
    text = log.read_text()
    assert text.startswith("live view     http://127.0.0.1:")
    assert text.count("<<'END'") == 2
    assert child.returncode == 130
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:" in text and "Ended." in text
