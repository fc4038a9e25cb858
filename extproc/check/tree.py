"""An Envoy configuration as a tree in which everything knows where it was written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN = re.compile(r"[A-Za-z_@][A-Za-z0-9_@-]*\Z")
_SECONDS = re.compile(r"([0-9]+(?:\.[0-9]+)?)s\Z")
_TAG = "tag:yaml.org,2002:"
_TAGS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge", "timestamp", "value")}
_SCALARS = {_TAG + name for name in ("int", "float", "bool", "null")}
MAX_VALUES = 500_000
"""Values that a text may come to, each as often as aliases repeat it."""
MAX_DEPTH = 200
MERGE = "<<"
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


class Unreadable(Exception):
    """The input is no YAML or JSON of the kind that is wanted; the message is one line."""


class Node:
    """A value, or the place where one is missing: false then, with the line and path of where it would stand.

    Keys are Envoy's own (``snake_case``); ``lowerCamelCase``, which Envoy reads as well, is found too.
    """

    __slots__ = ("_raw", "line", "path")

    def __init__(self, raw: Any, path: str, line: int) -> None:
        self._raw = raw
        self.path = path
        self.line = raw.start_mark.line + 1 if raw is not None else line

    def __bool__(self) -> bool:
        return self._raw is not None and not self.is_null

    def __repr__(self) -> str:
        return f"Node({self.path!r}, line {self.line})"

    @property
    def identity(self) -> int:
        """The same for every place at which an alias repeats one value."""
        return id(self._raw)

    def same(self, other: Node) -> bool:
        return self._raw is other._raw

    @property
    def is_null(self) -> bool:
        return bool(self._raw is not None and self._raw.tag == "tag:yaml.org,2002:null")

    @property
    def is_mapping(self) -> bool:
        return isinstance(self._raw, yaml.MappingNode)

    @property
    def is_block(self) -> bool:
        """Whether it is a text whose lines stand below its key (``key: |``)."""
        return isinstance(self._raw, yaml.ScalarNode) and self._raw.style == "|"

    @property
    def is_list(self) -> bool:
        return isinstance(self._raw, yaml.SequenceNode)

    def get(self, *names: str) -> Node:
        """What stands under *names*, one below the other."""
        node = self
        for name in names:
            node = node._member(name)
        return node

    def _member(self, name: str) -> Node:
        path = f"{self.path}.{name}" if _PLAIN.match(name) else f"{self.path}['{name}']"
        path = path.removeprefix(".")
        if self.is_mapping:
            for key, value in self._raw.value:
                if key.value == name or key.value == _camel(name):
                    found = Node(value, path, self.line)
                    # The key's line: a block begins below it.
                    found.line = key.start_mark.line + 1
                    return found
            for key, value in self._raw.value:
                # YAML's merge, which what applies Kubernetes objects knows, and Envoy does not.
                for merged in Node(value, self.path, self.line)._merged() if key.value == MERGE else ():
                    if found := merged._member(name):
                        return found
        return Node(None, path, self.line)

    def _merged(self) -> Iterator[Node]:
        yield from [self] if self.is_mapping else (Node(item, self.path, self.line) for item in self._raw.value)

    def items(self) -> Iterator[tuple[str, Node]]:
        """The members of a mapping."""
        if self.is_mapping:
            for key, _ in self._raw.value:
                name = str(key.value)
                yield name, self._member(name)

    def __iter__(self) -> Iterator[Node]:
        """The elements of a list; one that should be a list and is not has none."""
        if self.is_list:
            for index, value in enumerate(self._raw.value):
                yield Node(value, f"{self.path}[{index}]", self.line)

    @property
    def text(self) -> str:
        """A scalar as it was written; empty for anything else."""
        return str(self._raw.value) if isinstance(self._raw, yaml.ScalarNode) and not self.is_null else ""

    @property
    def texts(self) -> list[str]:
        return [item.text for item in self]

    @property
    def true(self) -> bool:
        return self.text in _TRUE or (self.is_mapping and self.get("value").true)

    @property
    def false(self) -> bool:
        """Whether it says so; what is missing says nothing."""
        return self.text in _FALSE or (self.is_mapping and self.get("value").false)

    def number(self, default: int) -> int:
        """A whole number, also in the wrapped form ``{value: 1}``; *default* where there is none."""
        text = self.get("value").text if self.is_mapping else self.text
        return int(text) if text.isdigit() else default

    def seconds(self) -> float | None:
        """A duration such as ``0.5s``, or None."""
        found = _SECONDS.match(self.text)
        return float(found[1]) if found else None

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self._raw, yaml.MappingNode):
            return {str(key.value): Node(value, "", 0).plain() for key, value in self._raw.value}
        if isinstance(self._raw, yaml.SequenceNode):
            return [item.plain() for item in self]
        if not self or self._raw.tag not in _SCALARS:
            return self.text if self else None
        return yaml.SafeLoader("").construct_object(self._raw)

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Every member of every mapping below, with its key."""
        for name, value in self.items():
            yield name, value
            yield from value.walk()
        for item in self:
            yield from item.walk()

    def with_member(self, name: str, value: Node) -> Node:
        """The mapping with *value* as its member *name*: still the same thing, at the same place."""
        if not self.is_mapping or value._raw is None:
            return self
        key = yaml.ScalarNode(f"{_TAG}str", name, value._raw.start_mark)
        kept = [pair for pair in self._raw.value if pair[0].value not in (name, _camel(name))]
        raw = yaml.MappingNode(self._raw.tag, [*kept, (key, value._raw)], self._raw.start_mark)
        return Node(raw, self.path, self.line)

    def has(self, name: str) -> bool:
        return bool(self._member(name))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def parse(text: str) -> Node:
    """The one document of *text*. Raises Unreadable."""
    found = documents(text)
    if len(found) != 1:
        raise Unreadable("expected one document")
    return found[0]


