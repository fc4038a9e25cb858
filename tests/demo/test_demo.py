from __future__ import annotations

import subprocess
import sys

import pytest

from extproc import demo


def test_what_the_demo_needs_is_not_loaded_before_it_runs() -> None:
    code = "import sys, extproc.demo; print('extproc.demo.run' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_an_envoy_it_says_so_and_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXTPROC_ENVOY", "/there/is/none")
    assert demo.main(once=True) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("extproc: ")
