from __future__ import annotations

import subprocess
import sys


def test_the_module_is_the_command() -> None:
    for arguments, status in ((["version", "--short"], 0), (["no-such-command"], 2)):
        command = [sys.executable, "-m", "extproc", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
    assert "no-such-command" in done.stderr and "Traceback" not in done.stderr
