"""Media and documents for APIs that take them as data: URLs, or as text between tags."""

from __future__ import annotations

import base64
import binascii

from ...llm.failures import Unsupported
from ...llm.request import Document, Source, Text


def data_uri(media_type: str, data: str) -> str:
    return f"data:{media_type};base64,{data}"


def foreign(source: Source, at: str) -> Unsupported:
    """What to raise for a source that only another API can read."""
    what = "file ids of another provider are" if source.kind == "file" else f"a source of kind {source.kind} is"
    return Unsupported(at, f"{what} not supported for this model")


def is_text(block: Document) -> bool:
    """Whether *block* holds nothing but text."""
    source = block.source
    if source is None:
        return type(block.blocks) is not list or all(type(inner) is Text for inner in block.blocks)
    return source.kind == "text" or (source.kind == "base64" and (source.media_type or "").startswith("text/"))


def decoded(data: str, at: str) -> str:
    """The text of a file, from base64. Raises Unsupported."""
    try:
        return base64.b64decode(data).decode("utf-8")
    except (binascii.Error, ValueError):
        raise Unsupported(at, "a text file must be base64 of UTF-8", "invalid_value") from None


def tag(name: str, **attributes: str | None) -> str:
    """What stands before a text that is told apart by tags."""
    written = (f' {key}="{_quoted(value)}"' for key, value in attributes.items() if value)
    return f"<{name}{''.join(written)}>"


def _quoted(value: str) -> str:
    return value.replace("&", "&amp;").replace('"', "&quot;").replace("\n", " ")
