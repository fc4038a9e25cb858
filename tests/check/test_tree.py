from __future__ import annotations

import time

import pytest

from extproc.check import Unreadable, check
from extproc.check.tree import documents, parse
from extproc.reference.config import REFERENCE


def test_nested_aliases_end_at_once() -> None:
    text = "x0: &x0 {a: b}\n" + "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]\n" for i in range(1, 30))
    began = time.monotonic()
    with pytest.raises(Unreadable, match="aliases make more than"):
        check(text + "static_resources: *x29\n")
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    "odd",
    [
        "!!python/object:os.system 10s",
        "!!timestamp 10s",
        "!!binary x",
        "!!int abc",
        "!mine 10s",
        "\n                ? [a]\n                : b",
    ],
)
def test_odd_tags_and_keys_are_named_by_their_line(odd: str) -> None:
    with pytest.raises(Unreadable, match=r"^line \d+: "):
        check(REFERENCE.read_text("utf-8").replace("message_timeout: 10s", f"message_timeout: {odd}", 1))


def test_deep_nesting_is_unreadable() -> None:
    for text in ("[" * 5000, "static_resources: " + "{a: " * 900 + "1" + "}" * 900):
        with pytest.raises(Unreadable):
            check(text)


TREE = parse(
    "a_b: {c: [1, two, null]}\nduration: 0.5s\nwrapped: {value: 7}\nflag: true\noff: {value: false}\ntext: |\n  x\n"
)


def test_each_value_knows_where_it_was_written() -> None:
    assert [(node.path, node.line) for node in TREE.get("a_b", "c")] == [
        ("a_b.c[0]", 1), ("a_b.c[1]", 1), ("a_b.c[2]", 1),
    ]  # fmt: skip
    assert (TREE.get("flag").line, TREE.get("text").line) == (4, 6)
    missing = TREE.get("wrapped", "not there", "x")
    assert not missing and (missing.path, missing.line) == ("wrapped['not there'].x", 3)


def test_a_member_is_found_in_either_of_envoys_spellings() -> None:
    assert parse("aBC: 1").get("a_b_c").text == "1" and parse("a_b_c: 1").get("a_b_c").text == "1"


def test_values_as_what_they_are() -> None:
    assert (TREE.get("duration").seconds(), TREE.get("flag").seconds()) == (0.5, None)
    assert (TREE.get("wrapped").number(1), TREE.get("duration").number(1)) == (7, 1)
    assert TREE.get("flag").true and TREE.get("off").false and not TREE.get("off").true
    assert not TREE.get("nothing").false, "what is missing says nothing"
    assert TREE.get("a_b", "c").texts == ["1", "two", ""] and TREE.get("text").is_block
    assert TREE.plain()["a_b"] == {"c": [1, "two", None]}
    assert [name for name, _ in TREE.walk()][:2] == ["a_b", "c"]


def test_documents_stand_behind_each_other() -> None:
    first, second = documents("a: 1\n---\nb: 2\n---\n")
    assert (first.get("a").line, second.get("b").line) == (1, 3)
    assert documents("a: 1", after=9)[0].get("a").line == 10
    with pytest.raises(Unreadable, match="one document"):
        parse("a: 1\n---\nb: 2")
