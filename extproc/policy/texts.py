"""All that a request says in words, wherever in it: what a policy may want to look at."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from ..frozen import Frozen
from ..llm.embeddings import EmbedRequest
from ..llm.request import (
    Block,
    Document,
    Message,
    Opaque,
    Request,
    SearchResult,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolChange,
    ToolResult,
)
from .base import Unavailable

_TEXTUAL = re.compile(r"application/(?:[\w.-]+\+)?(?:json|xml|yaml|x-yaml|x-ndjson|javascript|sql|csv)\b")
"""Types of documents that a model may read as the text that they are, beside those that are always text to us."""


class Scope(Frozen):
    """Of whom and of what. ``everyone``: not the user alone. ``history``: not the last turn alone."""

    everyone: bool = False
    history: bool = False
    results: bool = False
    arguments: bool = False


def said_in(request: Request, wanted: Scope) -> Iterator[str]:
    """Its texts in order. The last turn is what comes behind the last answer; one that the client has begun itself is
    part of it, and what a template is filled with."""
    messages = request.messages
    if not wanted.history:
        messages = messages[_last_turn(messages) :]
    if wanted.everyone:
        for message in request.system:
            yield from _words(message.content, wanted, True)
    for message in messages:
        theirs = wanted.everyone or message.role == "user"
        yield from _words(message.content, wanted, theirs)
    for member in request.extra.values():
        if member.holds == "words":
            yield from strings(member.value)


def texts_to_embed(request: EmbedRequest) -> list[str]:
    """Its texts in order. Raises Unavailable: what is sent as numbers of tokens is a text that cannot be read."""
    if any(each.tokens is not None for each in request.inputs):
        raise Unavailable("numbers of tokens are to be embedded, which cannot be read")
    return [each.text for each in request.inputs]


def _last_turn(messages: list[Message]) -> int:
    """Where it begins."""
    for at in range(len(messages) - 2, -1, -1):
        if messages[at].role == "assistant":
            return at if wants_results(messages[at]) else at + 1
    return 0


def wants_results(message: Message) -> bool:
    """Whether it calls tools, the results of which answer it: its arguments belong to what is new."""
    return isinstance(message.content, list) and any(isinstance(block, ToolCall) for block in message.content)


def _words(content: str | list[Block], wanted: Scope, theirs: bool) -> Iterator[str]:
    if isinstance(content, str):
        if theirs:
            yield content
        return
    for block in content:
        if isinstance(block, ToolResult):
            if wanted.results:
                yield from _words(block.content, wanted, True)
        elif isinstance(block, ToolCall):
            if wanted.arguments:
                yield from [block.arguments] if block.arguments is not None else strings(block.input)
        elif theirs:
            yield from _of_block(block, wanted)


def _of_block(block: Block, wanted: Scope) -> Iterator[str]:
    if isinstance(block, (Text, Thinking)):
        yield block.text
    elif isinstance(block, Document):
        yield from (each for each in (block.title, block.context) if each)
        if block.source is not None and (text := text_of(block.source)) is not None:
            yield text
        if block.blocks is not None:
            yield from _words(block.blocks, wanted, True)
    elif isinstance(block, SearchResult):
        yield block.title
        yield from (part.text for part in block.content)
    elif isinstance(block, Opaque):
        yield from strings(block.content)
    elif isinstance(block, ToolChange):
        yield from strings(block.native)


def text_of(source: Source) -> str | None:
    """The text that a document is; ``None`` if it is something else, or elsewhere."""
    if source.kind == "text":
        return source.data
    if source.kind != "base64" or not (source.names_text or _TEXTUAL.match(source.declared)):
        return None
    try:
        # Of either alphabet, and without its end: a dialect reads those, too.
        return base64.b64decode(source.data + "==", "-_").decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return None


def with_text(source: Source, text: str) -> Source:
    """The same document, with *text* in place of what ``text_of`` has read."""
    data = text if source.kind == "text" else base64.b64encode(text.encode("utf-8", "replace")).decode()
    return replace(source, data=data)


def strings(value: Any) -> Iterator[str]:
    """The texts in a JSON value, names of members among them."""
    rest = [value]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            rest += [part for pair in reversed(value.items()) for part in reversed(pair)]
        elif isinstance(value, list):
            rest += reversed(value)
