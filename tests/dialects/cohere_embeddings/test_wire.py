"""Cohere's own clients, which pass, and its errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.dialects.base import ResponseHead
from extproc.dialects.cohere_embeddings import wire


@pytest.mark.parametrize(
    ("meta", "count"),
    [
        ({"billed_units": {"input_tokens": 3}}, 3), ({"billed_units": {"input_tokens": 3.0}}, 3),
        ({"billed_units": {"input_tokens": -1}}, None), ({"billed_units": None}, None), ([], None), (None, None),
    ],
)  # fmt: skip
def test_counts(meta: Any, count: int | None) -> None:
    body = json.dumps({"embeddings": {"float": [[0.5]]}, "meta": meta}).encode()
    assert wire.read(ResponseHead(200), body).input_tokens == count
