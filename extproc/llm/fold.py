"""A series of events folded into the whole response that it tells of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

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
        blocks: Any = self.blocks
        # Those that every answer has come first: each kind that is tried in vain costs as much as a call.
        match event:
            case TextDelta() | ThinkingDelta():
                blocks[event.block].parts.append(event.text)
            case TextStarted():
                blocks.append(TextBlock(event.refusal))
            case BlockEnded() | KeepAlive():
                pass
            case ResponseStarted():
                self.started = event
            case ResponseEnded():
                self.ended = event
            case ToolInputDelta():
                blocks[event.block].parts.append(event.fragment)
            case ThinkingStarted():
                blocks.append(ThinkingBlock())
            case ToolCallStarted():
                blocks.append(ToolCallBlock(event.id, event.name, event.kind, event.extra, event.signature))
            case OpaqueStarted():
                blocks.append(OpaqueBlock(event.dialect, event.content))
            case ThinkingSealed():
                block = blocks[event.block]
                block.signature, block.encrypted, block.signer = event.signature, event.encrypted, event.signer
            case CitationAdded():
                blocks[event.block].citations.append(event.citation)
            case OpaqueDelta():
                blocks[event.block].deltas.append(event.delta)
            case ResponseFailed():
                self.failed = event
            case _:
                assert_never(event)


def folded(events: Iterable[ResponseEvent]) -> Folded:
    """All of *events*, which are legal, as one."""
    whole = Folded()
    for event in events:
        whole.add(event)
    return whole
