"""Reading a JSON object so that nothing can be forgotten: what is taken is understood, what is left is reported."""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

from .failures import ProtocolError

T = TypeVar("T")
_REQUIRED: Final[Any] = object()
_JSON_NAMES: Final = {
    str: "a string", int: "an integer", float: "a number", bool: "a boolean", dict: "an object", list: "an array",
    type(None): "null",
}  # fmt: skip


def json_type(value: object) -> str:
    """The name of *value*'s type as JSON calls it, with its article."""
    return _JSON_NAMES.get(type(value), type(value).__name__)


EXACT: Final = 2.0**53
"""Below it a float is the number that was written."""


class Fields:
    """The members of one JSON object, taken one by one. The object is consumed: it must be the caller's own."""

    __slots__ = ("_members", "path")

    def __init__(self, members: Any, path: str) -> None:
        if type(members) is not dict:
            raise ProtocolError(path, f"expected an object, got {json_type(members)}")
        self._members: dict[str, Any] = members
        self.path = path

    def at(self, name: str) -> str:
        """The path of member *name*."""
        return f"{self.path}.{name}" if self.path else name

    def __contains__(self, name: str) -> bool:
        """Whether *name* is there, not null and not yet taken."""
        return self._members.get(name) is not None

    def take(self, name: str, kind: type[T], default: T = _REQUIRED) -> T:
        """Remove and return member *name*. JSON null counts as absent. Raises ProtocolError when it is missing without
        a default, or of another type."""
        value = self.any(name)
        if value is None:
            if default is _REQUIRED:
                raise ProtocolError(self.at(name), "is missing")
            return default
        if type(value) is not kind:
            return self._otherwise(name, kind, value)
        return value

    def _otherwise(self, name: str, kind: type[T], value: Any) -> T:
        """A *value* of another type as one of this *kind*: 100.0 is an integer to JSON Schema, and what languages with
        one kind of number write. Raises ProtocolError for any other."""
        if kind is int and type(value) is float and value.is_integer() and abs(value) < EXACT:
            return cast(T, int(value))
        raise self._wrong(name, kind, value)

    def _wrong(self, name: str, kind: type, value: object) -> ProtocolError:
        return ProtocolError(self.at(name), f"expected {_JSON_NAMES.get(kind, kind.__name__)}, got {json_type(value)}")

    def maybe(self, name: str, kind: type[T]) -> T | None:
        """Like ``take``, ``None`` when absent."""
        value = self.any(name)
        if value is None or type(value) is kind:
            return value
        return self._otherwise(name, kind, value)

    def number(self, name: str) -> int | float | None:
        """An optional integer or float, as it came (1 stays 1, 1.0 stays 1.0); ``None`` when absent."""
        value = self.any(name)
        if value is None or type(value) is int or type(value) is float:
            return value
        raise self._wrong(name, float, value)

    def lenient(self, name: str, kind: type[T], default: T) -> T:
        """Like ``take`` with a default, for what servers get wrong: another type counts as absent."""
        value = self.any(name)
        return value if type(value) is kind else default

    def any(self, name: str) -> Any:
        """Member *name* of any type; ``None`` when absent."""
        # A null may stay, for ``rest`` leaves it out; and to take with ``pop`` costs the compiled code twice as much.
        value = self._members.get(name)
        if value is not None:
            del self._members[name]
        return value

    def ignore(self, *names: str) -> None:
        """Drop members that mean nothing outside their own wire format."""
        for name in names:
            self.any(name)

    def rest(self) -> dict[str, Any] | None:
        """What nobody took, less nulls. ``None`` when nothing is left, which is the usual case."""
        if not self._members:
            return None
        return {k: v for k, v in self._members.items() if v is not None} or None
