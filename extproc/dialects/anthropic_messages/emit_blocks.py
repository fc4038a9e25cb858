"""Content blocks, written for the Messages API."""

from __future__ import annotations

from typing import Any, Final

from ...llm import marker
from ...llm.failures import Unsupported
from ...llm.jsonkeys import renamed
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
    ToolReference,
    ToolResult,
)
from ..shared import freeform
from ..shared.content import as_object, opaque
from ..shared.history import cannot_open, left_out, omitted, takes_none
from ..shared.media import as_text, is_web, media_type, standard_base64
from ..shared.naming import tool_name
from .vocabulary import FILES_BETA, IMAGE_TYPES, NAME, SIGNER

_PDF: Final = "application/pdf"


def with_cache(out: dict[str, Any], cache: CacheMarker | None) -> dict[str, Any]:
    if cache is not None:
        out["cache_control"] = cache_control(cache)
    return out


def cache_control(cache: CacheMarker) -> dict[str, Any]:
    return {"type": "ephemeral"} if cache.ttl is None else {"type": "ephemeral", "ttl": cache.ttl}


class BlockWriter:
    """Writes single blocks for one request; ``betas`` collects what they need. *own*: the client speaks this dialect,
    so that members without a word here are its own. *addresses*: media may be where they are fetched from."""

    def __init__(
        self,
        losses: LossReport,
        betas: list[str],
        *,
        own: bool,
        strict_text: bool,
        addresses: bool = True,
        signer: str = SIGNER,
        keys: dict[str, dict[str, str]] | None = None,
    ) -> None:
        self.losses = losses
        self.refuses = True
        self._betas = betas
        self._own = own
        self._strict_text = strict_text
        self._addresses = addresses
        self._signer = signer
        self._keys = keys or {}

    def text(self, block: Text) -> dict[str, Any] | None:
        """``None`` for a text that the API refuses: an empty one, or one of whitespace only."""
        if not block.text:
            return None
        if self._strict_text and block.text.isspace():
            self.losses.rewritten(block.at, "a text of whitespace only is left out")
            return None
        out: dict[str, Any] = {"type": "text", "text": block.text}
        if block.citations:
            out["citations"] = block.citations
        return self._finished(out, block)

    def content(self, block: Block) -> dict[str, Any] | None:
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
                case Opaque():
                    return opaque(block, NAME, self.losses)
                case ToolReference():
                    return self._finished({"type": "tool_reference", "tool_name": tool_name(block.name)}, block)
                case Audio():
                    raise Unsupported(block.at, "audio input is not supported for this model")
            raise Unsupported(block.at, f"{type(block).__name__} cannot stand here", "invalid_value")
        except Unsupported as problem:
            if self.refuses:
                raise
            return {"type": "text", "text": left_out(block, problem, self.losses)}

    def nested(self, content: str | list[Block]) -> str | list[dict[str, Any]]:
        """The content of a tool's result or of a document; empty when nothing is left of it."""
        if type(content) is str:
            return content
        written = [self.content(block) for block in content]  # type: ignore[arg-type]
        return [block for block in written if block is not None]

    def call(self, call: ToolCall, id_: str, name: str) -> dict[str, Any]:
        names = self._keys.get(call.name)
        if call.kind == "custom":
            value: Any = freeform.as_input(call.arguments)
        elif call.input is not None:
            value = {names.get(key, key): each for key, each in call.input.items()} if names else call.input
        else:
            arguments = call.arguments
            value, valid = as_object(renamed(arguments, names) if arguments and names else arguments)
            if not valid:
                self.losses.rewritten(call.at, "the arguments are no JSON object")
        return self._finished({"type": "tool_use", "id": id_, "name": name, "input": value}, call)

    def result(self, result: ToolResult, id_: str) -> dict[str, Any]:
        out: dict[str, Any] = {"type": "tool_result", "tool_use_id": id_}
        if content := self.nested(result.content):
            out["content"] = content
        if result.is_error is not None:
            out["is_error"] = result.is_error
        out = self._finished(out, result)
        if not self._own and type(content) is list:
            # This API takes a mark on the result, and none within it.
            marks = [mark for block in content if (mark := block.pop("cache_control", None)) is not None]
            if marks:
                out.setdefault("cache_control", marks[-1])
        return out

    def thinking(self, block: Thinking) -> dict[str, Any] | None:
        """Only what the provider signed goes back."""
        if self._signer != SIGNER:
            return self._unchecked(block)
        if block.signer != SIGNER or not (block.signature or block.encrypted):
            return None
        if block.encrypted:
            return {"type": "redacted_thinking", "data": block.encrypted}
        return {"type": "thinking", "thinking": block.text, "signature": block.signature}

    def _unchecked(self, block: Thinking) -> dict[str, Any] | None:
        """For another maker's model, which thinks by default and wants its thinking back beside its calls: it gives no
        signature, or knows its own. Nothing that somebody else signed."""
        if block.signer not in ("", marker.SIGNER, self._signer) or not (block.text or block.encrypted):
            return None
        if block.encrypted:
            return {"type": "redacted_thinking", "data": block.encrypted}
        signature = "" if block.signer == marker.SIGNER else block.signature or ""
        return {"type": "thinking", "thinking": block.text, "signature": signature}

    def is_thinking(self, written: dict[str, Any]) -> bool:
        return written["type"] in ("thinking", "redacted_thinking")

    def _finished(self, out: dict[str, Any], block: Any) -> dict[str, Any]:
        """With the cache marker, and the members that only the client's dialect knows."""
        if block.extra:
            if self._own:
                for name, value in block.extra.items():
                    place, dot, member = name.partition(".")
                    if dot and type(inner := out.get(place)) is dict:
                        out[place] = inner | {member: value}
                    elif not dot:
                        out[name] = value
            else:
                self.losses.extra(block.at, block.extra)
        return with_cache(out, block.cache)

    def _image(self, block: Image) -> dict[str, Any]:
        if block.detail not in (None, "auto"):
            self.losses.dropped(f"{block.at}.detail")
        source = block.source
        if source.kind == "url" and not self._opens(source):
            return self._omitted(block, "image", cannot_open(source))
        if source.kind != "base64":
            return self._finished({"type": "image", "source": self._reference(source, block.at)}, block)
        written = self._typed(source, block.at)
        if (kind := written["media_type"]) not in IMAGE_TYPES:
            return self._omitted(block, "image", takes_none(kind))
        return self._finished({"type": "image", "source": written}, block)

    def _typed(self, source: Source, at: str) -> dict[str, Any]:
        """Base64 with the type that the bytes have: this API refuses any other; others look at the bytes alone."""
        declared = source.declared
        declared = "image/jpeg" if declared == "image/jpg" else declared
        data = standard_base64(source.data)
        found = media_type(data) or declared
        if found != declared or data != source.data:
            self.losses.rewritten(at, "to the type of the bytes, and to base64 as this API takes it")
        return {"type": "base64", "media_type": found, "data": data}

    def _opens(self, source: Source) -> bool:
        return self._addresses and (self._own or is_web(source))

    def _omitted(self, block: Image | Document, what: str, why: str) -> dict[str, Any]:
        """What stands in place of *block*: it stays in the history, and refusing it would end the conversation."""
        self.losses.dropped(block.at, why)
        return with_cache({"type": "text", "text": omitted(what, why)}, block.cache)

    def _reference(self, source: Source, at: str) -> dict[str, Any]:
        if not self._addresses:
            raise Unsupported(at, "addresses and file ids are not supported for this model: send the bytes as base64")
        if source.kind == "url":
            return {"type": "url", "url": source.data}
        if source.kind == "file" and source.dialect == NAME:
            self._betas.append(FILES_BETA)
            return {"type": "file", "file_id": source.data}
        what = "file ids of another provider are" if source.kind == "file" else f"a source of kind {source.kind} is"
        raise Unsupported(at, f"{what} not supported for this model")

    def _document(self, block: Document) -> dict[str, Any]:
        source = block.source
        if source is not None and source.kind == "url" and not self._opens(source):
            return self._omitted(block, "document", cannot_open(source))
        written = self._document_source(block)
        if written is None:
            return self._omitted(block, "document", takes_none(source.media_type if source is not None else None))
        if str(written.get("media_type")).startswith("image/"):
            return self._finished({"type": "image", "source": written}, block)
        out: dict[str, Any] = {"type": "document", "source": written}
        if block.title:
            out["title"] = block.title
        if block.context:
            out["context"] = block.context
        if block.citations:
            out["citations"] = {"enabled": True}
        return self._finished(out, block)

    def _document_source(self, block: Document) -> dict[str, Any] | None:
        """``None`` for a file of a kind that the API does not take."""
        source = block.source
        if source is None:
            return {"type": "content", "content": self.nested(block.blocks or "")}
        if source.kind == "text":
            return {"type": "text", "media_type": "text/plain", "data": source.data}
        if source.kind != "base64":
            return self._reference(source, block.at)
        data = standard_base64(source.data)
        declared = source.declared
        found = media_type(data)
        if found is None and (declared == _PDF or (not declared and (block.title or "").lower().endswith(".pdf"))):
            found = _PDF
        if found is not None:
            return {"type": "base64", "media_type": found, "data": data}
        if (text := as_text(data)) is not None and "\x00" not in text:
            return {"type": "text", "media_type": "text/plain", "data": text}
        if declared.startswith("text/"):
            raise Unsupported(block.at, "a text file must be base64 of UTF-8", "invalid_value")
        return None

    def _search_result(self, block: SearchResult) -> dict[str, Any]:
        texts = [self.text(text) for text in block.content]
        out: dict[str, Any] = {
            "type": "search_result",
            "source": block.source,
            "title": block.title,
            "content": [text for text in texts if text is not None],
        }
        if block.citations:
            out["citations"] = {"enabled": True}
        return self._finished(out, block)
