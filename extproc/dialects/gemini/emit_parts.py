"""Content blocks, written as parts of the Gemini API."""

from __future__ import annotations

from typing import Any, Final

from ...capabilities import Capabilities
from ...llm import marker
from ...llm.failures import Unsupported
from ...llm.losses import LossReport
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
from ..shared.content import as_object, between_tags, inner, opaque, search_result
from ..shared.history import cannot_open, left_out, omitted
from ..shared.media import foreign, media_type, without_spaces
from .media import AUDIO_TYPES, IN_RESULTS, guessed_type
from .words import NAME, SIGNER

PARTS: Final = "parts"
"""The one member of what stands for several parts until they are laid flat."""

_RESOLUTIONS: Final = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}


class PartWriter:
    """Writes single parts for one request. *own*: the client speaks this dialect, so that members without a word here
    are its own. *cache_at*: the client's word for cache markers, which are dropped: Gemini caches by itself."""

    def __init__(self, row: Capabilities, losses: LossReport, cache_at: str, *, own: bool) -> None:
        self.losses = losses
        self.refuses = True
        self.following: dict[str, list[Members]] = {}
        """Call id -> media of its result, for models that take none in the result itself."""
        self._row = row
        self._cache_at = cache_at
        self._own = own
        self._called: dict[str, str] = {}  # call id -> name

    def cached(self, cache: CacheMarker | None) -> None:
        if cache is not None:
            self.losses.dropped(self._cache_at, "this API caches by itself", cost_only=True)

    # ---- what is said

    def text(self, block: Text) -> Members | None:
        """``None`` for an empty text, which the API refuses."""
        if block.citations:
            self.losses.dropped(f"{block.at}.citations")
        return self._finished({"text": block.text}, block) if block.text else None

    def content(self, block: Block) -> Members | None:
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
                    kind = AUDIO_TYPES.get(block.format, f"audio/{block.format}")
                    return {"inlineData": {"mimeType": kind, "data": block.data}}
                case Opaque():
                    return opaque(block, NAME, self.losses)
            raise Unsupported(block.at, f"{type(block).__name__} cannot stand here", "invalid_value")
        except Unsupported as problem:
            if self.refuses:
                raise
            return _text_part(left_out(block, problem, self.losses))

    def thinking(self, block: Thinking) -> Members | None:
        """What Gemini thought, with its signature if it had one of its own; thinking that nobody signed may be its own
        too. A signature without a text is that of the text before it."""
        self.losses.extra(block.at, block.extra)
        if block.signer == SIGNER and block.signature:
            signed = {"thoughtSignature": block.signature}
            return {"text": block.text, "thought": True, **signed} if block.text else {"text": "", **signed}
        if block.signer in ("", marker.SIGNER) and block.text:
            return {"text": block.text, "thought": True}
        return None

    def is_thinking(self, written: Members) -> bool:
        return "thought" in written

    # ---- calls and their results

    def call(self, call: ToolCall, id_: str, name: str) -> Members:
        self._called[id_] = name
        function = {"id": id_, "name": name, "args": self._arguments(call)}
        out: Members = {"functionCall": function}
        if call.signature:
            out["thoughtSignature"] = call.signature
        return self._finished(out, call)

    def _arguments(self, call: ToolCall) -> Any:
        if call.kind == "custom":
            return freeform.as_input(call.arguments)
        if call.input is not None:
            return call.input
        value, valid = as_object(call.arguments)
        if not valid:
            self.losses.rewritten(call.at, "the arguments are no JSON object")
        return value

    def result(self, result: ToolResult, id_: str) -> Members:
        self.cached(result.cache)
        self.losses.extra(result.at, result.extra)
        texts: list[str] = []
        media: list[Members] = []
        for block in [Text(result.content)] if type(result.content) is str else result.content:
            for part in self._result_parts(block):  # type: ignore[arg-type]
                if "text" in part:
                    texts.append(part["text"])
                elif self._row.result_media and _type_of(part) in IN_RESULTS:
                    media.append(part)
                else:
                    self.following.setdefault(id_, []).append(part)
                    self.losses.rewritten(result.at, "media follow the result")
        response = _response("\n".join(texts), error=result.is_error is True)
        function: Members = {"id": id_, "name": self._called.get(id_, ""), "response": response}
        if media:
            function[PARTS] = media
        return {"functionResponse": function}

    def _result_parts(self, block: Block) -> list[Members]:
        written = self.content(block)
        if written is None:
            return []
        several: list[Members] | None = written.get(PARTS)
        return [written] if several is None else several

    # ---- media

    def _image(self, block: Image) -> Members:
        out = self._source(block.source, block.at, "image/jpeg", "image/")
        if "text" in out:
            return self._finished(out, block)
        if block.detail in _RESOLUTIONS and self._row.media_resolution:
            out["mediaResolution"] = {"level": _RESOLUTIONS[block.detail]}
        elif block.detail not in (None, "auto"):
            self.losses.dropped(f"{block.at}.detail")
        return self._finished(out, block)

    def _document(self, block: Document) -> Members:
        if block.citations:
            self.losses.dropped(f"{block.at}.citations")
        inside, source = inner(block), block.source
        if inside is not None or source is None:
            return self._tagged(block, inside or [])
        for name, value in (("title", block.title), ("context", block.context)):
            if value:
                self.losses.dropped(f"{block.at}.{name}")
        return self._finished(self._source(source, block.at, "application/pdf"), block)

    def _source(self, source: Source, at: str, default: str, kind: str = "") -> Members:
        """Data in the request, or where they lie. *kind*: how their media type begins, if that is known."""
        if source.kind == "url" and source.data.startswith("s3://"):
            self.losses.dropped(at, cannot_open(source))
            return _text_part(omitted("image" if kind else "document", cannot_open(source)))
        if source.kind == "base64":
            data = without_spaces(source.data)
            # Whoever speaks this API knows what it takes; others may look at the bytes alone.
            found = None if self._own and source.media_type else media_type(data)
            if source.media_type and found and found != source.declared:
                self.losses.rewritten(at, "to the type of the bytes")
            return {"inlineData": {"mimeType": found or source.media_type or default, "data": data}}
        if source.kind == "url" or (source.kind == "file" and source.dialect == NAME):
            file: Members = {}
            if found := source.media_type or guessed_type(source.data, kind):
                file["mimeType"] = found
            return {"fileData": {**file, "fileUri": source.data}}
        raise foreign(source, at)

    def _tagged(self, block: Document, inside: list[Block]) -> Members:
        self.cached(block.cache)
        self.losses.extra(block.at, block.extra)
        parts = (part for each in inside for part in self._result_parts(each))
        out = between_tags(block, parts, _text_part, self.losses)
        return out[0] if len(out) == 1 else {PARTS: out}

    def _search_result(self, block: SearchResult) -> Members:
        text = search_result(block, (text.text for text in block.content), self.losses)
        return self._finished(_text_part(text), block)

    def _finished(self, out: Members, block: Any) -> Members:
        """With the members that only the client's dialect knows."""
        self.cached(block.cache)
        if block.extra and self._own:
            return {**out, **block.extra}
        self.losses.extra(block.at, block.extra)
        return out


def _response(text: str, *, error: bool) -> Any:
    """A result, of which the API wants an object (Gemini API, "FunctionResponse")."""
    if error:
        return {"error": text}
    if text.lstrip()[:1] == "{":
        value, valid = as_object(text)
        if valid:
            return value
    return {"output": text}


def _text_part(text: str) -> Members:
    return {"text": text}


def _type_of(part: Members) -> str:
    where = part.get("inlineData") or part.get("fileData") or {}
    kind = where.get("mimeType")
    return kind if type(kind) is str else ""