def documents(text: str, *, after: int = 0) -> list[Node]:
    """The documents of *text*, each a mapping; their lines begin behind *after*. Raises Unreadable."""
    if after:
        text = "\n" * after + text
    if text.lstrip()[:1] in ("{", "["):
        # JSON may be indented by tabs, YAML may not.
        text = re.sub(r"^\t+", lambda tabs: "  " * len(tabs[0]), text, flags=re.MULTILINE)
    try:
        raws = list(yaml.compose_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise Unreadable(f"{where}{getattr(error, 'problem', None) or 'malformed'}") from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except ValueError as error:
        raise Unreadable(str(error).splitlines()[0]) from None
    raws = [raw for raw in raws if raw.tag != f"{_TAG}null"]
    sizes: dict[int, int] = {}
    for raw in raws:
        if not isinstance(raw, yaml.MappingNode):
            raise Unreadable("expected a mapping: a bootstrap, or the output of /config_dump")
        if _size(raw, sizes, 0) > MAX_VALUES:
            raise Unreadable(f"its aliases make more than {MAX_VALUES} values of it")
    if not raws:
        raise Unreadable("expected a mapping: a bootstrap, or the output of /config_dump")
    return [Node(raw, "", 1) for raw in raws]


def _size(raw: Any, sizes: dict[int, int], depth: int) -> int:
    """How many values *raw* comes to, with *sizes* of what has been seen. Refuses what is no plain value."""
    known = sizes.get(id(raw))
    if known is not None:
        if known < 0:
            raise Unreadable("an alias that contains itself")
        return known
    line = raw.start_mark.line + 1
    if depth > MAX_DEPTH:
        raise Unreadable(f"line {line}: nested deeper than {MAX_DEPTH} levels")
    if raw.tag not in _TAGS:
        raise Unreadable(f"line {line}: the tag {raw.tag.replace(_TAG, '!!')[:60]} is not allowed here")
    sizes[id(raw)] = -1
    size = 1
    if isinstance(raw, yaml.MappingNode):
        for key, value in raw.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Unreadable(f"line {key.start_mark.line + 1}: a key that is no text")
            size += _size(value, sizes, depth + 1)
    elif isinstance(raw, yaml.SequenceNode):
        size += sum(_size(item, sizes, depth + 1) for item in raw.value)
    elif raw.tag in _SCALARS:
        try:
            yaml.SafeLoader("").construct_object(raw)
        except (ValueError, yaml.YAMLError):
            raise Unreadable(f"line {line}: {raw.value[:40]!r} is not of the kind that its tag says") from None
    elif raw.tag == f"{_TAG}timestamp" and not raw.value[:4].isdigit():
        raise Unreadable(f"line {line}: {raw.value[:40]!r} is not of the kind that its tag says")
    sizes[id(raw)] = size
    return size
