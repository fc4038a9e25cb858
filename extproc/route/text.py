"""A route's text, as YAML 1.2 or JSON, to plain values; and what may be wrong with it, said with where it stands."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

MAX_TEXT = 64 * 1024
"""Characters of one level's text."""
MAX_DEPTH = 32
"""Levels of nesting in it."""

_INT = re.compile(r"^(?:[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+)$")
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_QUOTED = re.compile(r"'[^']{2,}'|\"[^\"]{2,}\"")


class RouteError(Exception):
    """The operator's fault: the message names the level (route, cluster, endpoint) and the path in its metadata, what
    was expected there, and never a secret. ``transient``: it is about a file, so the next attempt may go well."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        # One line, whatever keys the metadata holds: it goes into logs and headers.
        super().__init__("".join(char if char.isprintable() else "?" for char in message))
        self.transient = transient


def read(source: str | Mapping[str, Any], level: str) -> dict[str, Any]:
    """One level's metadata as plain JSON values. *source* is its text, or the mapping itself. Raises RouteError."""
    value = _parse(source, level) if isinstance(source, str) else source
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise RouteError(f"{level}: expected a mapping such as {{provider: openai, auth: none}}")
    return {_key(key, level, ""): _plain(item, level, str(key), 1) for key, item in value.items()}


def choose(given: Any, choices: Iterable[str]) -> str:
    """What to add to the news that *given* is unknown: the nearest name, and all of them."""
    names = list(choices)
    wanted = given.lower() if isinstance(given, str) else ""
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.6)
    listed = f"one of: {', '.join(names)}"
    return f"; did you mean {near[0]!r}? Choose {listed}" if near else f"; choose {listed}"


def shown(given: Any) -> str:
    """A wrong name as it may stand in a message: short, on one line."""
    text = given if isinstance(given, str) else type(given).__name__
    return repr(text if len(text) <= 48 else text[:48] + "...")


def _parse(text: str, level: str) -> Any:
    if len(text) > MAX_TEXT:
        raise RouteError(f"{level}: the text is longer than {MAX_TEXT} characters")
    try:
        if text.lstrip()[:1] == "{":
            try:
                return json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant)
            except json.JSONDecodeError:
                pass  # YAML's flow form looks alike.
        return yaml.load(text, Loader=_Loader)
    except _Twice as error:
        raise RouteError(f"{level}: {error}") from None
    except yaml.YAMLError as error:
        raise RouteError(f"{level}: not YAML or JSON: {_problem(error)}") from None
    except RecursionError:
        raise RouteError(f"{level}: nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        raise RouteError(f"{level}: not YAML or JSON: a number that no JSON number can be") from None


def _problem(error: yaml.YAMLError) -> str:
    """What YAML says and where, without the text around it, which may hold a secret."""
    problem = _QUOTED.sub("...", str(getattr(error, "problem", None) or getattr(error, "reason", "malformed")))
    mark = getattr(error, "problem_mark", None)
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark else problem


class _Twice(Exception):
    """A key was given twice: whichever wins, it is not what the operator meant."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(f"{shown(key)} is given twice")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _refused(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema, as JSON's values: ``on`` is a word, ``1e-3`` a number, ``2024-10-21`` a text. No aliases:
    a few of them make a text of any size. No tags: values are JSON's."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.events.AliasEvent):
            raise _refused("aliases are not allowed here", event.start_mark)
        if event.__dict__.get("tag") is not None:
            raise _refused("tags are not allowed here", event.start_mark)
        return super().compose_node(parent, index)

    def mapping(self, node: Any) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _refused("a key is not text", key_node.start_mark)
            if key in found:
                raise _Twice(f"{shown(key)} is given twice")
            found[key] = self.construct_object(value_node, deep=True)
        return found

    def integer(self, node: Any) -> int:
        text = self.construct_scalar(node)
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)

    def number(self, node: Any) -> float:
        return float(self.construct_scalar(node))


def _resolver(tag: str, rule: re.Pattern[str], first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", rule, list(first))


_resolver("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
_resolver("int", _INT, "-+0123456789")
_resolver("float", _FLOAT, "-+.0123456789")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.yaml_constructors = {
    **yaml.SafeLoader.yaml_constructors,
    "tag:yaml.org,2002:int": _Loader.integer,
    "tag:yaml.org,2002:float": _Loader.number,
    "tag:yaml.org,2002:map": _Loader.mapping,
}


def _plain(value: Any, level: str, path: str, depth: int) -> Any:
    """A copy of *value*, of JSON's own types alone."""
    if depth > MAX_DEPTH:
        raise RouteError(f"{level}: {_short(path)}: nested deeper than {MAX_DEPTH} levels")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, level, path)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise RouteError(f"{level}: {_short(path)}: the number does not fit into 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RouteError(f"{level}: {_short(path)}: a number that no JSON number can be")
        return float(value)
    if isinstance(value, Mapping):
        return {_key(key, level, path): _plain(item, level, f"{path}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, level, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise RouteError(f"{level}: {_short(path)}: {type(value).__name__} is not a kind of JSON value")


def _key(key: Any, level: str, path: str) -> str:
    if not isinstance(key, str):
        raise RouteError(f"{level}: {_short(path) or 'the mapping'}: a key is not text")
    return _text(key, level, path)


def _text(value: str, level: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RouteError(f"{level}: {_short(path)}: the text holds half a surrogate pair") from None
    return str(value)


def _short(path: str) -> str:
    return path[:120]
