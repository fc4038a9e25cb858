"""Compiled routes as an operator may see them: what they come to, from which level, and no secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..credentials.secrets import MASK
from ..names import may_carry_credential
from .text import RouteError

_Values = Mapping[str, Any]
_SECRETS = frozenset({"header", "query", "service_account_json", "access_key_id", "secret_access_key", "session_token"})
"""Beneath ``auth``."""


def shown(values: _Values, origin: Mapping[str, str], said: _Values) -> dict[str, Any]:
    """*values* that the levels come to, with references as they are written and anything else that may be a secret
    masked; ``from`` says which level each was *said* at, once for an object that is all of one. *origin*: the level
    that spoke of a top-level member last."""
    made = {name: _auth(value) if name == "auth" else _masked(value, name) for name, value in values.items()}
    return {"route": made, "from": {k: _level(v, said.get(k), origin[k]) for k, v in values.items() if k in origin}}


def _level(value: Any, said: Any, usual: str) -> Any:
    """The level that *value* is from, or those of its members; *usual* where nothing else is *said*."""
    if isinstance(said, str):
        return said
    if not (isinstance(value, Mapping) and value and isinstance(said, Mapping)):
        return usual
    levels = {name: _level(each, said.get(name), usual) for name, each in value.items()}
    first = next(iter(levels.values()))
    return first if isinstance(first, str) and all(level == first for level in levels.values()) else levels


def wrong(error: RouteError | str) -> dict[str, Any]:
    """A route that does not compile."""
    return {"error": str(error)}


def _auth(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {k: _texts(v) if k in _SECRETS else _auth(v) for k, v in value.items()}


def _masked(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _masked(each, str(key)) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_masked(each, name) for each in value]
    if isinstance(value, str):
        if name == "endpoint" or "://" in value:
            return _address(value)
        if may_carry_credential(name):
            return _reference(value)
    return value


def _texts(value: Any) -> Any:
    """Every text in it, masked."""
    if isinstance(value, Mapping):
        return {key: _texts(each) for key, each in value.items()}
    return _reference(value) if isinstance(value, str) else value


def _reference(text: str) -> str:
    """The references in *text*, and the scheme before them; else nothing of it."""
    scheme, space, rest = text.partition(" ")
    if space and rest.startswith("${") and scheme.lower() in ("bearer", "basic"):
        return f"{scheme} {_reference(rest)}"
    return text if text.startswith("${") and text.endswith("}") and text.count("}") == 1 else MASK


def _address(text: str) -> str:
    """A URL without its query, and without a user."""
    bare, query, _ = text.partition("?")
    scheme, mark, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}{'?' + MASK if query else ''}"
