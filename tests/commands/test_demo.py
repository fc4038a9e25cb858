from __future__ import annotations

import pytest

from extproc import demo
from tests.support.command_line import Run


def test_demo_passes_its_outcome_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def tour(*, once: bool) -> int:
        asked.append(once)
        return 1

    monkeypatch.setattr(demo, "main", tour)
    assert run("demo", "--once").status == 1
    assert run("demo").status == 1
    assert asked == [True, False]
