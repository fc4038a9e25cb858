from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.route.merge import ABSENT, as_object, fill, merge, same

from .routes import compiled, raw, sent


def test_a_null_of_the_clients_is_not_missing() -> None:
    route = compiled("{provider: openai, auth: none, override: {request_body: {openai_chat: {stop: [a], m: {x: 1}}}}}")
    assert sent(route, '{"stop":null,"m":"text"}') == {"stop": None, "m": "text"}


OLD = '{"a":1,"o":{"x":1,"y":[1]},"n":null}'


@pytest.mark.parametrize(
    ("patch", "merged", "filled"),
    [
        ({}, OLD, OLD),
        ({"a": 2}, '{"a":2,"o":{"x":1,"y":[1]},"n":null}', OLD),
        ({"o": {"x": 2, "z": 3}}, '{"a":1,"o":{"x":2,"y":[1],"z":3},"n":null}',
         '{"a":1,"o":{"x":1,"y":[1],"z":3},"n":null}'),
        ({"o": 1}, '{"a":1,"o":1,"n":null}', OLD),
        ({"a": {"b": 1}}, '{"a":{"b":1},"o":{"x":1,"y":[1]},"n":null}', OLD),
        ({"a": None, "n": 1}, '{"a":null,"o":{"x":1,"y":[1]},"n":1}', OLD),
        ({"new": {"l": [1]}}, '{"a":1,"o":{"x":1,"y":[1]},"n":null,"new":{"l":[1]}}',
         '{"a":1,"o":{"x":1,"y":[1]},"n":null,"new":{"l":[1]}}'),
    ],
    ids=str,
)  # fmt: skip
def test_objects_into_objects(patch: dict[str, Any], merged: str, filled: str) -> None:
    for old in (raw(OLD), msgspec.json.decode(OLD)):
        assert msgspec.json.encode(merge(old, patch)).decode() == merged
        assert msgspec.json.encode(fill(old, patch)).decode() == filled


def test_what_already_says_so_keeps_its_bytes() -> None:
    old = raw('{"a": 1, "o": {"x" : 1}}')
    assert merge(old, {"a": 1})["a"] is old["a"] and same(old["a"], 1) and not same(old["a"], 1.0)
    assert fill(old, {"o": {"x": 2}})["o"] is old["o"]
    assert not same(ABSENT, None) and as_object(old["a"]) is None and as_object(old["o"]) == {"x": 1}


def test_nothing_mutable_is_shared_with_the_route() -> None:
    patch: dict[str, Any] = {"l": [1], "o": {"l": [1]}}
    made = merge({}, patch)
    made["l"].append(2)
    made["o"]["l"].append(2)
    made["o"]["x"] = 1
    assert patch == {"l": [1], "o": {"l": [1]}}
    filled = fill({}, patch)
    filled["o"]["x"] = 1
    assert patch["o"] == {"l": [1]}
