"""What users and tools say, written as Chat content parts."""

from __future__ import annotations

from msgspec.structs import replace

from ...capabilities import Capabilities
from ...llm.failures import Unsupported
from ...llm.losses import LossReport
from ...llm.request import Audio, Block, CacheMarker, Document, Image, Opaque, Request, SearchResult, Text
from ..base import Members
from ..shared.cache_marks import CacheMarks
from ..shared.content import BARE_TEXT, opaque, search_result, told_inside
from ..shared.history import cannot_open, left_out, omitted, takes_none
from ..shared.media import data_uri, foreign, is_film, is_text, is_web, media_type
from ..shared.openai import VENDOR
from .vocabulary import NAME


class PartWriter:
    """Writes single parts for one *request*. ``refuses``: what this API cannot take is refused; else a text stands in
    its place."""

    def __init__(self, request: Request, row: Capabilities, losses: LossReport) -> None:
        self._row = row
        self.losses = losses
        self.refuses = True
        self.marks = CacheMarks(request, row, losses, texts=row.content_parts)

    def parts(self, block: Block) -> list[Members]:
        """Usually one; none when nothing is left of it. Raises Unsupported."""
        try:
            match block:
                case Text():
                    if not block.text:
                        self.marks.dropped(block.cache)
                        return []
                    return [{"type": "text", "text": self.text(block), **self.marks.on_text(block.cache)}]
                case Image():
                    self.marks.dropped(block.cache)
                    return [self._image(block)]
                case Document():
                    return self._marked(self._document(block), block.cache)
                case SearchResult():
                    return self._marked([text_part(self.search_result(block))], block.cache)
                case Audio():
                    return [self._audio(block)]
                case Opaque():
                    kept = opaque(block, NAME, self.losses)
                    return [] if kept is None else [kept]
            raise Unsupported(block.at, f"{type(block).__name__} cannot stand here", "invalid_value")
        except Unsupported as problem:
            if self.refuses:
                raise
            return [text_part(left_out(block, problem, self.losses))]

    def _marked(self, parts: list[Members], cache: CacheMarker | None) -> list[Members]:
        """*parts*, whose last one bears the mark if it is a text."""
        if cache is not None and parts and parts[-1]["type"] == "text" and not parts[-1].keys() - BARE_TEXT:
            parts[-1] |= self.marks.on_text(cache)
        else:
            self.marks.dropped(cache)
        return parts

    def text(self, block: Text) -> str:
        """The bare text; what it bears besides, but for its cache mark, is reported."""
        self.losses.extra(block.at, block.extra)
        if block.citations:
            self.losses.dropped(f"{block.at}.citations")
        return block.text

    def search_result(self, block: SearchResult) -> str:
        self.losses.extra(block.at, block.extra)
        for text in block.content:
            self.marks.dropped(text.cache)
        return search_result(block, (self.text(text) for text in block.content), self.losses)

    def plain(self, block: Block) -> str | None:
        """The block as text, if that is what it is: tools answer in text only."""
        match block:
            case Text():
                return self.text(block)
            case SearchResult():
                return self.search_result(block)
            case Document():
                # The result bears the mark.
                parts = self.parts(replace(block, cache=None)) if is_text(block) else []
                return parts[0]["text"] if len(parts) == 1 else None
        return None

    def _image(self, block: Image) -> Members:
        self.losses.extra(block.at, block.extra)
        if not self._row.image:
            return self._omitted(block.at, "image", "the model takes no images")
        source = block.source
        if source.kind == "base64":
            url = data_uri(source.media_type or media_type(source.data) or "image/png", source.data)
        elif is_web(source):
            url = source.data
        elif source.kind == "url":
            return self._omitted(block.at, "image", cannot_open(source))
        else:
            raise foreign(source, block.at)
        image = {"url": url} if block.detail is None else {"url": url, "detail": block.detail}
        return {"type": "image_url", "image_url": image}

    def _audio(self, block: Audio) -> Members:
        self.losses.extra(block.at, block.extra)
        if not self._row.audio:
            raise Unsupported(block.at, "audio input is not supported for this model")
        return {"type": "input_audio", "input_audio": {"data": block.data, "format": block.format}}

    def _omitted(self, at: str, what: str, why: str) -> Members:
        """What stands in place of *what*: it stays in the history, and refusing it would end the conversation."""
        self.losses.dropped(at, why)
        return text_part(omitted(what, why))

    # ---- documents

    def _document(self, block: Document) -> list[Members]:
        self.losses.extra(block.at, block.extra)
        if (told := told_inside(block, self.parts, text_part, self.losses)) is not None:
            return told
        source = block.source
        assert source is not None, "told inside"
        if not self._row.file:
            return [self._omitted(block.at, "document", "the model takes no files")]
        if is_film(source):
            return [self._omitted(block.at, "document", takes_none(source.media_type))]
        if source.kind == "base64":
            data = data_uri(source.media_type or "application/pdf", source.data)
            return [{"type": "file", "file": {"filename": block.title or "document.pdf", "file_data": data}}]
        if source.kind == "file" and source.dialect == VENDOR:
            return [{"type": "file", "file": {"file_id": source.data}}]
        if source.kind == "url":
            return [self._omitted(block.at, "document", cannot_open(source))]
        raise foreign(source, block.at)


def text_part(text: str) -> Members:
    return {"type": "text", "text": text}
