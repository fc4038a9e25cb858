"""Arithmetic over the counts of an exchange: the part of CEL (https://cel.dev) that costs are written in.

``output_tokens * 4 + (input_tokens - cache_read_tokens)``, ``model.startsWith("claude") ? total_tokens * 2 :
total_tokens``. Numbers (all of them are floating point; CEL's ``3u`` too), texts, ``true`` and ``false``; ``+ - * /
%``, comparisons, ``&& || !``, ``a ? b : c``; ``int()``, ``uint()``, ``double()``, ``min()``, ``max()``, ``ceil()``;
``startsWith``, ``endsWith``, ``contains`` of a text. What is written is checked once, for names and sorts, and
evaluated in time that is linear in its length: there are no loops.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

Value = float | bool | str
Values = Mapping[str, Value]
Evaluate = Callable[[Values], Any]
Sort = Literal["number", "truth", "text"]

MAX_LENGTH = 1024
"""Characters of an expression."""
MAX_DEPTH = 32
"""How deep its parentheses and operators may nest."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[uU]?"
    r"|(?P<text>\"[^\"\\]*\"|'[^'\\]*')"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%()<>!?:.,]))"
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_ADD: dict[str, Callable[[float, float], float]] = {"+": lambda a, b: a + b, "-": lambda a, b: a - b}
_MULTIPLY: dict[str, Callable[[float, float], float]] = {
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "%": math.fmod,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "int": math.trunc,
    "uint": math.trunc,
    "double": float,
    "ceil": math.ceil,
    "min": min,
    "max": max,
}
_METHODS: dict[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
}


class ExpressionError(ValueError):
    """What is written is no expression; the message says where."""


class Expression:
    """One expression that comes to a number."""

    def __init__(self, text: str, names: Mapping[str, Sort]) -> None:
        """*names*: those that it may use. Raises ExpressionError."""
        self.text = text
        parser = _Parser(text, names)
        self._evaluate = parser.number()
        self.names = frozenset(parser.used)
        """Those of the names that it uses."""

    def of(self, values: Values) -> float | None:
        """What it comes to; ``None`` where that is no number: a division by zero, or more than can be counted."""
        try:
            value = float(self._evaluate(values))
        except (ArithmeticError, ValueError):
            return None
        return value if math.isfinite(value) else None


