"""How what the operator sets is laid into a body: objects into objects, anything else replaces (D17, D29)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode

ABSENT: Final = object()


def same(old: Any, new: Any) -> bool:
    """Whether a member already says *new*, so that its bytes may stay."""
    return bytes(old) == _encode(new) if isinstance(old, msgspec.Raw) else False


def as_object(value: Any) -> dict[str, Any] | None:
    """*value* as an object, read if it was not yet; ``None`` if it is none."""
    if isinstance(value, msgspec.Raw) and bytes(value).startswith(b"{"):
        value = _decode(value)
    return value if isinstance(value, dict) else None


def merge(old: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Objects into objects, anything else replaces, ``null`` included (D29). Shares nothing mutable with *patch*."""
    result = dict(old)
    for name, value in patch.items():
        if isinstance(value, dict):
            below = as_object(result.get(name))
            result[name] = merge(below or {}, value)
        elif not same(result.get(name, ABSENT), value):
            result[name] = list(value) if isinstance(value, list) else value
    return result


def fill(old: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Only what is missing, at any depth; a ``null`` of the client's is not missing (D17)."""
    result = dict(old)
    for name, value in patch.items():
        if name not in result:
            result[name] = merge({}, value) if isinstance(value, dict) else value
        elif isinstance(value, dict) and (below := as_object(result[name])) is not None:
            filled = fill(below, value)
            if filled != below:
                result[name] = filled
    return result
