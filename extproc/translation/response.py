"""The response's way back: translated, or passed through under watch. Chosen in ``translation.py``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import Final, Protocol

from ..dialects.base import (
    Answering,
    Dialect,
    Env,
    Headers,
    Labelling,
    Meta,
    ResponseHead,
    Sieve,
    UpstreamCall,
    is_stream,
)
from ..effects import Effect, Result
from ..framing.inflate import InflateError, Inflater
from ..headers import client_headers, passed_headers
from ..llm.events import ResponseEnded, ResponseEvent, ResponseFailed
from ..llm.failures import ErrorKind
from ..llm.kept import CODE as TOO_LARGE
from ..llm.losses import LossReport
from ..policy.chain import ResponseGate
from ..settings import Limits

log = logging.getLogger(__name__)

AT_ONCE: Final = 1024 * 1024
"""Bytes of a stream that are read before what they say is written: its events would take as much again. Envoy sends
tens of megabytes at once where its own client does not read."""

Note = Callable[[ResponseEvent], None]
"""Told of every event, for the exchange's record."""

INTERNAL: Final = ResponseFailed(ErrorKind.API, "internal error while translating the response", 500, "internal_error")


def unreadable(error: InflateError) -> ResponseFailed:
    """An answer that cannot be read for *error*, which is the upstream's."""
    return ResponseFailed(ErrorKind.API, str(error), 502, "upstream_error")


class Response(Protocol):
    """``whole``: head and body are final only at the end, and all bytes come then."""

    whole: bool

    def head(self) -> ResponseHead: ...

    def feed(self, chunk: bytes, end_of_stream: bool) -> bytes: ...

    def abort(self, failed: ResponseFailed, end_of_stream: bool) -> bytes:
        """End the response here, in the client's words as far as it still can be said. Nothing is fed after it but
        the end."""
        ...


class Translated:
    """The dialects differ: events of the upstream's parser into the client's emitter."""

    def __init__(
        self,
        client: Dialect,
        upstream: Dialect,
        call: UpstreamCall,
        head: ResponseHead,
        env: Env,
        limits: Limits,
        losses: LossReport,
        report: Headers,
        note: Note,
    ) -> None:
        self.whole = not (call.request.stream and is_stream(head))
        self._head = head
        self._report = report
        self._note = note
        self._parser = upstream.response_parser(call, head, limits, losses)
        self._emitter = client.response_emitter(
            Answering(call.request, head, upstream.read_meta(head, env), env, losses)
        )
        self._parser.kept.texts = self._emitter.keeps_texts
        self._inflater = Inflater.for_encoding(head.header("content-encoding"), limits.max_inflated_bytes)
        self._out: list[bytes] = []
        self._over = False
        self._ended = False

    def head(self) -> ResponseHead:
        own = self._emitter.head
        return ResponseHead(own.status, client_headers(self._head.headers, own.headers + self._report))

    def feed(self, chunk: bytes, end_of_stream: bool) -> bytes:
        if len(chunk) > AT_ONCE and not self.whole:
            begin = 0
            while len(chunk) - begin > AT_ONCE and not self._over:
                self._emit(self._parsed(chunk[begin : begin + AT_ONCE], end_of_stream=False))
                begin += AT_ONCE
            chunk = chunk[begin:]
        if not self._over:
            self._emit(self._parsed(chunk, end_of_stream))
        elif self._ended and chunk:
            # Nobody is told what comes behind the end; but the report says that something came.
            self._parsed(chunk, end_of_stream=False)
        return self._taken(end_of_stream)

    def _parsed(self, chunk: bytes, end_of_stream: bool) -> list[ResponseEvent]:
        try:
            data = self._inflater.feed(chunk) if self._inflater else chunk
        except InflateError as error:
            return [unreadable(error)]
        events = self._parser.feed(data) if data else []
        return events + self._parser.end() if end_of_stream else events

    def abort(self, failed: ResponseFailed, end_of_stream: bool) -> bytes:
        self._emit([failed])
        return self._taken(end_of_stream)

    def _emit(self, events: list[ResponseEvent]) -> None:
        for event in events:
            if self._over:
                return
            self._note(event)
            kind = type(event)
            self._ended = kind is ResponseEnded
            self._over = self._ended or kind is ResponseFailed
            if kind is ResponseFailed and self.whole:
                # The error takes the place of whatever was made of the response so far.
                self._out.clear()
            self._out.append(self._emitter.emit(event))
            if not self._over and (failed := self._emitter.failed) is not None:
                self._note(failed)
                self._over = True

    def _taken(self, end_of_stream: bool) -> bytes:
        if self.whole and not end_of_stream:
            return b""
        taken = b"".join(self._out)
        self._out.clear()
        return taken


class Policed(Translated):
    """The same, for a route whose policies look at answers, whatever dialects there are: what they let go on."""

    def __init__(
        self,
        gate: ResponseGate,
        client: Dialect,
        upstream: Dialect,
        call: UpstreamCall,
        head: ResponseHead,
        env: Env,
        limits: Limits,
        losses: LossReport,
        report: Headers,
        note: Note,
    ) -> None:
        super().__init__(client, upstream, call, head, env, limits, losses, report, note)
        self._gate = gate

    def feeding(self, chunk: bytes, end_of_stream: bool) -> Generator[Effect, Result, bytes]:
        """``feed``, in steps: it yields what the policies ask for."""
        if not self._over:
            passed = yield from self._gate.passing(self._parsed(chunk, end_of_stream))
            self._emit(passed)
        return self._taken(end_of_stream)


