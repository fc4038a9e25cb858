"""What users and tools say, written as the content parts of this API."""

from __future__ import annotations

from ...capabilities import Capabilities
from ...llm.failures import Unsupported
from ...llm.losses import LossReport
from ...llm.request import Audio, Block, Document, Image, Opaque, Request, SearchResult, Text
from ..base import Members
from ..shared.cache_marks import CacheMarks
from ..shared.content import opaque, search_result, told_inside
from ..shared.history import cannot_open, left_out, omitted, takes_none
from ..shared.media import data_uri, foreign, is_film, is_web, media_type
from ..shared.openai import VENDOR
from .words import NAME


class PartWriter:
    """Writes single parts for one *request*. ``refuses``: what this API cannot take is refused; else a text stands in
    its place."""

    def __init__(self, request: Request, row: Capabilities, losses: LossReport) -> None:
        self._row = row
        self.losses = losses
        self.refuses = True
        self.marks = CacheMarks(request, row, losses)

    def content(self, content: str | list[Block]) -> str | list[Members]:
        """A text as it is, blocks as parts."""
        if type(content) is str:
            return content
        return [part for block in content for part in self.parts(block)]  # type: ignore[arg-type]

    def parts(self, block: Block) -> list[Members]:
        """Usually one; none when nothing is left of it. Raises Unsupported."""
        try:
            match block:
                case Text():
                    text = self.text(block)
                    if not text:
                        self.marks.dropped(block.cache)
                        return []
                    return [text_part(text) | self.marks.on_text(block.cache)]
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
        except Unsupported as problem:
            if self.refuses:
                raise
            return [text_part(left_out(block, problem, self.losses))]

    def text(self, block: Text) -> str:
        """The bare text; what it bears besides, but for its cache mark, is reported."""
        self.losses.extra(block.at, block.extra)
        if block.citations:
            self.losses.dropped(f"{block.at}.citations")
        return block.text

    def _finished(self, block: Image | Document | SearchResult) -> None:
        self.marks.dropped(block.cache)
        self.losses.extra(block.at, block.extra)

    def _search_result(self, block: SearchResult) -> str:
        self._finished(block)
        for text in block.content:
            self.marks.dropped(text.cache)
        return search_result(block, (self.text(text) for text in block.content), self.losses)

    def _image(self, block: Image) -> Members:
        self._finished(block)
        if not self._row.image:
            return self._omitted(block.at, "image", "the model takes no images")
        part: Members = {"type": "input_image", "detail": block.detail or "auto"}
        source = block.source
        if source.kind == "base64":
            part["image_url"] = data_uri(source.media_type or media_type(source.data) or "image/png", source.data)
        elif is_web(source):
            part["image_url"] = source.data
        elif source.kind == "url":
            return self._omitted(block.at, "image", cannot_open(source))
        elif source.kind == "file" and source.dialect == VENDOR:
            part["file_id"] = source.data
        else:
            raise foreign(source, block.at)
        return part

    def _omitted(self, at: str, what: str, why: str) -> Members:
        """What stands in place of *what*: it stays in the history, and refusing it would end the conversation."""
        self.losses.dropped(at, why)
        return text_part(omitted(what, why))

    # ---- documents

    def _document(self, block: Document) -> list[Members]:
        self._finished(block)
        if (told := told_inside(block, self.parts, text_part, self.losses)) is not None:
            return told
        source = block.source
        assert source is not None, "told inside"
        if not self._row.file:
            return [self._omitted(block.at, "document", "the model takes no files")]
        if is_film(source):
            return [self._omitted(block.at, "document", takes_none(source.media_type))]
        if source.kind == "url" and not is_web(source):
            return [self._omitted(block.at, "document", cannot_open(source))]
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
