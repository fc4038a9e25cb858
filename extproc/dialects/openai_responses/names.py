"""The names of tools that stand in a namespace, for APIs that know no such thing.

Codex puts its own tools and those of MCP servers into namespaces. Elsewhere a tool's name has the namespace before it;
calls get both back apart.
"""

from __future__ import annotations

from typing import Final

from ...frozen import Frozen
from ..shared.naming import hash8

SEARCH: Final = "tool_search"
"""The name under which a search for tools that the client carries out is a function of another API."""


class Named(Frozen):
    """A tool as this API names it."""

    name: str
    namespace: str


class ToolNames:
    """Flat names, each for one tool. The same tool always has the same name; of two that would be alike, the later one
    gets a hash behind it."""

    def __init__(self) -> None:
        self.named: dict[str, Named] = {}
        """Flat name -> where it differs, what it stands for."""
        self.searches = False
        """``SEARCH`` stands for a search of the client's."""
        self._flat: dict[tuple[str, str], str] = {}
        self._within: dict[str, list[str]] = {}
        self._used: set[str] = set()

    def flat(self, name: str, namespace: str = "") -> str:
        """The name of the tool that is called *name* in *namespace*."""
        known = self._flat.get((namespace, name))
        if known is None:
            known = f"{namespace}{_joint(namespace, name)}{name}"
            if known in self._used:
                known = f"{known}_{hash8(f'{namespace}.{name}')}"
            self._flat[(namespace, name)] = known
            self._used.add(known)
            self._within.setdefault(namespace, []).append(known)
            if known != name:
                self.named[known] = Named(name, namespace)
        return known

    def within(self, namespace: str) -> list[str]:
        """The flat names of all tools in *namespace*."""
        return self._within.get(namespace, [])


def _joint(namespace: str, name: str) -> str:
    return "" if not namespace or namespace.endswith("_") or name.startswith("_") else "__"
