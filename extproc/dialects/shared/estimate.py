"""How many tokens a request has: read of an answer, or told about, where the upstream has no way to tell."""

from __future__ import annotations

from ...llm.failures import ProtocolError
from ...llm.request import (
    Audio,
    Block,
    Document,
    Image,
    Opaque,
    Request,
    SearchResult,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ..base import encode
from .counts import exact
from .reading import decode

BYTES_PER_TOKEN = 4
MESSAGE_TOKENS = 4
"""What a message costs beside its content."""
IMAGE_TOKENS = 1600
"""An image of the largest size that is not made smaller (Anthropic, Vision guide); a file is taken for one."""


def read_count(body: bytes, name: str) -> int | None:
    """The number that an answer's member *name* is; ``None`` when there is none."""
    try:
        answer = decode(body, "body")
    except ProtocolError:
        return None
    return exact(answer.get(name)) if type(answer) is dict else None


def estimate(request: Request) -> int:
    """The tokens of *request*'s input."""
    size = _Size()
    for message in (*request.system, *request.messages):
        size.add(message.content)
    for tool in request.tools:
        written = {"name": tool.name, "description": tool.description, "schema": tool.schema, "native": tool.native}
        size.bytes += len(encode({name: value for name, value in written.items() if value is not None}))
    return -(-size.bytes // BYTES_PER_TOKEN) + MESSAGE_TOKENS * len(request.messages) + IMAGE_TOKENS * size.media


class _Size:
    """Bytes of text, and media."""

    def __init__(self) -> None:
        self.bytes = 0
        self.media = 0

    def add(self, content: str | list[Block]) -> None:
        if type(content) is str:
            self._text(content)
            return
        for block in content:
            self._add_block(block)  # type: ignore[arg-type]

    def _text(self, *texts: str | None) -> None:
        self.bytes += sum(len(text.encode("utf-8", "replace")) for text in texts if text)

    def _add_block(self, block: Block) -> None:
        match block:
            case Text():
                self._text(block.text)
            case Thinking():
                self._text(block.text)
            case ToolCall():
                self._text(block.name, block.arguments)
                self.bytes += len(encode(block.input)) if block.input is not None else 0
            case ToolResult():
                self.add(block.content)
            case SearchResult():
                self._text(block.title)
                for text in block.content:
                    self._text(text.text)
            case Document():
                self._document(block)
            case Image() | Audio():
                self.media += 1
            case Opaque():
                self.bytes += len(encode(block.content))

    def _document(self, block: Document) -> None:
        self._text(block.title, block.context)
        if block.source is None:
            self.add(block.blocks or "")
        elif block.source.kind == "text":
            self._text(block.source.data)
        else:
            self.media += 1
