"""What an operator wants to be looked at, changed or kept back in requests and answers, whatever API they speak: the
registry, the one place that names the policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import (
    moderation,
    prompt_decorator,
    prompt_guard,
    prompt_template,
    rag,
    redact,
    request_rewrite,
    tool_filter,
)
from .base import Configured, Make, PolicyError
from .given import Given, Operator

KINDS: dict[str, Callable[[Given], Make]] = {
    "moderation": moderation.configure,
    "prompt_decorator": prompt_decorator.configure,
    "prompt_guard": prompt_guard.configure,
    "prompt_template": prompt_template.configure,
    "rag": rag.configure,
    "redact": redact.configure,
    "request_rewrite": request_rewrite.configure,
    "tool_filter": tool_filter.configure,
}
"""By the name under which a route's ``policies`` has them."""


def configured(entries: Sequence[Mapping[str, Any]], operator: Operator) -> tuple[Configured, ...]:
    """A route's ``policies`` in their order: each a mapping of one name to that policy's members. Raises PolicyError,
    and what *operator* raises."""
    return tuple(_configured(f"policies[{at}]", entry, operator) for at, entry in enumerate(entries))


def _configured(path: str, entry: Mapping[str, Any], operator: Operator) -> Configured:
    if len(entry) != 1:
        raise PolicyError(path, "expected one policy's name with its members below it")
    ((name, members),) = entry.items()
    kind = KINDS.get(name)
    if kind is None:
        raise PolicyError(path, f"unknown policy {name[:48]!r}; choose one of: {', '.join(KINDS)}")
    if members is not None and not isinstance(members, Mapping):
        raise PolicyError(f"{path}.{name}", "expected a mapping")
    given = Given(members or {}, f"{path}.{name}", operator)
    given.fail_open = given.choice("fail", ("closed", "open")) == "open"
    make = kind(given)
    given.finish()
    return Configured(name, make, given.fail_open, given.quiet, given.guards, given.asks)
