"""What was recorded of the APIs, with everything made long in it that can be: each list, each object, each event."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

from .pipeline import GOLDEN, goldens

Json = Any
Longer = Callable[[int], bytes]
"""The same with so many of something."""
Place = tuple[str | int, ...]

_TOLD_APART = frozenset({"id", "call_id", "tool_call_id", "tool_use_id", "toolUseId", "name", "item_id"})
"""Members by whose values APIs tell one thing from another."""
_PARTS = 8
"""How deep lists and objects are looked for."""


def requests(dialect: str) -> list[tuple[str, Callable[[int], Json]]]:
    """Bodies with one list, or one object, made long, each with its name. Every place once: what differs by a number
    is one."""
    lines = (GOLDEN / dialect / "requests.jsonl").read_text("utf-8").splitlines()
    return _longer([json.loads(line) for line in lines])


def _longer(bodies: list[Json]) -> list[tuple[str, Callable[[int], Json]]]:
    found: dict[str, Callable[[int], Json]] = {}
    for body in bodies:
        for place in _places(body):
            name = ".".join("[]" if isinstance(step, int) else step for step in place)
            found.setdefault(name, _made_long(body, place))
            if isinstance(_at(body, place), list):
                found.setdefault(f"{name} alike", _made_long(body, place, alike=True))
    return list(found.items())


def _places(value: Json, at: Place = ()) -> Iterator[Place]:
    if len(at) > _PARTS:
        return
    if isinstance(value, list) and value:
        yield at
    if isinstance(value, dict):
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, each in inner:
        yield from _places(each, (*at, step))


def _at(value: Json, place: Place) -> Json:
    for step in place:
        value = value[step]
    return value


def _made_long(body: Json, place: Place, *, alike: bool = False) -> Callable[[int], Json]:
    def made(n: int) -> Json:
        found = copy.deepcopy(body)
        it = _at(found, place)
        if isinstance(it, list):
            it[:] = [it[i % len(it)] if alike else _told_apart(it[i % len(it)], i) for i in range(n)]
        else:
            it.update({f"m{i}": {} for i in range(n)})
        return found

    return made


def _told_apart(value: Json, number: int, name: str = "") -> Json:
    if isinstance(value, dict):
        return {key: _told_apart(each, number, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_told_apart(each, number) for each in value]
    return f"{value}{number}" if name in _TOLD_APART and isinstance(value, str) else value


# ---- answers


def streams(dialect: str) -> list[tuple[str, Longer]]:
    """Recorded streams with one event told over and over, and with one list in an event made long."""
    found: dict[str, Longer] = {}
    for path in goldens(dialect):
        events = _events(path.read_bytes(), path.suffix)
        for place, event in enumerate(events):
            kind = _kind(event)
            found.setdefault(f"events of {kind}", _told_again(events, place))
            if path.suffix == ".sse" and (data := _data(event)) is not None:
                for name, longer in _longer([data]):
                    found.setdefault(f"{kind}: {name}", _with(events, place, longer))
    return list(found.items())


def wholes(whole: Json) -> list[tuple[str, Longer]]:
    """An answer that is no stream, with one list or object in it made long."""
    return [(name, lambda n, longer=longer: json.dumps(longer(n)).encode()) for name, longer in _longer([whole])]  # type: ignore[misc]


def _events(stream: bytes, suffix: str) -> list[bytes]:
    if suffix == ".sse":
        return [event + b"\n\n" for event in stream.replace(b"\r\n", b"\n").split(b"\n\n") if event.strip()]
    events, at = [], 0
    while at < len(stream):
        size = int.from_bytes(stream[at : at + 4], "big")
        events.append(stream[at : at + size])
        at += size
    return events


def _data(event: bytes) -> Json:
    lines = [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]
    try:
        return json.loads(b"\n".join(lines))
    except ValueError:
        return None


def _kind(event: bytes) -> str:
    """What tells kinds of events apart: the members that they have."""
    data = _data(event)
    if not isinstance(data, dict):
        return repr(event[16:80])
    inner = next((each for each in data.values() if isinstance(each, (dict, list)) and each), {})
    inner = inner[0] if isinstance(inner, list) else inner
    deeper = inner.get("delta", inner) if isinstance(inner, dict) else {}
    return f"{data.get('type', '')} {sorted(data)} {sorted(deeper) if isinstance(deeper, dict) else ''}"


def _told_again(events: list[bytes], place: int) -> Longer:
    return lambda n: b"".join([*events[:place], events[place] * n, *events[place + 1 :]])


def _with(events: list[bytes], place: int, longer: Callable[[int], Json]) -> Longer:
    lines = [line for line in events[place].split(b"\n") if line and not line.startswith(b"data:")]

    def made(n: int) -> bytes:
        event = b"\n".join([*lines, b"data: " + json.dumps(longer(n)).encode()]) + b"\n\n"
        return b"".join([*events[:place], event, *events[place + 1 :]])

    return made
