"""What APIs of embeddings share: reading an answer without decoding its numbers, and what comes when it is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Protocol

import msgspec

from ...llm.embeddings import EmbedRequest, Vectors
from ...llm.events import ResponseEnded, ResponseEvent, ResponseFailed, ResponseStarted, StopReason, Usage
from ...llm.failures import ErrorKind, ProtocolError, Unsupported
from ...llm.losses import LossReport
from ...settings import Limits
from ..base import Dialect, Meta, ResponseHead, UpstreamCall
from .emitter import meta_of
from .parser import ParserBase

NO_VECTORS: Final = "the upstream answered with something else than vectors"

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_array: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_value: Final = msgspec.json.Decoder().decode


def members(raw: Any, path: str) -> dict[str, Any]:
    """The members of an object, each still as its bytes. Raises ProtocolError."""
    try:
        return _object(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProtocolError(path, "expected an object") from None


def items(found: Mapping[str, Any], name: str, path: str) -> list[Any]:
    """The items of the array *name*, each still as its bytes. Raises ProtocolError."""
    raw = found.get(name)
    if raw is None:
        raise ProtocolError(path, "is missing")
    try:
        return _array(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProtocolError(path, "expected an array") from None


def item(found: Mapping[str, Any], name: str, path: str) -> Any:
    """Member *name*, still as its bytes. Raises ProtocolError."""
    raw = found.get(name)
    if raw is None:
        raise ProtocolError(path, "is missing")
    return raw


def value(found: Mapping[str, Any], name: str) -> Any:
    """Member *name* as a value; ``None`` if there is none that can be read."""
    raw = found.get(name)
    try:
        return None if raw is None else _value(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def of_one_size(asked: EmbedRequest) -> Unsupported:
    """What is raised where *asked* chooses the size of vectors that have but one."""
    path = asked.path_of("dimensions")
    return Unsupported(path, f"{path}: the size of this model's vectors is fixed", "unsupported_parameter")


class VectorSource(Protocol):
    """What a ``VectorsParser`` asks the dialect of its upstream."""

    name: str

    def read_vectors(self, head: ResponseHead, body: bytes) -> Vectors: ...

    def failed(self, head: ResponseHead, error: Any, status: int | None) -> ResponseFailed:
        """What an error's body means."""
        ...


class VectorsParser(ParserBase):
    """Errors, and of an answer the model and the usage. There is no stream."""

    stream_types: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport, source: VectorSource
    ) -> None:
        super().__init__(call, head, limits, losses)
        self._source = source

    def _on_body(self, body: bytes) -> Iterator[ResponseEvent]:
        if self.head.status < 400:
            # Before anything is decoded: the numbers are nearly all of it.
            try:
                vectors = self._source.read_vectors(self.head, body)
            except ProtocolError:
                pass
            else:
                usage = Usage(input_tokens=vectors.input_tokens)
                yield ResponseStarted(id="", model=vectors.model, usage=usage)
                yield ResponseEnded(StopReason.END, usage)
                return
        yield from ParserBase._on_body(self, body)

    def failure_of(self, error: Any, status: int | None = None) -> ResponseFailed:
        return self._source.failed(self.head, error, status)

    def on_message(self, message: Any) -> Iterator[ResponseEvent]:
        return self.on_whole(message)

    def on_whole(self, body: Any) -> Iterator[ResponseEvent]:
        """An answer in which there are no vectors: the client of the same API may know what it is."""
        yield ResponseStarted(id="", model="")
        yield ResponseEnded(StopReason.END)


class ErrorEmitter:
    """Errors alone: an answer passes as it came, or is written from the vectors."""

    keeps_texts = False

    def __init__(self, dialect: Dialect, upstream: ResponseHead, meta: Meta) -> None:
        self.head = ResponseHead(upstream.status, [("content-type", "application/json")])
        self.failed: ResponseFailed | None = None
        self._dialect = dialect
        self._meta = meta

    def emit(self, event: ResponseEvent) -> bytes:
        kind = type(event)
        if kind is ResponseFailed:
            return self._said(event)  # type: ignore[arg-type]
        if kind is ResponseEnded:
            self.failed = ResponseFailed(ErrorKind.API, NO_VECTORS, 502)
            return self._said(self.failed)
        return b""

    def _said(self, failed: ResponseFailed) -> bytes:
        self.head, body = self._dialect.emit_error(failed, meta_of(failed, self._meta))
        return body
