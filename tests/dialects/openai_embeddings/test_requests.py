"""What OpenAI's embeddings clients may say, well or not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.dialects.openai_embeddings.requests import parse
from extproc.llm.embeddings import Input
from extproc.llm.failures import ProtocolError
from extproc.llm.losses import LossReport


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("a", [Input("a", at="input")]),
        (["a", "b"], [Input("a", at="input[0]"), Input("b", at="input[1]")]),
        ([1, 2], [Input(tokens=[1, 2], at="input")]),
        ([[1], [2, 3]], [Input(tokens=[1], at="input[0]"), Input(tokens=[2, 3], at="input[1]")]),
        (["a", [1]], [Input("a", at="input[0]"), Input(tokens=[1], at="input[1]")]),
    ],
)
def test_inputs(given: Any, inputs: list[Input]) -> None:
    assert parse(json.dumps({"model": "m", "input": given}).encode(), LossReport()).inputs == inputs


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({}, "input"), ({"input": None}, "input"), ({"input": 4}, "input"), ({"input": []}, "input"),
        ({"input": ""}, "input"), ({"input": ["a", ""]}, "input[1]"), ({"input": [[]]}, "input[0]"),
        ({"input": [[1, "a"]]}, "input[0][1]"), ({"input": [1, "a"]}, "input[1]"), ({"input": [True]}, "input[0]"),
        ({"input": [{"content": "a"}]}, "input[0]"), ({"input": "a", "model": 4}, "model"),
        ({"input": "a", "dimensions": "256"}, "dimensions"),
        ({"input": "a", "encoding_format": "x"}, "encoding_format"),
        ({"input": "a", "title": 1}, "title"), ({"input": "a", "truncate": 1}, "truncate"),
        ({"input": "a", "task_type": 1}, "task_type"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_place(members: dict[str, Any], path: str) -> None:
    with pytest.raises(ProtocolError) as error:
        parse(json.dumps(members).encode(), LossReport())
    assert error.value.path == path


@pytest.mark.parametrize(
    ("members", "truncate"),
    [({}, None), ({"truncate": "NONE"}, False), ({"truncate": "END"}, True), ({"auto_truncate": False}, False)],
)
def test_cutting(members: dict[str, Any], truncate: bool | None) -> None:
    assert parse(json.dumps({"input": "a", **members}).encode(), LossReport()).truncate is truncate


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"a"', b"\xff"])
def test_a_body_that_is_no_object(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(body, LossReport())
