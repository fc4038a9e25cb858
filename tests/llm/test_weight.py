from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.llm import weight
from extproc.llm.weight import is_heavier

MIB = 1024 * 1024
MOST = 320 * MIB
SIZE = 30_000_000


def filled(text: bytes, size: int = SIZE) -> bytes:
    return text * (size // len(text))


# Made when they are asked for: together they take half a gigabyte.
TEXTS: dict[str, tuple[Callable[[], bytes], bool]] = {
    "empty arrays": (lambda: b'{"a":[' + filled(b"[],") + b"1]}", True),
    "empty objects": (lambda: b'{"a":[' + filled(b"{},") + b"1]}", True),
    "numbers": (lambda: b'{"a":[' + filled(b"1.5,") + b"1]}", True),
    "members": (lambda: b"{" + b",".join(b'"%x":0' % i for i in range(SIZE // 9)) + b"}", True),
    "messages": (lambda: b'{"messages":[' + filled(b'{"role":"user","content":"x"},') + b"1]}", True),
    "a text": (lambda: b'{"a":"' + filled(b"hello, wonderful world: ") + b'"}', False),
    "a table in a text": (lambda: b'{"a":"' + filled(b"1,2,3,") + b'"}', False),
    "a program in a text": (lambda: b'{"a":"' + filled(rb"{\"a\":[1,2]},\n") + b'"}', False),
    "an image": (lambda: b'{"a":"' + filled(b"QUJD") + b'"}', False),
    "quotes": (lambda: b'{"a":"' + filled(rb"\"") + b'"}', False),
    "a string that does not end": (lambda: b'"' + filled(rb"\","), False),
    "parts of a conversation": (lambda: b'{"a":[' + filled(b'{"text":"' + b"x, y: z" * 300 + b'"},') + b"1]}", False),
    "forty million wide characters": (lambda: b'{"a":"' + filled(b"\xf0\x9f\x98\x80", 40_000_000) + b'"}', True),
    "forty million others": (lambda: b'{"a":"' + filled(b"\xe4\xb8\xad", 40_000_000) + b'"}', False),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_weighs_is_told_before_it_is_decoded_and_within_a_second_for_ten_megabytes(name: str) -> None:
    made, heavy = TEXTS[name]
    data = made()
    began = time.process_time()
    assert is_heavier(data, MOST) is heavy
    assert time.process_time() - began < len(data) / 10_000_000


def test_what_passes_weighs_less() -> None:
    data = b'{"a":"' + filled(b"\xf0\x9f\x98\x80", 60_000_000) + b'"}'
    assert is_heavier(data, MOST) and not is_heavier(data, MOST, passed=True)
    assert is_heavier(TEXTS["members"][0](), MOST, passed=True)


@pytest.mark.parametrize("size", [100, weight.SMALL])
def test_a_small_text_is_not_looked_at(size: int) -> None:
    assert not is_heavier(filled(b"[],", size), MOST)
    assert weight.SMALL * 40 < MOST


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=40), inner, max_size=5),
    max_leaves=30,
)


def structure(value: object) -> int:
    """Commas, colons and opening brackets of *value* as JSON, counted by walking it."""
    if isinstance(value, dict):
        return max(1, 2 * len(value)) + sum(map(structure, value.values()))
    if isinstance(value, list):
        return max(1, len(value)) + sum(map(structure, value))
    return 0


@given(VALUES, st.booleans())
def test_only_what_stands_outside_of_strings_counts(value: object, escaped: bool) -> None:
    data = json.dumps(value, ensure_ascii=escaped, separators=(",", ":")).encode()
    exact = structure(value)
    assert weight._values(data, exact + data.count(b'"')) <= exact + data.count(b'"')
    if exact:
        # Short strings are counted with what stands in them: it may be told of too much, never of too little.
        assert weight._values(data, exact - 1) > exact - 1


@pytest.mark.parametrize(
    "text", [b"[],", b"{},", b"1.5,", b'{"role":"user","content":"x"},', b'"' + b"x" * 999 + b'",']
)
def test_what_is_read_and_waits_takes_no_more_than_it_is_said_to(text: bytes) -> None:
    data = b"[" + filled(text, MIB) + b"1]"
    tracemalloc.start()
    held = (bytearray(data), bytearray(data), msgspec.json.decode(data))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held and taken <= weight.kept(data) < 10 * taken
    assert weight.kept(data, 1000) > 1000


@pytest.mark.parametrize("text", [b"[],", b"{},", b"1.5,", b'"x",', b'{"a":1},', b"[[[]]],"])
def test_no_text_takes_more_than_it_is_said_to(text: bytes) -> None:
    data = b"[" + filled(text, weight.SMALL + 1000) + b"1]"
    tracemalloc.start()
    msgspec.json.decode(data)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert is_heavier(data, taken)


@given(st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 3)), max_size=6), st.sampled_from([b",", b"["]))
def test_marks_are_counted_wherever_they_stand(parts: list[tuple[bytes, int]], mark: bytes) -> None:
    data = b"".join(part + b"x" * (times * weight._STRETCH // 2 - 1) + mark for part, times in parts)
    assert weight._count(data, mark) == data.count(mark)


@pytest.mark.parametrize("character", ["\U00010000", "\U0010ffff", "\uffff", "é", "a", "\\"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_wide_characters_are_seen_in_either_form(character: str, ascii_only: bool) -> None:
    data = json.dumps("a" * 100 + character, ensure_ascii=ascii_only).encode()
    assert weight._is_wide(data) is (ord(character) > 0xFFFF)
