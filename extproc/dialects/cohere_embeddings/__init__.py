"""Cohere's ``/v2/embed`` (Cohere API reference, "Embed", November 2026), and the same models by Amazon Bedrock's
InvokeModel ("Cohere Embed v3", "Cohere Embed v4")."""

from __future__ import annotations

from typing import Any

from ...llm.embeddings import EmbedRequest, Vectors
from ...llm.events import ResponseFailed
from ...llm.losses import LossReport
from ..base import ClientCall, Env, Meta, ResponseHead, Upstream, UpstreamCall
from ..shared.embeds import EmbedDialect, InvokeDialect
from . import errors, requests, wire


class CohereEmbeddings(EmbedDialect):
    name = "cohere_embeddings"
    paths: tuple[str, ...] = ("/v2/embed",)
    root = ""
    words = requests.WORDS

    def parse_embed(self, call: ClientCall, losses: LossReport) -> EmbedRequest:
        return requests.parse(call.body, losses)

    def write_vectors(self, request: EmbedRequest, vectors: Vectors) -> bytes:
        return wire.write(request, vectors)

    def emit_embed(self, request: EmbedRequest, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        members = wire.request(request, upstream.capabilities, losses, "END")
        return self.called(request, upstream, {"model": request.model, **members})

    def read_vectors(self, head: ResponseHead, body: bytes) -> Vectors:
        return wire.read(head, body)

    def failed(self, head: ResponseHead, error: Any, status: int | None) -> ResponseFailed:
        return errors.read(error, status)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return errors.read_meta(head)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return errors.emit(failed, meta)


class CohereBedrock(InvokeDialect):
    name = "cohere_bedrock"

    def emit_embed(self, request: EmbedRequest, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        cut = "RIGHT" if "embed-v4" in request.model else "END"
        return self.called(request, upstream, wire.request(request, upstream.capabilities, losses, cut))

    def read_vectors(self, head: ResponseHead, body: bytes) -> Vectors:
        return wire.read(head, body)
