"""What became of each member of a client's request, in the provider's.

A value that stands in both is found by looking; of any other it is found by trying: the request is translated again
without that member, or with another value, and what differs then is what it had become. So no dialect has to say what
it does, and what is told here is what the code does.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from ..frozen import Frozen
from ..llm.losses import Loss
from .again import Captured, NotAgain, body_of, request_again, route_of

log = logging.getLogger(__name__)

MAX_FATES = 2000
"""What is told of one request, at most."""
MAX_TRIALS = 96
"""How often a request is translated again, to see what depends on a member."""
MAX_PLACES = 64
"""At which a value is looked for, of those where it stands."""
_SHAPE = ("type", "role")
"""Members that say what those beside them are."""
_DISTINCT = 8
"""Characters of a text that stands in two places for one reason."""

Trail = tuple[str | int, ...]
_encode = msgspec.json.Encoder(order="sorted").encode


class Fate(Frozen):
    """Of the client's member at ``path``; of what nobody asked for the ``path`` is empty."""

    path: str
    how: str
    """``kept``, ``moved`` (the same value elsewhere), ``rewritten``, a loss's action, ``replaced`` (another value
    stands there, whatever the client's is), ``unused``, ``added``, ``unknown``."""
    became: list[str] = []
    """Where in the provider's request."""
    why: str = ""


def explained(exchange: Captured, trials: int = MAX_TRIALS) -> list[Fate]:
    """What became of each member of the *exchange*'s request. Raises NotAgain."""
    asked, sent = body_of(exchange, "client", "request"), body_of(exchange, "upstream", "request")
    members, route = _object(asked), route_of(exchange)
    again = request_again(exchange, asked or b"", route)
    if sent is None or not again.asked:
        raise NotAgain("no provider was asked")
    made = _object(sent)

    def tried(other: dict[str, Any]) -> dict[str, Any] | None:
        found = request_again(exchange, msgspec.json.encode(other), route)
        return _object(found.sent) if found.asked else None

    return fates(members, made, again.translation.request_losses, tried, trials)


def with_members(exchange: dict[str, Any]) -> dict[str, Any]:
    """*exchange* with ``members``, what became of each; or with ``members_unknown``, why that cannot be told."""
    try:
        return {**exchange, "members": explained(exchange)}
    except NotAgain as why:
        return {**exchange, "members_unknown": str(why)}
    except RecursionError:
        return {**exchange, "members_unknown": "it is nested too deeply"}
    except Exception:
        log.exception("a bug in what became of a request's members")
        return {**exchange, "members_unknown": "a bug: see the sidecar's log"}


def _object(body: bytes | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body or b"")
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        raise NotAgain("a body is no JSON object")
    return found


def fates(
    asked: dict[str, Any],
    sent: dict[str, Any],
    losses: Iterable[Loss],
    tried: Callable[[dict[str, Any]], dict[str, Any] | None],
    trials: int = MAX_TRIALS,
) -> list[Fate]:
    """What became of the members of *asked* in *sent*. *tried* gives what is sent for something else that is asked,
    ``None`` where nothing is."""
    return _Finding(asked, sent, losses, tried, trials).all()


