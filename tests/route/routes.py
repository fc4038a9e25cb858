"""Routes for tests: made from text, and laid over bodies and paths."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from extproc import dialects
from extproc.route import Route, RouteError, compile_route

ENV = {"KEY": "sk-secret", "OTHER": "sk-other", "HOST": "h.example", "TWO": "a\nb", "EURO": "\u20ac"}


def compiled(*levels: Any) -> Route:
    return compile_route(levels, environ=ENV)


def problem(*levels: Any) -> str:
    with pytest.raises(RouteError) as caught:
        compiled(*levels)
    return str(caught.value)


def raw(body: str) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return members


def apply(route: Route, members: dict[str, Any], name: str) -> dict[str, Any]:
    """What a request of dialect *name* becomes on its way to an upstream of the same dialect."""
    dialect = dialects.get(name)
    if route.model and route.model != dialect.peek("", members).model:
        members = dialect.rename("", members, route.model)[1]
    return route.apply(members, name, dialect.limits)


def whole_path(route: Route, path: str, client_path: str, *, passthrough: bool = False) -> str:
    """The path as it is sent."""
    seen, secret = route.query(path, client_path, passthrough=passthrough)
    return f"{seen}{'&' if '?' in seen else '?'}{secret}" if secret else seen


def sent(route: Route, body: str, dialect: str = "openai_chat") -> Any:
    return json.loads(msgspec.json.encode(apply(route, raw(body), dialect)))


OPENAI = "provider: openai\nauth: none\n"


BASE: dict[Any, Any] = {"provider": "openai", "auth": "none"}
