"""The base of values that never change once they are made."""

from __future__ import annotations

from typing import dataclass_transform

from msgspec import Struct, field


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Frozen(Struct, frozen=True):
    """A ``msgspec.Struct`` that is frozen, as are those made of it.

    Said once, here: a class statement's keywords are lost where its module is compiled (see setup.py).
    """


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Plain(Frozen, gc=False):
    """One that nothing it holds can lead back to: Python need not look for cycles through it."""


def same(one: object, other: object) -> bool:
    """Whether two values are equal. Between two of a class that it knows the compiler takes ``==`` for ``is``."""
    return one == other