class _Parser:
    """Reads one text, an operator's precedence a method, the weakest first."""

    def __init__(self, text: str, names: Mapping[str, Sort]) -> None:
        if len(text) > MAX_LENGTH:
            raise ExpressionError(f"longer than {MAX_LENGTH} characters")
        self._names = names
        self._tokens: list[tuple[str, str, int]] = []
        self._at = 0
        self._depth = 0
        self.used: set[str] = set()
        end = len(text.rstrip())
        at = 0
        while at < end:
            found = _TOKEN.match(text, at)
            if found is None:
                raise ExpressionError(f"at {at + 1}: {text[at : at + 12].strip()!r} has no meaning here")
            assert found.lastgroup is not None
            self._tokens.append((found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)))
            at = found.end()
        self._tokens.append(("end", "its end", end))

    def number(self) -> Evaluate:
        """The whole text, which comes to a number."""
        made = self._need("number", *self._choice())
        if self._tokens[self._at][0] != "end":
            raise self._wrong("expected an operator")
        return made

    def _wrong(self, problem: str) -> ExpressionError:
        _, text, at = self._tokens[self._at]
        return ExpressionError(f"at {at + 1}: {problem}, not {text!r}")

    def _take(self, *signs: str) -> str:
        """The next sign, if it is one of *signs*; else an empty text."""
        group, text, _ = self._tokens[self._at]
        if group != "sign" or text not in signs:
            return ""
        self._at += 1
        return text

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise self._wrong(f"expected {sign!r}")

    def _need(self, wanted: Sort, sort: Sort, made: Evaluate) -> Evaluate:
        if sort != wanted:
            raise self._wrong(f"what stands before is a {sort}: expected a {wanted}")
        return made

    def _choice(self) -> tuple[Sort, Evaluate]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"nested deeper than {MAX_DEPTH}")
        sort, made = self._any()
        if self._take("?"):
            if_ = self._need("truth", sort, made)
            sort, then = self._choice()
            self._expect(":")
            else_ = self._need(sort, *self._choice())
            made = lambda values: then(values) if if_(values) else else_(values)  # noqa: E731
        self._depth -= 1
        return sort, made

    def _any(self) -> tuple[Sort, Evaluate]:
        sort, made = self._all()
        while self._take("||"):
            left, right = self._need("truth", sort, made), self._need("truth", *self._all())
            made = _either(left, right)
        return sort, made

    def _all(self) -> tuple[Sort, Evaluate]:
        sort, made = self._comparison()
        while self._take("&&"):
            left, right = self._need("truth", sort, made), self._need("truth", *self._comparison())
            made = _both(left, right)
        return sort, made

    def _comparison(self) -> tuple[Sort, Evaluate]:
        sort, made = self._sum()
        if sign := self._take(*_COMPARE):
            right = self._need(sort, *self._sum())
            return "truth", _applied(_COMPARE[sign], made, right)
        return sort, made

    def _sum(self) -> tuple[Sort, Evaluate]:
        sort, made = self._product()
        while sign := self._take(*_ADD):
            left, right = self._need("number", sort, made), self._need("number", *self._product())
            made = _applied(_ADD[sign], left, right)
        return sort, made

    def _product(self) -> tuple[Sort, Evaluate]:
        sort, made = self._signed()
        while sign := self._take(*_MULTIPLY):
            left, right = self._need("number", sort, made), self._need("number", *self._signed())
            made = _applied(_MULTIPLY[sign], left, right)
        return sort, made

    def _signed(self) -> tuple[Sort, Evaluate]:
        signs = []
        while sign := self._take("-", "!"):
            signs.append(sign)
        sort, made = self._member()
        if signs:
            if len(set(signs)) > 1:
                raise self._wrong("expected one kind of sign before it")
            wanted: Sort = "number" if signs[0] == "-" else "truth"
            made = self._need(wanted, sort, made)
            if len(signs) % 2:
                made = _negated(made) if wanted == "number" else _inverted(made)
        return sort, made

    def _member(self) -> tuple[Sort, Evaluate]:
        sort, made = self._atom()
        while self._take("."):
            left = self._need("text", sort, made)
            method = _METHODS.get(name := self._name())
            if method is None:
                raise ExpressionError(f"unknown function {name!r} of a text; choose one of: {', '.join(_METHODS)}")
            self._expect("(")
            right = self._need("text", *self._choice())
            self._expect(")")
            sort, made = "truth", _applied(method, left, right)
        return sort, made

    def _name(self) -> str:
        group, text, _ = self._tokens[self._at]
        if group != "name":
            raise self._wrong("expected a name")
        self._at += 1
        return text

    def _atom(self) -> tuple[Sort, Evaluate]:
        if self._take("("):
            sort, made = self._choice()
            self._expect(")")
            return sort, made
        group, text, _ = self._tokens[self._at]
        if group not in ("number", "text", "name"):
            raise self._wrong("expected a name or a number")
        self._at += 1
        if group == "number":
            return "number", _constant(float(text))
        if group == "text":
            return "text", _constant(text[1:-1])
        if text in ("true", "false"):
            return "truth", _constant(text == "true")
        if self._take("("):
            return "number", self._call(text)
        if text not in self._names:
            raise ExpressionError(f"unknown name {text[:64]!r}; choose one of: {', '.join(self._names)}")
        self.used.add(text)
        return self._names[text], _named(text)

    def _call(self, name: str) -> Evaluate:
        function = _FUNCTIONS.get(name)
        if function is None:
            raise ExpressionError(f"unknown function {name[:64]!r}; choose one of: {', '.join(_FUNCTIONS)}")
        given = [self._need("number", *self._choice())]
        while self._take(","):
            given.append(self._need("number", *self._choice()))
        self._expect(")")
        if (len(given) > 1) != (name in ("min", "max")):
            raise ExpressionError(f"{name}() takes {'two numbers or more' if name in ('min', 'max') else 'one number'}")
        return lambda values: function(*[each(values) for each in given])


def _constant(value: Value) -> Evaluate:
    return lambda values: value


def _named(name: str) -> Evaluate:
    return lambda values: values[name]


def _applied(function: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda values: function(left(values), right(values))


def _either(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda values: left(values) or right(values)


def _both(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda values: left(values) and right(values)


def _negated(made: Evaluate) -> Evaluate:
    return lambda values: -made(values)


def _inverted(made: Evaluate) -> Evaluate:
    return lambda values: not made(values)
