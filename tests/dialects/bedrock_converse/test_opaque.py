from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.dialects.bedrock_converse.opaque import as_stream, as_whole
from extproc.dialects.bedrock_converse.words import NAME
from extproc.llm.fold import OpaqueBlock

CALL = {"toolUse": {"toolUseId": "s", "name": "nova_grounding", "type": "server_tool_use", "input": {"q": [1.0]}}}
RESULT = {"toolResult": {"toolUseId": "s", "content": [{"text": "a"}, {"json": {}}], "status": "success"}}
IMAGE = {"image": {"format": "png", "source": {"bytes": "AA=="}}}


def joined(start: Any, deltas: list[Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(as_whole(OpaqueBlock(NAME, start, deltas))))


@pytest.mark.parametrize("content", [CALL, RESULT, IMAGE], ids=lambda block: str(next(iter(block))))
def test_what_is_told_as_a_stream_folds_to_what_it_was(content: Any) -> None:
    told = as_stream(content)
    assert told is not None
    start, deltas = told
    assert deltas and start != content
    assert joined(start, deltas) == content


def test_an_input_in_fragments_is_one() -> None:
    deltas = [{"toolUse": {"input": piece}} for piece in ('{"q"', ': "a', '"}')]
    assert joined({"toolUse": {"toolUseId": "s"}}, deltas) == {"toolUse": {"toolUseId": "s", "input": {"q": "a"}}}


def test_results_in_pieces_follow_each_other() -> None:
    deltas = [{"toolResult": [{"text": "a"}]}, {"toolResult": [{"text": "b"}]}, {"toolResult": 3}]
    assert joined({"toolResult": {}}, deltas) == {"toolResult": {"content": [{"text": "a"}, {"text": "b"}]}}


def test_a_block_without_deltas_is_as_it_came() -> None:
    block = OpaqueBlock(NAME, {"video": {"format": "mp4"}}, [])
    assert as_whole(block) is block.content


@pytest.mark.parametrize("content", [{"video": {"format": "mp4"}}, {"toolUse": 3}, {}])
def test_kinds_that_no_stream_can_carry(content: Any) -> None:
    assert as_stream(content) is None
