"""APISIX's plugins that look at prompts, as the policies of a route."""

from __future__ import annotations

import re
from typing import Any

from .envoy import Made, Wanted, leftovers

_NOT_RE2 = re.compile(r"\(\?(?:[=!>]|<[=!])|\\[1-9]|[*+?}]\+")
"""Look-arounds, atomic groups, back references and possessive repetitions."""


def policies(plugins: dict[str, Any], wanted: Wanted, made: Made) -> None:
    """Of *plugins*, some of PLUGINS: in the order in which APISIX runs them."""
    found = []
    for name in PLUGINS:
        if name in plugins:
            plugin = dict(plugins[name] or {})
            plugin.pop("_meta", None)
            found.append({name.removeprefix("ai-").replace("-", "_"): _MEMBERS[name](plugin, made, f"plugins.{name}")})
            leftovers(plugin, made, f"plugins.{name}.")
    if found:
        wanted.level["policies"] = found


def _guard(plugin: dict[str, Any], made: Made, path: str) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name in ("allow_patterns", "deny_patterns"):
        if patterns := plugin.pop(name, None):
            members[name] = patterns
            for at, pattern in enumerate(patterns):
                if _NOT_RE2.search(str(pattern)):
                    made.note(f"{path}.{name}[{at}]", "is no pattern of RE2's: write it without look-arounds")
    for name in ("match_all_roles", "match_all_conversation_history", "deny_message", "fail_mode"):
        if name in plugin:
            members[name] = plugin.pop(name)
    members["deny_code"] = plugin.pop("deny_code", 400)
    return members


def _template(plugin: dict[str, Any], made: Made, path: str) -> dict[str, Any]:
    templates = plugin.pop("templates", [])
    return {"templates": [{name: each[name] for name in ("name", "template") if name in each} for each in templates]}


def _around(plugin: dict[str, Any], made: Made, path: str) -> dict[str, Any]:
    return {name: plugin.pop(name) for name in ("prepend", "append") if plugin.get(name)}


_MEMBERS = {"ai-prompt-guard": _guard, "ai-prompt-template": _template, "ai-prompt-decorator": _around}
PLUGINS = tuple(_MEMBERS)
