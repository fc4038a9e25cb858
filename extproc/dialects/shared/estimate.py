"""How many tokens a request has: read of an answer, or told about, where the upstream has no way to tell.

The estimate is made of what tokenizers of today cut texts into: a word with the blank before it, up to three digits,
marks that stand together, a line's indentation, and of other scripts so many characters each. The weights are fitted to
o200k on prose, code, JSON, YAML and Chinese; ``tests/golden/counts.jsonl`` holds what comes of it.
"""

from __future__ import annotations

import re
from typing import Final

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

MESSAGE_TOKENS: Final = 3
"""What a message costs beside its content, and the answer's beginning as well."""
TOOLS: Final = 0.85
"""Of a tool's JSON: many servers show it to their model as it is, OpenAI in a shorter form."""
IMAGE_TOKENS: Final = 1600
"""An image of the largest size that is not made smaller (Anthropic, Vision guide); a file is taken for one."""
SAMPLE: Final = 1 << 18
"""Bytes of a text that are looked at, in 16 places; the rest is taken to be alike."""
_PLACES: Final = 16

_WEIGHTS: Final = tuple(
    (re.compile(pattern), weight)
    for pattern, weight in (
        (rb"[A-Z]?(?:[a-z]|[\xc3-\xc5][\x80-\xbf]){1,12}|[A-Z]+(?![a-z])", 1.0),  # a word, or a hump of one
        (rb"[A-Za-z]{9}", 0.3),
        (rb"[0-9]{1,3}", 1.45),
        (rb"[!-/:-@\[-`{-~]+", 0.63),
        (rb"[!-/:-@\[-`{-~]", 0.17),
        (rb"[ \t]{2,}|[\r\n]+[ \t]*", 1.0),
        (rb"[\xc2-\xcd]", 0.6),  # letters with accents, signs
        (rb"[\xce\xcf\xd5-\xdf]", 0.45),  # Greek, Hebrew, Arabic
        (rb"[\xd0-\xd4]", 0.31),  # Cyrillic
        (rb"[\xe0\xe1]", 0.4),  # the scripts of India, Thai
        (rb"\xe2", 1.2),  # typographic signs
        (rb"[\xe3-\xe9\xef]", 0.85),  # Chinese, Japanese, their punctuation
        (rb"[\xea-\xee]", 0.7),  # Korean
        (rb"[\xf0-\xf4]", 1.7),  # emoji
    )
)


def read_count(body: bytes, name: str) -> int | None:
    """The number that an answer's member *name* is; ``None`` when there is none."""
    try:
        answer = decode(body, "body")
    except ProtocolError:
        return None
    return exact(answer.get(name)) if type(answer) is dict else None


def tokens_of(text: bytes) -> float:
    """About how many tokens *text* has. In linear time, of which the most is bounded."""
    size = len(text)
    if size <= SAMPLE:
        return _weighed(text)
    piece, step = SAMPLE // _PLACES, size // _PLACES
    looked = b"\n".join(text[at : at + piece] for at in range(0, step * _PLACES, step))
    return _weighed(looked) * size / len(looked)


def _weighed(text: bytes) -> float:
    return sum(len(pattern.findall(text)) * weight for pattern, weight in _WEIGHTS)


def estimate(request: Request) -> int:
    """The tokens of *request*'s input."""
    size, tools = _Size(), list[bytes]()
    for message in (*request.system, *request.messages):
        size.add(message.content)
    for tool in request.tools:
        written = {"name": tool.name, "description": tool.description, "schema": tool.schema, "native": tool.native}
        tools.append(encode({name: value for name, value in written.items() if value is not None}))
    told = tokens_of(b" ".join(size.texts)) + TOOLS * tokens_of(b" ".join(tools))
    return round(told) + MESSAGE_TOKENS * (len(request.system) + len(request.messages) + 1) + IMAGE_TOKENS * size.media


class _Size:
    """Texts, and how many media."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.media = 0

    def add(self, content: str | list[Block]) -> None:
        if type(content) is str:
            self._text(content)
            return
        for block in content:
            self._add_block(block)  # type: ignore[arg-type]

    def _text(self, *texts: str | None) -> None:
        self.texts += [text.encode("utf-8", "replace") for text in texts if text]

    def _add_block(self, block: Block) -> None:
        match block:
            case Text():
                self._text(block.text)
            case Thinking():
                self._text(block.text)
            case ToolCall():
                self._text(block.name, block.arguments)
                if block.input is not None:
                    self.texts.append(encode(block.input))
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
                self.texts.append(encode(block.content))

    def _document(self, block: Document) -> None:
        self._text(block.title, block.context)
        if block.source is None:
            self.add(block.blocks or "")
        elif block.source.kind == "text":
            self._text(block.source.data)
        else:
            self.media += 1
