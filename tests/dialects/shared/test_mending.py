from __future__ import annotations

import msgspec
import pytest

from extproc.dialects.shared.mending import members_of, mended, mended_within

ODD = b'{"x":  1.0, "list": [ 1.50 ,"drop", "turn" ,{"a":  "\\u00e9"}], "y": []}'


def mend(raw: msgspec.Raw, at: str) -> msgspec.Raw | None:
    told = bytes(raw).strip()
    if told == b"7":
        raise KeyError(at)
    return {b'"drop"': None, b'"turn"': msgspec.Raw(f'"{at}"'.encode())}.get(told, raw)


def test_what_is_not_mended_keeps_its_bytes() -> None:
    assert mended(ODD, "list", mend) == b'{"x":1.0,"list":[1.50,"list[2]",{"a":  "\\u00e9"}],"y":[]}'
    assert mended(b'{"list": ["drop"]}', "list", mend) == b'{"list":[]}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"list": [1,  2]}', b'{"list":  []}', b'{"other":  ["drop"]}', b'{"list": {"a": "drop"}}', b'["drop"]', b"{",
        b'{"list": ["drop", 7]}', b'{"list": ["drop"], "\xff": 1}', b'{"list": ' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_well_or_cannot_be_read_is_the_same_object(body: bytes) -> None:
    assert mended(body, "list", mend) is body


def test_an_item_with_a_list_of_its_own() -> None:
    def within(text: bytes) -> msgspec.Raw | None:
        return mended_within(raw := msgspec.Raw(text), members_of(raw), "list", "items[3]", mend)

    assert bytes(within(b'{"a": 1.0, "list": ["turn", "drop"]}') or b"") == b'{"a":1.0,"list":["items[3].list[0]"]}'
    assert within(b'{"a": 1, "list": ["drop"]}') is None
    well = msgspec.Raw(b'{"list":  [1]}')
    assert mended_within(well, members_of(well), "list", "items[3]", mend) is well
    with pytest.raises(KeyError):
        within(b"{}")
