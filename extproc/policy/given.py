"""The members of a policy as the operator wrote them: each is read by its name and its kind, what nobody has read is
unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..credentials.secrets import Secret
from .base import PolicyError, Served

SERVED = ("provider", "provider_conf", "upstream", "auth", "options", "override", "quirks")
"""The members by which a route, and a policy that asks a model of its own, says whom it asks."""


class Operator(Protocol):
    """Makes of what is written at a path what it stands for. Raises what says so to the operator."""

    def secret(self, path: str, text: str) -> Secret:
        """*text* with its ``${NAME}`` and ``${file:/path}``."""
        ...

    def served(self, path: str, members: Mapping[str, Any], *, embeds: bool = False) -> Served:
        """Whom *members*, of SERVED, name: a model that answers, or that *embeds*."""
        ...


class Given:
    """Reads each member at most once, then ``finish``. Every method raises PolicyError with the path."""

    def __init__(self, members: Mapping[str, Any], path: str, operator: Operator, whole: Given | None = None) -> None:
        self._whole = whole or self
        self._members = dict(members)
        self._path = path
        self._operator = operator
        self._known: list[str] = []
        self.fail_open = False
        """What ``fail`` says: for a policy that says it in other words to set."""
        self.quiet = False
        """And whether nothing is logged when it goes on unseen."""
        self.guards = False
        """Whether it keeps something back that is not to pass unseen: for such a policy to set."""
        self.asks = False
        """Whether it names a service that it asks, here or in a part."""

    def error(self, name: str, problem: str) -> PolicyError:
        return PolicyError(f"{self._path}.{name}", problem)

    def text(self, name: str, default: str | None = None) -> str:
        """Without a *default* it must be there."""
        value = self._taken(name, default)
        if not isinstance(value, str):
            raise self.error(name, "expected text (quote it)")
        return value

    def secret(self, name: str) -> Secret:
        """Text that may refer to ``${NAME}`` and ``${file:/path}``."""
        return self._operator.secret(f"{self._path}.{name}", self.text(name))

    def url(self, name: str, default: str | None = None) -> str:
        """The address of a service."""
        url = self.text(name, default)
        if not url.startswith(("http://", "https://")) or not url.isascii() or any(char <= " " for char in url):
            raise self.error(name, "expected a URL, http:// or https://")
        self._whole.asks = True
        return url

    def served(self, *, embeds: bool = False) -> Served:
        """Whom SERVED's members name: a model with its provider and its credential, that answers, or that *embeds*."""
        found = {name: value for name in SERVED if (value := self._optional(name)) is not None}
        if "provider" not in found:
            raise self.error("provider", "is needed")
        options = found.get("options")
        if not isinstance(options, Mapping) or not options.get("model"):
            raise self.error("options.model", "is needed")
        if "stream" in options:
            raise self.error("options.stream", "it is asked for whole answers")
        return self._served(found, embeds)

    def openai_embedder(self, endpoint: str) -> Served:
        """A model that embeds, of a server that speaks OpenAI's API, by members that say just that: ``endpoint`` with
        its path, ``api_key``, ``model``."""
        members: dict[str, Any] = {
            "provider": "openai-compatible",
            "override": {"endpoint": self.url("endpoint", endpoint)},
            "options": {"model": self.text("model")},
            "auth": {"header": {"authorization": f"Bearer {self.text('api_key')}"}} if self.has("api_key") else "none",
        }
        return self._served(members, True)

    def hosted(self, provider: str) -> Served:
        """What *provider* has beside models: in ``region``, by ``auth``, at ``endpoint`` if that is another."""
        members: dict[str, Any] = {"provider": provider, "auth": self._optional("auth") or {"aws": {}}}
        if self.has("region"):
            members["provider_conf"] = {"region": self.text("region")}
        if self.has("endpoint"):
            members["override"] = {"endpoint": self.url("endpoint")}
        return self._served(members, False)

    def _served(self, members: Mapping[str, Any], embeds: bool) -> Served:
        self._whole.asks = True
        return self._operator.served(self._path, members, embeds=embeds)

    def secret_if_any(self, name: str) -> Secret | None:
        """The same; ``None`` if it is not there."""
        return self.secret(name) if self.has(name) else None

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """The first is the default."""
        value = self._taken(name, choices[0])
        if value not in choices:
            raise self.error(name, f"choose one of: {', '.join(filter(None, choices))}")
        return str(value)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._taken(name, default)
        if not isinstance(value, bool):
            raise self.error(name, "expected true or false")
        return value

    def count(self, name: str, default: int, *, least: int = 1) -> int:
        value = self._taken(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.error(name, f"expected a whole number, at least {least}")
        return value

    def count_if_any(self, name: str, *, least: int = 1) -> int | None:
        """The same; ``None`` if it is not there."""
        return self.count(name, least, least=least) if self.has(name) else None

    def seconds(self, name: str, default: float) -> float:
        value = self._taken(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 3600:
            raise self.error(name, "expected a number of seconds")
        return float(value)

    def texts(self, name: str) -> list[str] | None:
        """A list of texts; ``None`` if it is not there."""
        value = self._optional(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.error(name, "expected a list of texts")
        return value

    def pairs(self, name: str) -> dict[str, str]:
        """A mapping of text to text; empty if it is not there."""
        value = self._taken(name, {})
        if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in value.values()):
            raise self.error(name, "expected a mapping of text to text")
        return dict(value)

    def numbers(self, name: str) -> dict[str, float]:
        """A mapping of text to a number; empty if it is not there."""
        value = self._taken(name, {})
        if not isinstance(value, Mapping) or not all(type(each) in (int, float) for each in value.values()):
            raise self.error(name, "expected a mapping of text to a number")
        return {str(each): float(number) for each, number in value.items()}

    def mapping(self, name: str) -> dict[str, Any]:
        """A mapping of text to anything that JSON has; it must be there."""
        value = self._taken(name, None)
        if not isinstance(value, Mapping):
            raise self.error(name, "expected a mapping")
        return dict(value)

    def has(self, name: str) -> bool:
        """Whether it is there."""
        if self._members.get(name) is not None:
            return True
        self._optional(name)
        return False

    def part(self, name: str) -> Given:
        """A mapping that must be there, to be read by its members. It is to be finished, too."""
        return Given(self.mapping(name), f"{self._path}.{name}", self._operator, self._whole)

    def parts(self, name: str) -> list[Given]:
        """A list of mappings; empty if it is not there. Each is to be finished, too."""
        value = self._taken(name, [])
        if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
            raise self.error(name, "expected a list of mappings")
        path = f"{self._path}.{name}"
        return [Given(each, f"{path}[{at}]", self._operator, self._whole) for at, each in enumerate(value)]

    def finish(self) -> None:
        """All that is known has been read."""
        for name in self._members:
            raise self.error(name, f"unknown key; choose one of: {', '.join(self._known)}")

    def _optional(self, name: str) -> Any:
        self._known.append(name)
        return self._members.pop(name, None)

    def _taken(self, name: str, default: Any) -> Any:
        value = self._optional(name)
        if value is None:
            if default is None:
                raise self.error(name, "is needed")
            return default
        return value
