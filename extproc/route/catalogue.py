"""The models of a gateway by the names that its clients use, as the metadata of Envoy's virtual host lists them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ..frozen import Frozen
from ..llm.models import Model
from ..names import remembered
from .cache import by_text
from .text import RouteError, choose, read, shown

LEVEL: Final = "virtual host"
MAX_NAMED: Final = 32
"""Models that an error names."""
MAX_NAMED_LENGTH: Final = 128
"""Characters of a client's word in an error."""
MEMBERS: Final[Mapping[str, str]] = {
    "model": "What such requests are routed and sent as; left out: the name itself. A `*` in it stands for what the "
    "one in the name stands for.",
    "name": "What clients show people; left out: the name itself.",
    "owned_by": "Whose it is, in the list that clients get; left out: `gateway`.",
    "created": "Since when there is it: a day such as 2025-09-29, or seconds since 1970.",
    "route": "The route of `extproc.routes` beside the list, by which the listener's own stream translates; left out: "
    "the cluster's filter does.",
}
"""What a line may say, and what docs/configuration.md says of that."""
_ROUTE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What a route may be called: the name stands in an attribute's path and in a header."""


class ModelEntry(Frozen):
    """One line. In ``model.id`` one ``*`` stands for any text, and then in ``target`` for the same text."""

    model: Model
    target: str
    route: str = ""
    """The route by which the listener's own stream translates; empty: whoever stands behind it does."""

    @property
    def is_pattern(self) -> bool:
        return "*" in self.model.id

    def sent_as(self, name: str) -> str | None:
        """What a client's *name* is sent as; ``None`` if this line is not about it."""
        if not self.is_pattern:
            return self.target if name == self.model.id else None
        before, _, after = self.model.id.partition("*")
        if len(name) < len(before) + len(after) or not (name.startswith(before) and name.endswith(after)):
            return None
        # No model is named by nothing at all.
        return self.target.replace("*", name[len(before) : len(name) - len(after)]) or None


class Catalogue:
    """``listed``: what clients are told of, in the operator's order. Patterns are known and not listed."""

    def __init__(self, entries: Iterable[ModelEntry]) -> None:
        lines = list(entries)
        self._exact = {line.model.id: line for line in lines if not line.is_pattern}
        patterns = [line for line in lines if line.is_pattern]
        # The longest says the most.
        self._patterns = sorted(patterns, key=lambda line: len(line.model.id), reverse=True)
        self._found = remembered(256)(self._line_of)
        self.listed = [line.model for line in self._exact.values()]
        self.routes = {line.route for line in lines if line.route}
        """By their names, those that lines lead to."""

    def find_line(self, name: str) -> tuple[str, str] | None:
        """The model that a request for *name* is routed and sent as, and the name of the route by which the listener
        translates it, empty if it does not; ``None`` if there is no such model."""
        return self._found(name)

    def _line_of(self, name: str) -> tuple[str, str] | None:
        if (line := self._exact.get(name)) is not None:
            return line.target, line.route
        for line in self._patterns:
            if (sent := line.sent_as(name)) is not None:
                return sent, line.route
        return None

    def sent_as(self, name: str) -> str | None:
        """The model that a request for *name* is routed and sent as; ``None`` if there is no such model."""
        found = self.find_line(name)
        return None if found is None else found[0]

    def find(self, name: str) -> Model | None:
        """What clients are told of *name*."""
        if (line := self._exact.get(name)) is not None:
            return line.model
        # That anything may have a route says of no name that it has one.
        named = (line for line in self._patterns if line.model.id != "*")
        line = next((line for line in named if line.sent_as(name) is not None), None)
        return None if line is None else Model(name, name, line.model.owner, line.model.created)

    def unknown(self, name: str) -> str:
        """What to say to a client that asked for *name*."""
        names = [model.id for model in self.listed] + [line.model.id for line in self._patterns if line.model.id != "*"]
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        said = f"the model `{name[:MAX_NAMED_LENGTH]}` does not exist or is not served here"
        return f"{said}; there are {', '.join(names[:MAX_NAMED])}{more}" if names else said


EMPTY: Final = Catalogue([])


def read_catalogue(text: str) -> Catalogue:
    """The catalogue that *text* (YAML or JSON) is. Raises RouteError. Kept by its text."""
    found = _read(text)
    if isinstance(found, str):
        raise RouteError(found)
    return found


@by_text(64)
def _read(text: str) -> Catalogue | str:
    try:
        return Catalogue([_entry(id_, value) for id_, value in _lines(text).items()])
    except RouteError as error:
        return str(error)


def _lines(text: str) -> Mapping[str, Any]:
    try:
        lines = read(text, LEVEL)
    except RouteError as error:
        raise RouteError(str(error).replace(f"{LEVEL}:", f"{LEVEL}: models:", 1)) from None
    if not lines:
        raise RouteError(f"{LEVEL}: models: expected a mapping such as {{gpt-5: {{}}, best: {{model: gpt-5}}}}")
    return lines


def _entry(id_: str, value: Any) -> ModelEntry:
    at = f"{LEVEL}: models: {id_[:MAX_NAMED_LENGTH]}"
    if not id_ or id_.count("*") > 1:
        raise RouteError(f"{at}: expected a model's name, in which one `*` may stand for any text")
    if value is not None and not isinstance(value, dict):
        raise RouteError(f"{at}: expected a mapping with {', '.join(MEMBERS)}, or nothing")
    members = value or {}
    for name in members:
        if name not in MEMBERS:
            raise RouteError(f"{at}: unknown key {shown(name)}{choose(name, MEMBERS)}")
    texts = {name: members.get(name, "") for name in ("model", "name", "owned_by", "route")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise RouteError(f"{at}.{name}: expected text (quote it)")
    target = texts["model"] or id_
    if "*" in target and "*" not in id_:
        raise RouteError(f"{at}.model: a `*` there stands for what the `*` in the name stands for, and it has none")
    model = Model(id_, texts["name"] or id_, texts["owned_by"] or "gateway", _created(members.get("created", 0), at))
    if texts["route"] and not is_route_name(texts["route"]):
        raise RouteError(f"{at}.route: expected the name of a route: letters, digits, `_`, `.` and `-`")
    return ModelEntry(model, target, texts["route"])


def is_route_name(name: str) -> bool:
    """Whether a line may lead to a route called *name*."""
    return _ROUTE.fullmatch(name) is not None


def _created(value: Any, at: str) -> int:
    """Unix seconds, or a day as 2025-09-29."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40:
        return value
    try:
        return int(datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except (TypeError, ValueError):
        raise RouteError(f"{at}.created: expected Unix seconds or a day such as 2025-09-29") from None
