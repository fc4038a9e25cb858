"""The part of CEL that costs are written in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.costs.expression import MAX_DEPTH, Expression, ExpressionError, Sort, Values

NAMES: dict[str, Sort] = {"a": "number", "b": "number", "model": "text", "ok": "truth"}
VALUES: Values = {"a": 7.0, "b": 2.0, "model": "claude-haiku-4-5", "ok": True}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("a", 7),
        ("a + b * 3", 13),
        ("(a + b) * 3", 27),
        ("a - b - 1", 4),
        ("a / b", 3.5),
        ("a % b", 1),
        ("-a + 10", 3),
        ("--a", 7),
        ("1e6 * .5", 500000),
        ("3u + 2U", 5),
        ("a > b ? 1 : 0", 1),
        ("a < b ? 1 : a == 7 ? 5 : 6", 5),
        ("ok && a >= 7 || false ? 1 : 0", 1),
        ("!ok ? 1 : 2", 2),
        ("!!ok ? 1 : 2", 1),
        ("ok == true ? 1 : 2", 1),
        ('model == "claude-haiku-4-5" ? 1 : 2', 1),
        ("model != 'x' ? 1 : 2", 1),
        ("model.startsWith('claude') && model.contains('haiku') && !model.endsWith('x') ? a : b", 7),
        ("min(a, b, 1)", 1),
        ("max(a, b)", 7),
        ("ceil(a / b)", 4),
        ("uint(a / b) + int(0.9) + double(1)", 4),
        ("a / 0", None),
        ("a % 0", None),
        ("1e308 * 10", None),
        ("int(1e308 * 10)", None),
        # What is not chosen is not computed.
        ("ok ? a : a / 0", 7),
        ("  a\n+ 1  ", 8),
    ],
)
def test_what_it_comes_to(text: str, value: float | None) -> None:
    assert Expression(text, NAMES).of(VALUES) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "at 1: expected a name or a number, not 'its end'"),
        ("a +", "at 4: expected a name or a number, not 'its end'"),
        ("a b", "at 3: expected an operator, not 'b'"),
        ("a = b", "at 2: '= b' has no meaning here"),
        ("dollars * 2", "unknown name 'dollars'; choose one of: a, b, model, ok"),
        ("round(a)", r"unknown function 'round'; choose one of: int, uint"),
        ("model.size()", "unknown function 'size' of a text"),
        ("model", "what stands before is a text: expected a number"),
        ("a > b", "what stands before is a truth: expected a number"),
        ("a ? 1 : 2", "what stands before is a number: expected a truth"),
        ("ok ? 1 : model", "what stands before is a text: expected a number"),
        ("a == model ? 1 : 2", "what stands before is a text: expected a number"),
        ("-model", "what stands before is a text: expected a number"),
        ("!-a", "expected one kind of sign"),
        ("min(a)", r"min\(\) takes two numbers or more"),
        ("ceil(a, b)", r"ceil\(\) takes one number"),
        ("(a", "at 3: expected '\\)'"),
        ("ok ? 1", "expected ':'"),
        ("a.b", "what stands before is a number: expected a text"),
        ("model.(", "expected a name"),
        ('"a', "has no meaning here"),
        ("a" * 2000, "longer than 1024"),
        ("(" * 40 + "a" + ")" * 40, f"nested deeper than {MAX_DEPTH}"),
    ],
)
def test_a_wrong_one_is_said_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ExpressionError, match=problem):
        Expression(text, NAMES)


def test_the_names_that_it_uses() -> None:
    assert Expression("a + (ok ? 1 : 2)", NAMES).names == {"a", "ok"}


@given(st.text(alphabet="ab1.()+-*/%<>=!&|?:,'\" mode", max_size=60))
def test_no_text_does_anything_but_be_read_or_refused(text: str) -> None:
    try:
        found = Expression(text, NAMES)
    except ExpressionError:
        return
    assert isinstance(found.of(VALUES), float | None)
