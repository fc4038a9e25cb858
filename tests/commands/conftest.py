from __future__ import annotations

import pytest

from tests.support.command_line import Run, runner


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    return runner(monkeypatch, capfdbinary)
