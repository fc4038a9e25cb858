"""Single places of a JSON text, changed."""

from __future__ import annotations

import msgspec
import pytest

from extproc.dialects.shared.splice import ABSENT, Edits, RawJson, path_of

BODY = b'{"a" : [1.50, {"b":  "x", "c": null}, "\\u00e9"], "d":{"e":1e3} , "f": [ ]}'


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("messages[0].content[12].text", ("messages", 0, "content", 12, "text")),
        ("system", ("system",)),
        ("", ()),
        ("toolConfig.tools[3].toolSpec", ("toolConfig", "tools", 3, "toolSpec")),
    ],
)
def test_paths(text: str, path: tuple[str | int, ...]) -> None:
    assert path_of(text) == path


def test_a_document_is_read_where_it_is_asked() -> None:
    document = RawJson(BODY)
    assert document.raw(("a", 0)) == b"1.50" and document.value(("a", 1, "b")) == "x"
    assert document.raw(("d",)) == b'{"e":1e3}' and document.raw(()) == BODY
    assert document.value(("a", 1, "c")) is None and document.value(("f",)) == []
    for nowhere in (("z",), ("a", 9), ("a", "b"), ("d", "e", "x"), ("f", 0)):
        assert document.raw(nowhere) is None and document.value(nowhere) is ABSENT
    assert document.level(("d", "e")) is None


def test_nothing_to_do_gives_the_same_object() -> None:
    edits = Edits()
    edits.at(("a", 1))
    assert not edits and edits.applied(BODY) is BODY


def test_what_is_not_on_the_way_keeps_its_bytes() -> None:
    edits = Edits()
    edits.put(("a", 1, "b"), "y")
    out = edits.applied(BODY)
    assert msgspec.json.decode(out)["a"][1] == {"b": "y", "c": None}
    for kept in (b"1.50", b'"\\u00e9"', b'{"e":1e3}', b"[ ]"):
        assert kept in out


def test_members_come_and_go() -> None:
    edits = Edits()
    edits.remove(("d",))
    edits.remove(("not", "there"))
    edits.put(("new", "deep"), msgspec.Raw(b"1.0"))
    out = edits.applied(BODY)
    assert msgspec.json.decode(out).keys() == {"a", "f", "new"} and b'"new":{"deep":1.0}' in out


def test_elements_come_and_go_and_change_their_order() -> None:
    edits = Edits()
    edits.put(("a", 1, "b"), "y")
    edits.put(("a", 2), "not shown: it is not in the order")
    edits.arrange(("a",), [1, b"true", 0])
    assert b'"a":[{"b":"y","c":null},true,1.50]' in edits.applied(BODY)
    edits = Edits()
    edits.remove(("a", 0))
    assert msgspec.json.decode(edits.applied(BODY))["a"] == [{"b": "x", "c": None}, "\u00e9"]
