from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.framing.jsonarray import ElementTooLarge, JsonArrayDecoder

VALUES = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(st.characters(codec="utf-8"))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text('a{}[]\\"', max_size=3), inner)),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(st.text('a{}[]\\"', max_size=3), VALUES, max_size=3), max_size=4)


def decoded(data: bytes, *cuts: int) -> tuple[list[Any], bool]:
    decoder = JsonArrayDecoder()
    bounds = [0, *sorted(cuts), len(data)]
    elements = [x for a, b in pairwise(bounds) for x in decoder.feed(data[a:b])]
    return [json.loads(x) for x in elements + decoder.end()], decoder.closed


@given(OBJECTS, st.sampled_from([None, 1]), st.booleans(), st.data())
def test_any_cut_gives_the_same_elements(
    objects: list[Any], indent: int | None, ascii_only: bool, data: st.DataObject
) -> None:
    wire = json.dumps(objects, indent=indent, ensure_ascii=ascii_only).encode()
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=4))
    assert decoded(wire, *cuts) == (objects, True)
    assert decoded(wire, *range(len(wire))) == (objects, True)


def test_an_element_comes_with_the_byte_that_ends_it() -> None:
    decoder = JsonArrayDecoder()
    assert decoder.feed(b'[{"a": "}]\\"{"') == []
    assert decoder.feed(b"}") == [b'{"a": "}]\\"{"}']
    assert decoder.feed(b"\r\n,\n") == []
    assert decoder.feed(b'{"b":[{}]}') == [b'{"b":[{}]}']
    assert not decoder.closed
    assert decoder.feed(b"]") == []
    assert decoder.closed


@pytest.mark.parametrize(
    ("wire", "elements", "closed"),
    [
        (b"[]", [], True),
        (b"", [], False),
        (b'{"error": {}}', [b'{"error": {}}'], False),
        (b'  [ {"a":1} , {"b"', [b'{"a":1}', b'{"b"'], False),
        (b'[{"a":1}', [b'{"a":1}'], False),
        (b'[3, "x", {"a":1}, null]', [b'{"a":1}'], True),
        (b"\xff\xfe[{}]", [b"{}"], True),
    ],
)
def test_what_is_no_array_of_objects(wire: bytes, elements: list[bytes], closed: bool) -> None:
    decoder = JsonArrayDecoder()
    found = [x for i in range(len(wire)) for x in decoder.feed(wire[i : i + 1])] + decoder.end()
    assert (found, decoder.closed) == (elements, closed)


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_an_element_is_bounded_wherever_it_was_cut(step: int) -> None:
    wire = b'[{"a":1},{"b":"' + b"x" * 100 + b'"},{"c":1}]'
    decoder = JsonArrayDecoder(max_element_bytes=50)
    found: list[bytes] = []
    with pytest.raises(ElementTooLarge, match="more than 50 bytes") as error:
        for i in range(0, len(wire), step):
            found += decoder.feed(wire[i : i + step])
    assert found + error.value.before == [b'{"a":1}']


def test_many_small_elements_in_one_piece_are_not_too_large() -> None:
    assert len(JsonArrayDecoder(50).feed(b"[" + b'{"a":1},' * 1000)) == 1000


@given(st.binary(max_size=60))
def test_any_bytes_at_all(data: bytes) -> None:
    decoder = JsonArrayDecoder()
    decoder.feed(data)
    decoder.end()
