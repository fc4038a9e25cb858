from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.dialects.gemini.partial import PartialCall
from extproc.llm.fold import ToolCallBlock, folded

from .helpers import Json, parsed


def message(*calls: Json, finish: str | None = None) -> bytes:
    parts = [{"functionCall": call} for call in calls]
    candidate: Json = {"content": {"parts": parts}} | ({"finishReason": finish} if finish else {})
    return b"data: " + json.dumps({"candidates": [candidate]}).encode() + b"\n\n"


def piece(path: str, more: bool = True, **value: Any) -> Json:
    return {"partialArgs": [{"jsonPath": path, **value}], "willContinue": more}


BEGUN: Json = {"name": "f", "id": "c", "willContinue": True}
PIECES = [
    BEGUN, piece("$.city", stringValue="Pa"), piece("$.city", stringValue="ris"), piece("$.days[0].n", numberValue=1),
    piece("$.days[1].n", numberValue=2), piece("$['a b']", boolValue=True), piece("$.x", nullValue="NULL_VALUE"),
]  # fmt: skip


def test_a_call_in_pieces_is_told_whole() -> None:
    wire = b"".join(map(message, PIECES)) + message({}, {"name": "g", "args": {"y": 1}}, finish="STOP")
    first, second = folded(parsed(wire)).blocks
    assert isinstance(first, ToolCallBlock) and isinstance(second, ToolCallBlock)
    assert (first.id, first.name) == ("c", "f")
    assert json.loads(first.input) == {"city": "Paris", "days": [{"n": 1}, {"n": 2}], "a b": True, "x": None}
    assert (second.name, second.input) == ("g", '{"y":1}')


def test_a_call_that_was_cut_off_is_never_told() -> None:
    answer = folded(parsed(message(BEGUN) + message(PIECES[1], finish="STOP")))
    assert answer.failed is not None and answer.blocks == []


@pytest.mark.parametrize("path", [None, 3, "", "$", "$[0]", "$.a[99999999999]", "$.a.b.c[3]", "city"])
def test_what_cannot_be_placed_is_left_out(path: Any) -> None:
    call = PartialCall({"name": "f"}, None)
    assert not call.add({"partialArgs": [{"jsonPath": "$.a", "stringValue": "x"}, 3], "willContinue": True}, None)
    assert call.add({"partialArgs": [{"jsonPath": path, "stringValue": "y"}]}, "S")
    assert (call.call["args"]["a"], call.signature) == ("x", "S")