class Passed:
    """Same dialect on both sides: the bytes as they come.

    A parser watches for usage, and for a stream that ends without its end, to which the dialect's own error is added.
    An error that is no JSON is replaced by one that is.
    """

    def __init__(
        self,
        dialect: Dialect,
        call: UpstreamCall,
        head: ResponseHead,
        env: Env,
        limits: Limits,
        losses: LossReport,
        report: Headers,
        note: Note,
        *,
        watch: bool = True,
        sieve: Sieve | None = None,
        labels: Labelling | None = None,
    ) -> None:
        readable = not head.header("content-encoding")
        # What is not a stream is changed when all of it is there.
        self._labels = labels if readable and head.status < 400 and not is_stream(head) else None
        self.whole = head.status >= 400 or self._labels is not None
        self._over = False
        self._inflater: Inflater | None = None
        if self.whole:
            # Errors are read, and may be changed.
            self._inflater = Inflater.for_encoding(head.header("content-encoding"), limits.max_inflated_bytes)
            plain = [(name, value) for name, value in head.headers if name != "content-encoding"]
            head = ResponseHead(head.status, plain)
        self._dialect = dialect
        self._meta = dialect.read_meta(head, env)
        self._head = ResponseHead(head.status, passed_headers(head.headers, report))
        self._note = note
        # What the parser has no word for passes as everything else does.
        self._parser = dialect.response_parser(call, head, limits, LossReport())
        self._emitter = dialect.response_emitter(Answering(call.request, head, self._meta, env, losses))
        # A compressed body passes as it is, usage unknown: the client can read it, whatever it is.
        self._watching = watch and not head.header("content-encoding")
        self._stream = is_stream(head)
        # What was passed of a text may have stopped within an event, which would swallow what is added to it.
        self._gap = b"\n\n" if head.media_type == "text/event-stream" else b""
        # Nothing is taken out of what cannot be read.
        self._sieve = (sieve or labels) if self._stream and readable else None
        self._kept: list[bytes] = []

    @property
    def unwatched(self) -> bool:
        return not self.whole and not self._watching and self._sieve is None

    def head(self) -> ResponseHead:
        return self._head

    def feed(self, chunk: bytes, end_of_stream: bool) -> bytes:
        if self._over:
            chunk = b""
        elif self._inflater is not None:
            try:
                chunk = self._inflater.feed(chunk)
            except InflateError as error:
                return self.abort(unreadable(error), end_of_stream)
        added = b""
        if self._watching:
            try:
                added = self._watch(chunk, end_of_stream)
            except Exception:
                # Watching is for the record only: the bytes pass whatever becomes of it.
                log.exception("a bug in watching a response of %s", self._dialect.name)
                self._watching = False
        if self._over:
            return b"".join(self._kept) if end_of_stream else b""
        if not self.whole:
            if self._sieve is not None:
                chunk = self._sieve.feed(chunk)
                if end_of_stream:
                    chunk += self._sieve.end()
            return chunk + added if added else chunk
        self._kept.append(chunk)
        if not end_of_stream:
            return b""
        if added or self._labels is None:
            return added or b"".join(self._kept)
        return self._labels.whole(b"".join(self._kept))

    def abort(self, failed: ResponseFailed, end_of_stream: bool) -> bytes:
        self._note(failed)
        self._watching = False
        if self.whole:
            self._over = True
            self._kept = [self._replaced(failed)]
            return b"".join(self._kept) if end_of_stream else b""
        # Amid anything but a stream nothing can be said.
        return self._said(failed) if self._stream else b""

    def _watch(self, chunk: bytes, end_of_stream: bool) -> bytes:
        for begin in range(0, len(chunk), AT_ONCE):
            part = chunk if len(chunk) <= AT_ONCE else chunk[begin : begin + AT_ONCE]
            for event in self._parser.feed(part):
                if type(event) is ResponseFailed and self.whole:
                    # More of an error than is read.
                    return self.abort(event, end_of_stream)
                if type(event) is ResponseFailed and event.code == TOO_LARGE:
                    # Watching would take more and more memory; the bytes need none.
                    log.warning(
                        "a stream of %s is too large to be watched to its end: %s", self._dialect.name, event.message
                    )
                    self._watching = False
                    return b""
                self._note(event)
        added = b""
        for event in self._parser.end() if end_of_stream else ():
            self._note(event)
            if type(event) is ResponseFailed:
                added = self._ending(event)
        return added

    def _ending(self, failed: ResponseFailed) -> bytes:
        if self._stream:
            return self._said(failed) if failed.code == "stream_truncated" else b""
        if not self.whole or failed.code != "upstream_error":
            return b""
        # An error that is no JSON.
        return self._replaced(failed)

    def _said(self, failed: ResponseFailed) -> bytes:
        left = b"" if self._sieve is None else self._sieve.end()
        return left + self._gap + self._emitter.emit(failed)

    def _replaced(self, failed: ResponseFailed) -> bytes:
        head, body = self._dialect.emit_error(failed, self._meta)
        self._head = ResponseHead(head.status, client_headers(self._head.headers, head.headers))
        return body


class Broken:
    """A response that there is no way to read."""

    whole = True

    def __init__(self, client: Dialect, failed: ResponseFailed, note: Note) -> None:
        self._made: tuple[ResponseHead, bytes] = client.emit_error(failed, Meta())
        note(failed)

    def head(self) -> ResponseHead:
        return self._made[0]

    def feed(self, chunk: bytes, end_of_stream: bool) -> bytes:
        return self._made[1] if end_of_stream else b""

    def abort(self, failed: ResponseFailed, end_of_stream: bool) -> bytes:
        return self.feed(b"", end_of_stream)
