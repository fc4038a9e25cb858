"""What the coverage of the tests is held to."""

from __future__ import annotations

from typing import Any

import pytest

from .coverage import FILE, LOWER, TOTAL, lowest, problems


def report(total: float, **files: float) -> dict[str, Any]:
    return {
        "totals": {"percent_covered": total},
        "files": {name: {"summary": {"percent_covered": share}} for name, share in files.items()},
    }


@pytest.mark.rows("F18")
def test_each_file_and_all_together_have_a_floor() -> None:
    assert problems(report(TOTAL, a=FILE, b=100.0)) == []
    assert problems(report(TOTAL - 0.1, a=100.0)) == [f"all files: {TOTAL - 0.1:.1f} %, the floor is {TOTAL:.0f} %"]
    assert problems(report(100.0, a=FILE - 1)) == [f"a: {FILE - 1:.1f} %, the floor is {FILE:.0f} %"]
    assert TOTAL >= 84 and all(floor < FILE for floor in LOWER.values())


def test_the_lowest_come_first() -> None:
    assert [line.split()[-1] for line in lowest(report(90.0, a=99.0, b=80.0))] == ["b", "a"]
