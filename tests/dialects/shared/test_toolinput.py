from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.shared.toolinput import ToolInput, could_go_on
from extproc.llm.failures import ProtocolError
from tests.properties.growth import grows_with_its_length


def told(*fragments: str) -> str:
    given_ = ToolInput()
    return "".join(given_.feed(fragment) for fragment in fragments) + given_.end()


@pytest.mark.parametrize(
    ("fragments", "expected"),
    [
        (['{"x"', ":1}"], '{"x":1}'),
        (['{"x"', ":1}", '{"x":1}'], '{"x":1}'),  # once more at the end
        (['{"x":1}', '{"x"', ":1}"], '{"x":1}'),  # in pieces
        (['{"x":1}', '{ "x": 1 }', "\n", '{"x":1}'], '{"x":1}'),  # spaced otherwise, and again
        (["{", '{"x":1}'], '{"x":1}'),  # cumulative
        (['{"x', '{"x":"{', '{"x":"{a', '{"x":"{a"}'], '{"x":"{a"}'),
        (['{"x', '{"x', '{"x":1}'], '{"x":1}'),
        (['{"a":', '{"a":1}', "}"], '{"a":{"a":1}}'),  # an object within: it could be appended
        (['{"a":"', "ha", "ha", '"}'], '{"a":"haha"}'),  # alike within a string
        (['{"a":"', "{", "{", '"}'], '{"a":"{{"}'),
        (['{"a":[', "{", "}", ",", "{", "}", "]}"], '{"a":[{},{}]}'),
        (["null"], ""),
        ([" "], ""),
        (["[", "]"], ""),
        (['""'], ""),
        ([], ""),
        ([" ", "{}"], "{}"),
        (["null", '{"x":1}'], '{"x":1}'),
        ([json.dumps('{"x":"\\n"}')[:5], json.dumps('{"x":"\\n"}')[5:]], '{"x":"\\n"}'),
        ([json.dumps(json.dumps({}))], "{}"),
        (['"text"'], '"text"'),
        (["[1]"], "[1]"),
        (["{bad"], "{bad"),
        (['{"x":1}', "}"], '{"x":1}'),  # vLLM's parsers tell a bracket too many
        (['{"x":[1]}]}', "\n}"], '{"x":[1]}'),
        (['{"x":{}', "}}"], '{"x":{}}'),
        (['{"x":"}"}'], '{"x":"}"}'),
        (['{"x":1}{"x":1}'], '{"x":1}'),  # in one piece
        (['{"x":1}', '{"x"'], '{"x":1}'),  # the same again, cut off
        (['{"x": "a"}b"}'], '{"x": "a"}b"}'),  # no JSON, and no reader takes it for some
        (["{}", '{"x":1}'], '{"x":1}'),  # an empty one first, as long as there is nothing else
        (["{", " }", '{"x"', ":1}"], '{"x":1}'),
        (['{}{ }{"x":1}'], '{"x":1}'),
        (['{"x":"{{"}'], '{"x":"{{"}'),  # within a text they mean nothing
        (['{"x":"{}{"}'], '{"x":"{}{"}'),
        (["{", "}", "}"], "{}"),
        (["{ ", "}"], "{ }"),
        (['{"x":1', "}", "1}"], '{"x":1}'),  # the last piece twice, and in pieces
        (['{"x":"a b"}', 'a b"', "}"], '{"x":"a b"}'),
        (["{'x': ", "1}"], "{'x': 1}"),  # no JSON, told at the end
        ([json.dumps(json.dumps(json.dumps({"x": 1})))], '{"x":1}'.replace(":", ": ")),
        (["```json\n", '{"x":1}\n```'], '{"x":1}'),
        (['{"x":"\ud83d'], '{"x":"\ud83d'),
    ],
)
def test_one_object_comes_out(fragments: list[str], expected: str) -> None:
    assert told(*fragments) == expected


@pytest.mark.parametrize(
    "fragments",
    [
        ['{"x":1}', '{"y":2}'],
        ['{"x":1}', "{}"],
        ['{"x":1}{"y":2}'],
        ['{"x":1}', '{"x"', ":2}"],
        ['{"x":1}', '{"y"'],
        ['{"x":1}{"y"'],
    ],
)
def test_two_inputs_are_never_joined(fragments: list[str]) -> None:
    with pytest.raises(ProtocolError, match="another input"):
        told(*fragments)


