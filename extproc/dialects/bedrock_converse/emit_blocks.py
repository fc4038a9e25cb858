"""Content blocks, written for Converse. A block that a cache point follows has it as a second member, until
``expanded`` makes two blocks of it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Any, Final

from ...llm.failures import Unsupported
from ...llm.jsonkeys import renamed
from ...llm.losses import Action, LossReport
from ...llm.request import (
    Audio,
    Block,
    CacheMarker,
    Document,
    Image,
    Opaque,
    SearchResult,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ..base import Members
from ..shared import freeform
from ..shared.content import as_object, opaque
from ..shared.history import cannot_open, left_out, omitted, takes_none
from ..shared.media import foreign, is_plain, media_type, without_spaces
from .words import CLAUDE, DOCUMENT_TYPES, IMAGE_TYPES, NAME, RAW_REDACTED, write_redacted

CACHE_POINT: Final = "cachePoint"
SHORT, LONG = "5m", "1h"
MAX_CACHE_POINTS: Final = 4
"""In one request (Bedrock user guide, "Prompt caching")."""
MAX_DOCUMENT_NAME: Final = 200
EMPTY: Final = "(empty)"
"""Stands where the API demands a text and there is none."""

_FORMATS: Final = {media_type: name for name, media_type in IMAGE_TYPES.items()} | {"image/jpg": "jpeg"}
_DOCUMENT_FORMATS: Final = {media_type: name for name, media_type in DOCUMENT_TYPES.items()}
_ILLEGAL_IN_DOCUMENT_NAME: Final = re.compile(r"[^A-Za-z0-9 \-()\[\]]+")
_SPACES: Final = re.compile(r"\s{2,}")


def cache_point(cache: CacheMarker) -> Members:
    return {"type": "default"} if cache.ttl is None else {"type": "default", "ttl": cache.ttl}


class CachePoints:
    """The cache points of one request: the API takes few, and those of other models' none. Of too many the first ones
    stay, so that what was sent before stays as it was; *tools* of them belong to tools, which begin the prompt and are
    written last."""

    def __init__(self, losses: LossReport, *, known: bool, tools: int = 0) -> None:
        self._losses = losses
        self._for_tools = min(tools, MAX_CACHE_POINTS) if known else 0
        self._left = MAX_CACHE_POINTS - self._for_tools if known else 0
        self._why = f"at most {MAX_CACHE_POINTS} in a request" if known else "this model has no cache"

    def mark(self, out: Members, cache: CacheMarker | None, at: str) -> Members:
        """*out* with a cache point behind it, where *cache* asks for one and one may be."""
        if cache is None:
            return out
        if self._left == 0:
            self._losses.dropped(f"{at}.cache", self._why, cost_only=True)
            return out
        self._left -= 1
        return {**out, CACHE_POINT: cache_point(cache)}

    def come_to_tools(self) -> None:
        """All else is written."""
        self._left += self._for_tools
        self._for_tools = 0

    def order(self, members: Members, path: str) -> None:
        """No longer time behind a shorter one, which the API refuses: tools, system, messages is the prompt's order.
        *path* is the client's word for cache points."""
        lists = [members.get("toolConfig", {}).get("tools", ()), members.get("system", ())]
        lists += [message["content"] for message in members["messages"]]
        shortest = LONG
        for blocks in lists:
            for block in blocks:
                point = block.get(CACHE_POINT)
                if point is None:
                    continue
                if point.get("ttl") != LONG:
                    shortest = SHORT
                elif shortest == SHORT:
                    block[CACHE_POINT] = {name: value for name, value in point.items() if name != "ttl"}
                    why = f"to {SHORT}, which stands before it"
                    self._losses.add(path, Action.DOWNGRADED, why, cost_only=True)


def expanded(written: Iterable[Members]) -> list[Members]:
    """The blocks, each cache point a block of its own."""
    out: list[Members] = []
    for block in written:
        if CACHE_POINT in block and len(block) > 1:
            out.append({name: value for name, value in block.items() if name != CACHE_POINT})
            out.append({CACHE_POINT: block[CACHE_POINT]})
        else:
            out.append(block)
    return out


