"""What several APIs do alike with blocks of content: documents between tags, inputs of calls, foreign blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from ...llm.failures import Unsupported
from ...llm.losses import LossReport
from ...llm.request import Block, Document, Opaque, SearchResult, Text
from ..base import Members
from .media import decoded, is_plain, tag

INVALID_JSON: Final = "INVALID_JSON"
"""The member that holds a call's input when it was no JSON object."""

BARE_TEXT: Final = frozenset({"type", "text"})
"""The members of a text that bears nothing else."""
_decode: Final = msgspec.json.Decoder().decode


def plainly(content: Any) -> Any:
    """*content*; a single text that bears nothing as a string: the two mean the same, and clients change from one to
    the other between two requests, which must not change what the server sees."""
    return (
        content[0]["text"]
        if type(content) is list and len(content) == 1 and content[0].keys() == BARE_TEXT
        else content
    )


def as_object(text: str | None) -> tuple[Any, bool]:
    """A call's input, given as *text*, as an object, and whether it was one. Its text stays as it is, so that numbers
    and the order of keys do too."""
    if text is None or not text.strip():
        return {}, True
    try:
        value = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        value = text
    if type(value) is dict:
        return msgspec.Raw(text.encode("utf-8", "replace")), True
    # PHP writes an empty map as a list.
    return ({}, True) if value is None or value == [] else ({INVALID_JSON: text}, False)


def begins_object(text: str) -> bool:
    """Whether *text*, the first piece of a call's input, may be the beginning of a JSON object."""
    bare = text.lstrip()
    return bare.startswith("{") and bare[1:].lstrip()[:1] in ("", '"', "}")


def opaque(block: Opaque, name: str, losses: LossReport) -> Members | None:
    """A block that only one API knows, for the one that is called *name*: as it came, or reported. Raises Unsupported
    where the conversation makes no sense without it."""
    if block.dialect == name:
        return block.content
    if block.essential:
        kind = block.content.get("type") or next(iter(block.content), None)
        raise Unsupported(block.at, f"content of type {kind!r} is not supported for this model")
    losses.dropped(block.at)
    return None


def search_result(block: SearchResult, texts: Iterable[str], losses: LossReport) -> str:
    """A search's result as one text; *texts*: what is in it."""
    losses.rewritten(block.at, "as text")
    if block.citations:
        losses.dropped(f"{block.at}.citations")
    inner = "\n".join(texts)
    return f"{tag('search_result', title=block.title, source=block.source)}\n{inner}\n</search_result>"


def inner(block: Document) -> list[Block] | None:
    """What stands in a document that is text, or is made of blocks; ``None`` for a file that must be opened. Raises
    Unsupported for text that is none."""
    source = block.source
    if source is None:
        blocks: Any = block.blocks or ""
        return [Text(blocks)] if type(blocks) is str else blocks
    if source.kind == "text":
        return [Text(source.data)]
    return [Text(decoded(source.data, block.at))] if is_plain(source) else None


def told_inside(
    block: Document,
    parts: Callable[[Block], list[Members]],
    text_part: Callable[[str], Members],
    losses: LossReport,
) -> list[Members] | None:
    """A document that is text, or holds blocks, as parts between tags; ``None`` for a file. What no part of a file has
    a place for is reported."""
    if block.citations:
        losses.dropped(f"{block.at}.citations")
    inside = inner(block)
    if inside is not None or block.source is None:
        told = (part for each in inside or () for part in parts(each))
        return between_tags(block, told, text_part, losses)
    if block.context:
        losses.dropped(f"{block.at}.context")
    return None


def between_tags(
    block: Document, parts: Iterable[Members], text_part: Callable[[str], Members], losses: LossReport
) -> list[Members]:
    """A document as *parts* between tags, which are texts as *text_part* writes them; neighbouring texts become one."""
    losses.rewritten(block.at, "as text")
    out = [text_part(tag("document", title=block.title, context=block.context))]
    kind, bare = out[0].get("type"), out[0].keys()
    for part in (*parts, text_part("</document>")):
        last = out[-1]
        # A text that bears more than itself stays one by itself.
        if part.get("type") == last.get("type") == kind and part.keys() == last.keys() == bare:
            out[-1] = text_part(f"{last['text']}\n{part['text']}")
        else:
            out.append(part)
    return out
