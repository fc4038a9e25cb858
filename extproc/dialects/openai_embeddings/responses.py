"""What an answer says of itself beside its vectors, and the errors that take an answer's place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from ...llm.events import ResponseEnded, ResponseEvent, ResponseFailed, ResponseStarted, StopReason, Usage
from ...llm.failures import ErrorKind
from ..base import Meta, ResponseHead
from ..shared.openai import ERROR_KINDS, emit_error
from ..shared.parser import ParserBase

_top_level = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value = msgspec.json.Decoder().decode


class EmbeddingsParser(ParserBase):
    """Model and usage; the vectors, which are nearly all of the bytes, are not decoded. There is no stream."""

    stream_types: ClassVar[tuple[str, ...]] = ()
    error_kinds: ClassVar[dict[str, ErrorKind]] = ERROR_KINDS

    def decode_whole(self, body: bytes) -> Any:
        try:
            members = _top_level(body)
            return {name: _value(raw) for name, raw in members.items() if name != "data"}
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Gemini's errors are arrays; what is no JSON at all is told as such.
            return super().decode_whole(body)

    def on_message(self, message: Any) -> Iterator[ResponseEvent]:
        return self.on_whole(message if type(message) is dict else {})

    def on_whole(self, body: Any) -> Iterator[ResponseEvent]:
        model = body.get("model")
        found = body.get("usage")
        counts = found if type(found) is dict else {}
        usage = Usage(input_tokens=_count(counts, "prompt_tokens"))
        if usage.input_tokens is None:
            # Some servers give the total alone, which for embeddings is the same.
            usage = Usage(input_tokens=_count(counts, "total_tokens"))
        yield ResponseStarted(id="", model=model if type(model) is str else "", usage=usage)
        yield ResponseEnded(StopReason.END, usage)


class ErrorEmitter:
    """Errors alone: an answer passes as it came, and that of another API is no vector."""

    keeps_texts = False

    def __init__(self, upstream: ResponseHead, meta: Meta) -> None:
        self.head = ResponseHead(upstream.status, [("content-type", "application/json")])
        self.failed: ResponseFailed | None = None
        self._meta = meta

    def emit(self, event: ResponseEvent) -> bytes:
        kind = type(event)
        if kind is ResponseFailed:
            return self._said(event)  # type: ignore[arg-type]
        if kind is ResponseEnded:
            self.failed = ResponseFailed(ErrorKind.API, "the upstream answered with something else than vectors", 502)
            return self._said(self.failed)
        return b""

    def _said(self, failed: ResponseFailed) -> bytes:
        self.head, body = emit_error(failed, self._meta, "input")
        return body


def _count(members: dict[str, Any], name: str) -> int | None:
    value = members.get(name)
    return value if type(value) is int and value >= 0 else None