class BlockWriter:
    """Writes single blocks for one request. *own*: the client speaks this dialect, so that members without a word here
    are its own."""

    def __init__(
        self,
        losses: LossReport,
        points: CachePoints,
        *,
        own: bool,
        signer: str = CLAUDE,
        keys: dict[str, dict[str, str]] | None = None,
    ) -> None:
        self.losses = losses
        self.refuses = True
        self._points = points
        self._own = own
        self._signer = signer
        self._documents: set[str] = set()
        self._keys = keys or {}

    def text(self, block: Text) -> Members | None:
        """``None`` for a text that the API refuses: an empty one, or one of whitespace only."""
        if not block.text:
            return None
        if block.text.isspace():
            self.losses.rewritten(block.at, "a text of whitespace only is left out")
            return None
        if block.citations:
            self.losses.dropped(f"{block.at}.citations", "of an earlier answer")
        return self._finished({"text": block.text}, block)

    def content(self, block: Block) -> Members | None:
        """What users and tools say. ``None`` when nothing is left of it."""
        try:
            match block:
                case Text():
                    return self.text(block)
                case Image():
                    return self._image(block)
                case Document():
                    return self._document(block)
                case SearchResult():
                    return self._search_result(block)
                case Audio():
                    self.losses.extra(block.at, block.extra)
                    return {"audio": {"format": block.format, "source": {"bytes": block.data}}}
                case Opaque():
                    return opaque(block, NAME, self.losses)
            raise Unsupported(block.at, f"{type(block).__name__} cannot stand here", "invalid_value")
        except Unsupported as problem:
            if self.refuses:
                raise
            return {"text": left_out(block, problem, self.losses)}

    def thinking(self, block: Thinking) -> Members | None:
        """Only what the model's maker has signed goes back."""
        if block.encrypted and (block.signer == RAW_REDACTED or self._is_signed(block)):
            return {"reasoningContent": {"redactedContent": write_redacted(block.encrypted, block.signer)}}
        if block.signature and self._is_signed(block):
            return {"reasoningContent": {"reasoningText": {"text": block.text, "signature": block.signature}}}
        if self._own and not block.encrypted and not block.signature:
            return {"reasoningContent": {"reasoningText": {"text": block.text}}}
        return None

    def _is_signed(self, block: Thinking) -> bool:
        # A client of this API does not say whose it is: it comes from where it goes.
        return block.signer == self._signer or (self._own and block.signer == CLAUDE)

    def is_thinking(self, written: Members) -> bool:
        return "reasoningContent" in written

    def call(self, call: ToolCall, id_: str, name: str) -> Members:
        names = self._keys.get(call.name)
        if call.kind == "custom":
            given: Any = freeform.as_input(call.arguments)
        elif call.input is not None:
            given = {names.get(key, key): each for key, each in call.input.items()} if names else call.input
        else:
            arguments = call.arguments
            given, valid = as_object(renamed(arguments, names) if arguments and names else arguments)
            if not valid:
                self.losses.rewritten(call.at, "the arguments are no JSON object")
        return self._finished({"toolUse": {"toolUseId": id_, "name": name, "input": given}}, call)

    def result(self, result: ToolResult, id_: str) -> Members:
        content = result.content
        blocks: list[Block] = [Text(content, result.at)] if isinstance(content, str) else content
        # What stands within a result cannot be a cache's end: the result's own can.
        inner = [made for block in blocks if (made := self.content(block)) is not None]
        written = [{name: value for name, value in each.items() if name != CACHE_POINT} for each in inner]
        out: Members = {"toolUseId": id_, "content": written or [{"text": EMPTY}]}
        if result.is_error is not None:
            out["status"] = "error" if result.is_error else "success"
        return self._finished({"toolResult": out}, result)

    def _finished(self, out: Members, block: Any) -> Members:
        """With the cache point, and the members that only the client's dialect knows."""
        if block.extra:
            if self._own:
                kind = next(iter(out))
                if type(out[kind]) is dict:
                    out[kind] |= block.extra
            else:
                self.losses.extra(block.at, block.extra)
        return self._points.mark(out, block.cache, block.at)

    # ---- media

    def _omitted(self, block: Image | Document, what: str, why: str) -> Members:
        """What stands in place of *block*: it stays in the history, and refusing it would end the conversation."""
        self.losses.dropped(block.at, why)
        return self._finished({"text": omitted(what, why)}, block)

    def _image(self, block: Image) -> Members:
        if _is_elsewhere(block.source):
            return self._omitted(block, "image", cannot_open(block.source))
        if block.source.kind == "file":
            raise foreign(block.source, block.at)
        if block.detail not in (None, "auto"):
            self.losses.dropped(f"{block.at}.detail")
        # The API refuses bytes of another type than is said.
        found = media_type(block.source.data) if block.source.kind == "base64" else None
        declared = (block.source.media_type or "").lower()
        if found in _FORMATS and _FORMATS[found] != _FORMATS.get(declared):
            self.losses.rewritten(block.at, "to the type of the bytes")
            declared = found
        format_ = _FORMATS.get(declared)
        if format_ is None:
            format_ = _FORMATS.get(f"image/{block.source.data.rpartition('.')[2].lower()}")
        if format_ is None:
            return self._omitted(block, "image", takes_none(declared))
        return self._finished({"image": {"format": format_, "source": self._located(block.source)}}, block)

    def _located(self, source: Source) -> Members:
        if source.kind == "url":
            return {"s3Location": {"uri": source.data}}
        return {"bytes": without_spaces(source.data)}

    def _document(self, block: Document) -> Members:
        if block.source is not None and _is_elsewhere(block.source):
            return self._omitted(block, "document", cannot_open(block.source))
        format_, source = self._document_source(block)
        if not format_:
            kind = block.source.media_type if block.source is not None else None
            return self._omitted(block, "document", takes_none(kind))
        out: Members = {"format": format_, "name": self._document_name(block), "source": source}
        if block.context:
            out["context"] = block.context
        if block.citations:
            out["citations"] = {"enabled": True}
        return self._finished({"document": out}, block)

    def _document_source(self, block: Document) -> tuple[str, Members]:
        """The format, empty for one that the API does not take, and the bytes."""
        source = block.source
        if source is None:
            inner = [Text(block.blocks, block.at)] if isinstance(block.blocks, str) else block.blocks or []
            texts = [{"text": each.text} for each in inner if isinstance(each, Text) and each.text]
            if len(texts) < len(inner):
                self.losses.dropped(f"{block.at}.source.content", "a document of blocks holds only text here")
            return "txt", {"content": texts or [{"text": EMPTY}]}
        declared = source.declared
        if source.kind == "file":
            raise foreign(source, block.at)
        if source.kind == "text":
            format_ = _DOCUMENT_FORMATS.get(declared, "txt")
            return format_, {"bytes": base64.b64encode(source.data.encode("utf-8", "replace")).decode()}
        if not declared and source.kind == "base64":
            declared = media_type(source.data) or ""
        format_ = _DOCUMENT_FORMATS.get(declared) or (block.title or source.data[-64:]).rpartition(".")[2].lower()
        if format_ not in DOCUMENT_TYPES:
            format_ = "txt" if is_plain(source) else ""
        return format_, self._located(source)

    def _document_name(self, block: Document) -> str:
        """A name that the API takes and that no other document of the request has."""
        title = block.title or "document"
        name = _SPACES.sub(" ", _ILLEGAL_IN_DOCUMENT_NAME.sub(" ", title)).strip()[:MAX_DOCUMENT_NAME] or "document"
        unique, number = name, 1
        while unique in self._documents:
            number += 1
            unique = f"{name[: MAX_DOCUMENT_NAME - 8]} ({number})"
        self._documents.add(unique)
        if unique != block.title and block.title:
            self.losses.rewritten(f"{block.at}.title", "to the characters that the API takes")
        return unique

    def _search_result(self, block: SearchResult) -> Members:
        for each in block.content:
            self.losses.extra(each.at, each.extra)
        texts = [{"text": each.text} for each in block.content if each.text]
        out: Members = {"source": block.source, "title": block.title, "content": texts or [{"text": EMPTY}]}
        if block.citations:
            out["citations"] = {"enabled": True}
        return self._finished({"searchResult": out}, block)


def _is_elsewhere(source: Source) -> bool:
    """At an address that the API does not open."""
    return source.kind == "url" and not source.data.startswith("s3://")
