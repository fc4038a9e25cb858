"""A series of events folded into the whole response that it tells of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from msgspec import Struct

from .events import (
    NO_USAGE,
    BlockEnded,
    Citation,
    CitationAdded,
    Extra,
    KeepAlive,
    OpaqueDelta,
    OpaqueStarted,
    ResponseEnded,
    ResponseEvent,
    ResponseFailed,
    ResponseStarted,
    TextDelta,
    TextStarted,
    ThinkingDelta,
    ThinkingSealed,
    ThinkingStarted,
    ToolCallStarted,
    ToolInputDelta,
    Usage,
)


class TextBlock(Struct):
    refusal: bool = False
    parts: list[str] = []
    citations: list[Citation] = []

    @property
    def text(self) -> str:
        return "".join(self.parts)


class ThinkingBlock(Struct):
    parts: list[str] = []
    signature: str | None = None
    encrypted: str | None = None
    signer: str = ""

    @property
    def text(self) -> str:
        return "".join(self.parts)


class ToolCallBlock(Struct):
    id: str
    name: str
    kind: str = "function"
    extra: Extra | None = None
    signature: str | None = None
    parts: list[str] = []

    @property
    def input(self) -> str:
        return "".join(self.parts)


class OpaqueBlock(Struct):
    dialect: str
    content: Extra
    deltas: list[Extra] = []


FoldedBlock = TextBlock | ThinkingBlock | ToolCallBlock | OpaqueBlock


class Folded:
    """What has been told so far. ``blocks`` in the order of their numbers."""

    def __init__(self) -> None:
        self.started: ResponseStarted | None = None
        self.ended: ResponseEnded | None = None
        self.failed: ResponseFailed | None = None
        self.blocks: list[FoldedBlock] = []

    @property
    def usage(self) -> Usage:
        return self.ended.usage if self.ended else NO_USAGE

    def add(self, event: ResponseEvent) -> None:
        """Take in *event*; the caller has checked it against the grammar."""
        # By the type alone: a test by class costs as much as a call for each kind that is tried in vain.
        kind, told, blocks = type(event), cast(Any, event), cast(Any, self.blocks)
        if kind is TextDelta or kind is ThinkingDelta:
            blocks[told.block].parts.append(told.text)
        elif kind is ToolInputDelta:
            blocks[told.block].parts.append(told.fragment)
        elif kind is TextStarted:
            blocks.append(TextBlock(told.refusal))
        elif kind is BlockEnded or kind is KeepAlive:
            pass
        elif kind is ResponseStarted:
            self.started = told
        elif kind is ResponseEnded:
            self.ended = told
        elif kind is ThinkingStarted:
            blocks.append(ThinkingBlock())
        elif kind is ToolCallStarted:
            blocks.append(ToolCallBlock(told.id, told.name, told.kind, told.extra, told.signature))
        elif kind is OpaqueStarted:
            blocks.append(OpaqueBlock(told.dialect, told.content))
        elif kind is ThinkingSealed:
            block = blocks[told.block]
            block.signature, block.encrypted, block.signer = told.signature, told.encrypted, told.signer
        elif kind is CitationAdded:
            blocks[told.block].citations.append(told.citation)
        elif kind is OpaqueDelta:
            blocks[told.block].deltas.append(told.delta)
        else:
            assert kind is ResponseFailed
            self.failed = told


def folded(events: Iterable[ResponseEvent]) -> Folded:
    """All of *events*, which are legal, as one."""
    whole = Folded()
    for event in events:
        whole.add(event)
    return whole
