"""A request changed in some items of one list, where all the others keep their bytes: how dialects mend what an earlier
turn's translation left in a conversation (``Dialect.mend``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ..base import encode

Mend = Callable[[msgspec.Raw, str], msgspec.Raw | None]
"""Is given an item and its path, and gives the item itself, another in its place, or ``None`` for none. What it raises
because it cannot read something leaves the whole body as it is."""

members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def mended(body: bytes, name: str, mend: Mend) -> bytes:
    """*body* with the list *name* as *mend* has its items; *body* itself where nothing changes, or where it cannot be
    read: then the upstream says so."""
    try:
        members = members_of(body)
        items = _items(members[name], name, mend)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return body
    if items is None:
        return body
    members[name] = msgspec.Raw(encode(items))
    return encode(members)


def mended_within(
    raw: msgspec.Raw, members: dict[str, msgspec.Raw], name: str, at: str, mend: Mend
) -> msgspec.Raw | None:
    """The same of an item *raw* at *at*, whose *members* have such a list themselves; ``None`` where *mend* leaves
    nothing of that. What cannot be read raises."""
    items = _items(members[name], f"{at}.{name}", mend)
    if items is None:
        return raw
    members[name] = msgspec.Raw(encode(items))
    return msgspec.Raw(encode(members)) if items else None


def _items(listed: msgspec.Raw, at: str, mend: Mend) -> list[msgspec.Raw] | None:
    """The items as *mend* has them; ``None`` when all were well."""
    items = _array(listed)
    made = [mend(item, f"{at}[{i}]") for i, item in enumerate(items)]
    if all(new is old for new, old in zip(made, items, strict=True)):
        return None
    return [item for item in made if item is not None]
