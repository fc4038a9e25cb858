from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.shared.fragments import fragment, place


@pytest.mark.parametrize(("value", "text"), [("{", "{"), (None, ""), ({"a": 1}, '{"a":1}'), ([], "[]"), ("", "")])
def test_input_is_text_however_it_came(value: Any, text: str) -> None:
    assert fragment(value) == text


@pytest.mark.parametrize(
    ("value", "index"),
    [
        (0, 0), (3, 3), (2.0, 2), ("7", 7), ("1234567890123", 123456789), (-1, -1), (1e300, None), (0.5, None),
        (None, None), (True, None), ("", None), ("x", None), ("-1", None), ([], None), ({}, None), (1e999, None),
    ],
)  # fmt: skip
def test_an_index_is_a_number_however_it_is_written(value: Any, index: int | None) -> None:
    assert place(value) == index
