from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.dialects.shared.reading import Halves, decode, decode_cut
from extproc.llm.failures import ProtocolError

LARGEST = 1.7976931348623157e308


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a":NaN,"b":"NaN"}', {"a": None, "b": "NaN"}),
        (b'[Infinity,-Infinity,"\\"Infinity"]', [LARGEST, -LARGEST, '"Infinity']),
        (b'[1e400,-1e999,1e5,"1e400"]', [LARGEST, -LARGEST, 1e5, "1e400"]),
        (b'["\\ud83d"]', ["\ufffd"]),
        (b'["\\ude00x"]', ["\ufffdx"]),
        (b'["\\ud83d\\ude00"]', ["\U0001f600"]),
        (b'["\xff"]', ["\ufffd"]),
        ('["\ud83d\ude00"]'.encode("utf-8", "surrogatepass"), ["\U0001f600"]),
        ('["\ud83d"]'.encode("utf-8", "surrogatepass"), ["\ufffd"]),
        (b'[NaN,"\\ud83d\xff"]', [None, "\ufffd\ufffd"]),
    ],
)
def test_nearly_json(data: bytes, value: Any) -> None:
    assert decode(data, "body") == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"NaNa",
        b'{"a":nul}',
        b"\xff",
        b"[" * 100_000,
        b'{"a":1}}',
        b"['a']",
        b'{"a":7.00e}',
        b"[1e400,12345.]",
        b"[1.5e+,NaN]",
    ],
)
def test_no_json(data: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"not JSON|nested"):
        decode(data, "body")


def joined(*pieces: str) -> str:
    halves = Halves()
    return "".join(halves.feed(decode_cut(json.dumps(piece).encode(), "event")) for piece in pieces) + halves.end()


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["\ud83d", "\ude00"], "\U0001f600"),
        (["a\ud83d", "", "\ude00b"], "a\U0001f600b"),
        (["a\ud83d", "b"], "a\ufffdb"),
        (["\ud83d", "\ud83d", "\ude00"], "\ufffd\U0001f600"),
        (["\ude00"], "\ufffd"),
        (["\ud83d"], "\ufffd"),
        (["a\ud83db"], "a\ufffdb"),
    ],
)
def test_a_character_cut_in_two_comes_out_whole(pieces: list[str], text: str) -> None:
    assert joined(*pieces) == text


@given(text=st.text(st.sampled_from("ab\U0001f600é\U0001f44b"), max_size=8), data=st.data())
def test_wherever_a_server_cuts_by_utf16_units(text: str, data: st.DataObject) -> None:
    units = text.encode("utf-16-le")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(units) // 2), max_size=5)))
    bounds = [2 * cut for cut in [0, *cuts, len(units) // 2]]
    pieces = [units[a:b].decode("utf-16-le", "surrogatepass") for a, b in itertools.pairwise(bounds)]
    assert joined(*pieces) == text
