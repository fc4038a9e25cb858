"""Every row of requirements.md has a test that names it, or says why it has none."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TEXT = (HERE / "requirements.md").read_text("utf-8")
SIZES = {"A": 26, "B": 41, "C": 13, "D": 33, "E": 14, "F": 19}
ALL = [f"{letter}{number}" for letter, size in SIZES.items() for number in range(1, size + 1)]
_STATED, _LATER = TEXT.split("\n## Later\n")
ROWS = re.findall(r"^- ([A-F]\d+)(?: (?:S|E|S/E|S\*|D))?: .", _STATED, re.MULTILINE)
LATER = dict(re.findall(r"^- ([A-F]\d+): (.+)", _LATER, re.MULTILINE))
PART = "in part: "


def marks(source: str) -> Iterator[tuple[str, str]]:
    """The rows that a test file names, each with the test that does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.rows":
                    for argument in decorator.args:
                        assert isinstance(argument, ast.Constant), f"{node.name}: rows are named by plain words"
                        yield str(argument.value), node.name


def proofs() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(HERE.rglob("test_*.py")):
        source = path.read_text("utf-8")
        if "mark.rows" in source:
            for row, test in marks(source):
                found.setdefault(row, []).append(f"{path.relative_to(HERE)}::{test}")
    return found


PROOFS = proofs()


def test_the_list_is_whole_and_in_order() -> None:
    assert ROWS == ALL


@pytest.mark.parametrize("row", ALL)
def test_each_row_is_proven_or_said_to_come(row: str) -> None:
    reason = LATER.get(row)
    if reason is None:
        assert row in PROOFS, "no test is marked with it, and no line under Later says why"
    else:
        assert (row in PROOFS) is reason.startswith(PART), "either it is proven, or it is yet to come, or in part"


def test_marks_name_rows_and_stand_on_tests() -> None:
    assert set(PROOFS) | set(LATER) <= set(ALL)
    wrong = [test for tests in PROOFS.values() for test in tests if not test.partition("::")[2].startswith("test_")]
    assert wrong == []


def test_marks_are_read_from_the_source() -> None:
    source = '@pytest.mark.rows("A1", "B2")\n@other\nasync def test_a(): ...\n@pytest.mark.envoy\ndef test_b(): ...\n'
    assert list(marks(source)) == [("A1", "test_a"), ("B2", "test_a")]