class _Finding:
    def __init__(
        self,
        asked: dict[str, Any],
        sent: dict[str, Any],
        losses: Iterable[Loss],
        tried: Callable[[dict[str, Any]], dict[str, Any] | None],
        trials: int,
    ) -> None:
        self._asked = asked
        self._tried = tried
        self._trials = trials
        self._lost = {loss.path: loss for loss in losses}
        self._above = {above for path in self._lost for above in _above(path)}
        self._places: dict[bytes, dict[Trail, None]] = defaultdict(dict)
        for path, value in _nodes(sent):
            self._places[_encode(value)][path] = None
        self._leaves = dict(_leaves(sent))
        # What is sent for the same once more, for the comparison: the code may be newer than the exchange.
        self._base = dict(_leaves(tried(asked) or {}))
        self._taken: set[Trail] = set()
        self._told: set[str] = set()
        self._found: list[Fate] = []

    def all(self) -> list[Fate]:
        open_: list[tuple[Trail, Any]] = []
        for name, value in self._asked.items():
            self._look((name,), value, open_)
        for path, value in open_:
            self._try(path, value)
        for place, loss in self._lost.items():
            if place not in self._told:
                self._found.append(Fate(place, loss.action.value, [], loss.detail))
        for where in self._leaves:
            if where[-1] not in _SHAPE and not self._is_taken(where):
                self._found.append(Fate("", "added", [written(where)]))
        order = {written(path): number for number, (path, _) in enumerate(_nodes(self._asked))}
        self._found.sort(key=lambda fate: order.get(fate.path, len(order)))
        return self._found[:MAX_FATES]

    def _look(self, path: Trail, value: Any, open_: list[tuple[Trail, Any]]) -> None:
        """Find *value* in what was sent; what is not found there is left *open_*."""
        text = written(path)
        if self._loss(path) is not None:
            open_.append((path, value))
            return
        if text not in self._above and (where := self._place(path, value)) is not None:
            self._taken.add(where)
            self._found.append(Fate(text, "kept" if where == path else "moved", [written(where)]))
        elif isinstance(value, dict) and value:
            for name, each in value.items():
                self._look((*path, name), each, open_)
        elif isinstance(value, list) and value:
            for number, each in enumerate(value):
                self._look((*path, number), each, open_)
        else:
            open_.append((path, value))

    def _loss(self, path: Trail) -> Loss | None:
        """What the translation says of that member: by its path, or by its name wherever it stands."""
        found = self._lost.get(written(path))
        return self._lost.get(str(path[-1])) if found is None and path[-1] not in self._asked else found

    def _place(self, path: Trail, value: Any) -> Trail | None:
        there = self._places.get(_encode(value), {})
        if path in there and not self._is_taken(path):
            return path
        places = []
        for place in list(islice(there, MAX_PLACES)):
            if self._is_taken(place):
                # Met once, and never again.
                del there[place]
            else:
                places.append(place)
        alike = [place for place in places if place[-1] == path[-1]]
        if alike:
            return next((place for place in alike if place[0] == path[0]), alike[0])
        if isinstance(value, str):
            plain = path[-1] not in _SHAPE and value
            return places[0] if plain and places and (len(places) == 1 or len(value) >= _DISTINCT) else None
        return places[0] if isinstance(value, (dict, list)) and value and places else None

    def _is_taken(self, place: Trail) -> bool:
        return any(place[:size] in self._taken for size in range(1, len(place) + 1))

    def _try(self, path: Trail, value: Any) -> None:
        text = written(path)
        loss = self._loss(path)
        siblings = _at(self._asked, path[:-1])
        if loss is None and path[-1] in _SHAPE and len(siblings) > 1:
            return
        changed = self._changed_without(path, value)
        became = [] if changed is None else [written(where) for where in changed]
        self._taken.update(changed or ())
        if loss is not None:
            self._told.add(loss.path)
            self._found.append(Fate(text, loss.action.value, became, loss.detail))
        elif changed is None:
            self._found.append(Fate(text, "unknown", [], "it cannot be told by trying"))
        elif not became and path in self._leaves and not self._is_taken(path):
            self._taken.add(path)
            self._found.append(Fate(text, "replaced", [text]))
        else:
            self._found.append(Fate(text, "rewritten" if became else "unused", became))

    def _changed_without(self, path: Trail, value: Any) -> list[Trail] | None:
        """What of the provider's request is another when that member is not there, or another; ``None`` if that cannot
        be asked for."""
        found: list[Trail] | None = None
        for other in _others(self._asked, path, value):
            if found or self._trials <= 0:
                break
            self._trials -= 1
            sent = self._tried(other)
            if sent is not None:
                now = dict(_leaves(sent))
                found = [where for where, each in self._base.items() if where not in now or now[where] != each]
        return found


def _above(path: str) -> Iterator[str]:
    """The members within which that at *path* stands."""
    return (path[: found.start()] for found in re.finditer(r"[.\[]", path))


def _others(asked: dict[str, Any], path: Trail, value: Any) -> Iterator[dict[str, Any]]:
    """*asked* without the member at *path*, then with another value there."""
    if isinstance(path[-1], str):
        yield _with(asked, path, None, removed=True)
    if isinstance(value, bool):
        yield _with(asked, path, not value)
    elif isinstance(value, int | float):
        yield _with(asked, path, value + 1)
        # Beyond what a bound may have made of it.
        yield _with(asked, path, value * 2 + 64)
        yield _with(asked, path, value / 2 if isinstance(value, float) else value // 2)
    elif isinstance(value, str):
        yield _with(asked, path, value + "x")
    if len(path) > 1 and isinstance(path[-2], str):
        # A word that is one of a few: what it is said of is not there at all.
        yield _with(asked, path[:-1], None, removed=True)


def _with(value: Any, path: Trail, new: Any, *, removed: bool = False) -> Any:
    key, rest = path[0], path[1:]
    made: Any = dict(value) if isinstance(value, Mapping) else list(value)
    if rest:
        made[key] = _with(value[key], rest, new, removed=removed)
    elif removed:
        del made[key]
    else:
        made[key] = new
    return made


def _at(value: Any, path: Trail) -> Any:
    for key in path:
        value = value[key]
    return value


def _nodes(value: Any, path: Trail = ()) -> Iterator[tuple[Trail, Any]]:
    """All that is within *value*, each before what is within it."""
    if path:
        yield path, value
    pairs: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, each in pairs:
        yield from _nodes(each, (*path, key))


def _leaves(value: Any) -> Iterator[tuple[Trail, Any]]:
    return ((path, each) for path, each in _nodes(value) if not (isinstance(each, (dict, list)) and each))


def written(path: Trail) -> str:
    """*path* as losses have it: ``messages[0].content``."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text
