"""What users and tools say, written as the content parts of this API."""

from __future__ import annotations

from typing import Any

from ...capabilities import Capabilities
from ...llm.failures import Unsupported
from ...llm.losses import LossReport
from ...llm.request import Audio, Block, CacheMarker, Document, Image, Opaque, SearchResult, Text
from ..base import Members
from ..shared.content import between_tags, inner, opaque, search_result
from ..shared.media import data_uri, foreign
from ..shared.openai import VENDOR
from .words import NAME


class PartWriter:
    """Writes single parts for one request. *cache_at*: the client's word for cache markers, which are dropped: the
    provider caches by itself."""

    def __init__(self, row: Capabilities, losses: LossReport, cache_at: str) -> None:
        self._row = row
        self.losses = losses
        self._cache_at = cache_at

    def cached(self, cache: CacheMarker | None) -> None:
        if cache is not None:
            self.losses.dropped(self._cache_at, "this API caches by itself", cost_only=True)

    def content(self, content: str | list[Block]) -> str | list[Members]:
        """A text as it is, blocks as parts."""
        if type(content) is str:
            return content
        return [part for block in content for part in self.parts(block)]  # type: ignore[arg-type]

    def parts(self, block: Block) -> list[Members]:
        """Usually one; none when nothing is left of it. Raises Unsupported."""
        match block:
            case Text():
                text = self.text(block)
                return [text_part(text)] if text else []
            case Image():
                return [self._image(block)]
            case Document():
                return self._document(block)
            case SearchResult():
                return [text_part(self._search_result(block))]
            case Audio():
                raise Unsupported(block.at, "audio input is not supported for this model")
            case Opaque():
                kept = opaque(block, NAME, self.losses)
                return [] if kept is None else [kept]
        raise Unsupported(block.at, f"{type(block).__name__} cannot stand here", "invalid_value")

    def text(self, block: Text) -> str:
        """The bare text; what it bears besides is reported."""
        self._finished(block)
        if block.citations:
            self.losses.dropped(f"{block.at}.citations")
        return block.text

    def _finished(self, block: Any) -> None:
        self.cached(block.cache)
        self.losses.extra(block.at, block.extra)

    def _search_result(self, block: SearchResult) -> str:
        self._finished(block)
        return search_result(block, (self.text(text) for text in block.content), self.losses)

    def _image(self, block: Image) -> Members:
        self._finished(block)
        if not self._row.image:
            raise Unsupported(block.at, "image input is not supported for this model")
        part: Members = {"type": "input_image", "detail": block.detail or "auto"}
        source = block.source
        if source.kind == "base64":
            part["image_url"] = data_uri(source.media_type or "image/png", source.data)
        elif source.kind == "url":
            part["image_url"] = source.data
        elif source.kind == "file" and source.dialect == VENDOR:
            part["file_id"] = source.data
        else:
            raise foreign(source, block.at)
        return part

    # ---- documents

    def _document(self, block: Document) -> list[Members]:
        self._finished(block)
        if block.citations:
            self.losses.dropped(f"{block.at}.citations")
        inside, source = inner(block), block.source
        if inside is not None or source is None:
            parts = (part for each in inside or () for part in self.parts(each))
            return between_tags(block, parts, text_part, self.losses)
        if block.context:
            self.losses.dropped(f"{block.at}.context")
        if not self._row.file:
            raise Unsupported(block.at, "documents are not supported for this model")
        if source.kind == "base64":
            data = data_uri(source.media_type or "application/pdf", source.data)
            return [{"type": "input_file", "filename": block.title or "document.pdf", "file_data": data}]
        if source.kind == "url":
            if block.title:
                self.losses.dropped(f"{block.at}.title")
            return [{"type": "input_file", "file_url": source.data}]
        if source.dialect == VENDOR:
            return [{"type": "input_file", "file_id": source.data}]
        raise foreign(source, block.at)


def text_part(text: str) -> Members:
    return {"type": "input_text", "text": text}
