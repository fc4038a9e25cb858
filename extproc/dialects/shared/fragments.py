"""Where a piece of an answer stands, and what it says, however servers write the two."""

from __future__ import annotations

import re
from typing import Any, Final

from ..base import encode


def place(value: Any) -> int | None:
    """An index: a number of either kind, or text that is one. ``None`` for anything else."""
    if type(value) is float and value.is_integer() and abs(value) < 1e9:
        return int(value)
    if type(value) is str and value.isdecimal():
        return int(value[:9])
    return value if type(value) is int else None


def fragment(value: Any) -> str:
    """Input of a call: a piece of its text, nothing, or from some servers the object itself."""
    if type(value) is str:
        return value
    return "" if value is None or value is False else encode(value).decode()


def string(members: dict[str, Any], name: str) -> str:
    """Member *name*, if it is a text; else nothing."""
    value = members.get(name)
    return value if type(value) is str else ""


def several(value: Any) -> Any:
    """The parts of an answer, where some servers write a single one without its list."""
    return [value] if type(value) in (str, dict) else value


def says_something(value: Any) -> bool:
    """Whether there is more to *value* than the zero values of the language that its server is written in."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if type(each) is dict:
            waiting += [inner for name, inner in each.items() if name != "type"]
        elif type(each) is list:
            waiting += each
        elif each:
            return True
    return False


def unread(members: dict[str, Any], known: frozenset[str]) -> dict[str, Any] | None:
    """The *members* that nobody knows, but for zero values and objects of such; ``None`` if there are none."""
    if known.issuperset(members):
        return None
    return {name: value for name, value in members.items() if name not in known and _is_set(value)} or None


def _is_set(value: Any) -> bool:
    return any(value.values()) if type(value) is dict else bool(value)


def text_in(value: Any, depth: int = 8) -> str:
    """The text of a part, or of a list of parts, in whatever member it stands, no deeper than *depth*."""
    if type(value) is str:
        return value
    if not depth:
        return ""
    if type(value) is dict:
        return next((found for name in _TEXTS if (found := text_in(value.get(name), depth - 1))), "")
    return "".join([text_in(each, depth - 1) for each in value]) if type(value) is list else ""


_TEXTS = ("text", "content", "value", "output_text")
_HOLDS_TEXT: Final = re.compile(
    rb'"(?:text|content|value|output|output_text|message|delta|parts?|response|answer|generated_text|completion|reply'
    rb'|reasoning\w*|thinking|transcript)"\s*:\s*(?:\[\s*)*"[^"]'
)


def may_hold_text(data: bytes | bytearray) -> bool:
    """Whether *data*, a message that nothing was read from, has a member that looks like something said."""
    return _HOLDS_TEXT.search(data) is not None
