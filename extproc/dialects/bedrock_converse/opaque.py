"""Blocks that only Converse knows (a server tool's call, its result, an image ...): as deltas, and as a whole.

In the events such a block is what its start said, then its deltas; of a whole response, the block itself, no deltas.
"""

from __future__ import annotations

from typing import Any

from ...llm.fold import OpaqueBlock
from ..base import Members, encode
from ..shared.content import as_object

_WITH_START = ("toolUse", "toolResult", "image")
"""The kinds that may travel in a stream."""


def as_stream(content: Members) -> tuple[Members, list[Members]] | None:
    """The start of a block and its deltas; ``None`` for a kind that no stream can carry."""
    kind = next((name for name in _WITH_START if type(content.get(name)) is dict), None)
    if kind is None:
        return None
    start = dict(content[kind])
    deltas: list[Members] = []
    if kind == "toolUse" and "input" in start:
        deltas.append({"toolUse": {"input": encode(start.pop("input")).decode()}})
    elif kind == "toolResult" and "content" in start:
        deltas.append({"toolResult": start.pop("content")})
    elif kind == "image" and "source" in start:
        deltas.append({"image": {"source": start.pop("source")}})
    return {kind: start}, deltas


def as_whole(block: OpaqueBlock) -> Members:
    """The block with its deltas in place."""
    kind = next(iter(block.content), "")
    deltas = [delta[kind] for delta in block.deltas if kind in delta]
    if not deltas:
        return block.content
    whole = dict(block.content[kind])
    if kind == "toolUse":
        whole["input"] = _joined_input(deltas)
    elif kind == "toolResult":
        whole["content"] = [item for delta in deltas if type(delta) is list for item in delta]
    else:
        for delta in deltas:
            whole |= delta if type(delta) is dict else {}
    return {kind: whole}


def _joined_input(deltas: list[Any]) -> Any:
    fragments = [delta.get("input") for delta in deltas if type(delta) is dict]
    return as_object("".join(fragment for fragment in fragments if type(fragment) is str))[0]
