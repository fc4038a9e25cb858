"""Vectors, read from the upstream's answer and written as the client's."""

from __future__ import annotations

from typing import cast

from ..dialects.base import AsksForVectors, Dialect, GivesVectors, Headers, Meta, ResponseHead, UpstreamCall
from ..llm.embeddings import EmbedRequest, Vectors
from ..llm.events import ResponseEnded, ResponseFailed, ResponseStarted, StopReason, Usage
from ..llm.failures import ErrorKind, ProtocolError
from ..llm.losses import Action, LossReport
from ..settings import Limits
from .collected import Collected
from .response import Note


class Embedded(Collected):
    """One vector for each input of *request*, or an error."""

    def __init__(
        self,
        client: Dialect,
        upstream: Dialect,
        call: UpstreamCall,
        request: EmbedRequest,
        meta: Meta,
        head: ResponseHead,
        limits: Limits,
        losses: LossReport,
        report: Headers,
        note: Note,
    ) -> None:
        super().__init__(client, meta, head, limits, limits.max_response_bytes, report, note)
        self._upstream = upstream
        self._call = call
        self._request = request
        self._answered = head
        self._limits = limits
        self._losses = losses

    def made(self, body: bytes) -> bytes | ResponseFailed:
        try:
            vectors = cast(GivesVectors, self._upstream).read_vectors(self._answered, body)
            self._check(vectors)
            answer = cast(AsksForVectors, self.client).write_vectors(self._request, vectors)
        except ProtocolError as error:
            return self._said_instead(body) or ResponseFailed(
                ErrorKind.API, f"the upstream broke its protocol: {error}", 502, "upstream_error"
            )
        usage = Usage(input_tokens=vectors.input_tokens)
        self.note(ResponseStarted(id="", model=vectors.model, usage=usage))
        self._report(vectors)
        self.note(ResponseEnded(StopReason.END, usage))
        return answer

    def _check(self, vectors: Vectors) -> None:
        wanted, found = len(self._request.inputs), len(vectors.items)
        if wanted != found:
            raise ProtocolError("", f"{found} vectors for {wanted} inputs")

    def _report(self, vectors: Vectors) -> None:
        if vectors.input_tokens is None:
            self._losses.add("usage", Action.SYNTHESIZED, "the upstream does not count")
        for index in vectors.truncated:
            self._losses.add(self._request.inputs[index].at, Action.CLAMPED, "the upstream cut the text")

    def _said_instead(self, body: bytes) -> ResponseFailed | None:
        """The error that an answer is under a status that says that all is well."""
        parser = self._upstream.response_parser(self._call, self._answered, self._limits, self._losses)
        events = [*parser.feed(body), *parser.end()]
        return next((event for event in events if isinstance(event, ResponseFailed)), None)