@pytest.mark.parametrize(("fragments", "over"), [(['{"x":1}', "}"], True), (['{"x":1}', "\n"], False)])
def test_brackets_too_many_are_noted(fragments: list[str], over: bool) -> None:
    given_ = ToolInput()
    for fragment in fragments:
        given_.feed(fragment)
    assert given_.overfull is over


def test_what_is_whole_and_what_is_half() -> None:
    given_ = ToolInput()
    assert not given_.half and not given_.whole
    given_.feed('{"x"')
    assert given_.half
    given_.feed(":1}")
    assert given_.whole and not given_.half
    other = ToolInput()
    other.feed("nul")
    assert not other.half and not other.whole


@pytest.mark.parametrize(("text", "more"), [("{", '"a":'), ('{"a":', "1."), ('{"a":', "-"), ('{"é":', '"\\u1')])
def test_what_may_still_become_json(text: str, more: str) -> None:
    assert could_go_on(text, more)
    assert not could_go_on('{"a":1', '{"a":12')


INPUTS = st.dictionaries(st.text(max_size=4), st.recursive(
    st.one_of(st.text(max_size=6), st.integers(), st.none(), st.just("{"), st.just('{"a":')),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
), max_size=4)  # fmt: skip


@given(value=INPUTS, data=st.data(), way=st.sampled_from(["pieces", "cumulative", "again", "again in pieces", "twice"]))
def test_any_way_of_telling_an_input_tells_that_input(value: object, data: st.DataObject, way: str) -> None:
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    if way == "cumulative":
        ends = [text[:cut] for cut in [*cuts, len(text)]]
        if any(could_go_on(a, b) for a, b in itertools.pairwise(ends) if a.strip()):
            return  # what was meant cannot be told
        pieces = ends
    elif way == "again":
        pieces.append(text)
    elif way == "again in pieces":
        pieces += pieces
    elif way == "twice":
        pieces = [json.dumps(text)[a:] if b is None else json.dumps(text)[a:b] for a, b in ((0, 3), (3, None))]
    assert json.loads(told(*pieces) or "{}") == value


PIECES = {
    "braces behind a word": lambda n: ["x", *["{"] * n],
    "spaces": lambda n: [" "] * n,
    "words": lambda n: ["x "] * n,
}  # fmt: skip


@pytest.mark.parametrize("make", PIECES.values(), ids=list(PIECES))
def test_what_is_no_object_is_read_in_linear_time(make: Callable[[int], list[str]]) -> None:
    def read(n: int) -> Callable[[], object]:
        pieces = make(n)

        def run() -> object:
            given_ = ToolInput()
            with contextlib.suppress(ProtocolError):
                return [given_.feed(piece) for piece in pieces]
            return None

        return run

    grows_with_its_length(read, 10_000)


def test_a_long_input_is_not_read_again_for_each_call_that_is_told_again() -> None:
    def told_again(n: int) -> Callable[[], object]:
        given_ = ToolInput()
        given_.feed('{"a":"' + "x" * 100 * n + '"}')
        return lambda: [given_.is_told_by('{"a":1}') for _ in range(n)]

    grows_with_its_length(told_again, 2000)


def test_the_same_input_however_it_is_written() -> None:
    given_ = ToolInput()
    given_.feed('{"a": "\u00e9", "b": 1}')
    assert given_.is_told_by('{"b":1.0,"a":"\u00e9"}') and not given_.is_told_by('{"b":2,"a":"\u00e9"}')


@pytest.mark.parametrize("pieces", [[], [" ", "\n"], ["null"], [" ", "{", "}"], ['"', '"', ' {"a":1}'], [" [] ", "{"]])
def test_whether_anything_has_come_is_known_without_the_text(pieces: list[str]) -> None:
    given = ToolInput()
    for piece in ("", *pieces):
        given.feed(piece)
        assert (given.empty, given.blank) == (not given.text, not given.text.strip())
