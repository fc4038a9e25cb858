"""Google's ``embedContent`` and ``batchEmbedContents`` (Gemini API reference, "Embeddings"; Vertex AI, "Embed content",
November 2026): of its own clients for every upstream of vectors, and as an upstream. The Gemini API takes many texts in
one request, Vertex AI's ``embedContent`` one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...llm.embeddings import EmbedRequest, Vectors
from ...llm.losses import LossReport
from ..base import Asked, ClientCall, Operation, ResponseHead, Upstream, UpstreamCall, Verbs
from ..shared import google
from ..shared.embeds import GoogleEmbed
from . import requests, wire
from .requests import EmbedAsked

ONE, MANY = ":embedContent", ":batchEmbedContents"


class GeminiEmbeddings(GoogleEmbed):
    name = "gemini_embeddings"
    paths: tuple[str, ...] = (ONE, MANY)
    root = r"/v\d\w*(/projects/[^/]+/locations/[^/]+)?(/publishers/[^/]+)?/models/[^/:]+"
    verbs: Verbs = (ONE, MANY)

    def peek(self, path: str, members: Mapping[str, Any]) -> Asked:
        many = path.partition("?")[0].rstrip("/").endswith(MANY)
        return EmbedAsked(super().peek(path, members).model, operation=Operation.EMBED, many=many)

    def rename(self, path: str, members: dict[str, Any], model: str) -> tuple[str, dict[str, Any]]:
        """Each text of a batch names the model again, and the Gemini API refuses another than the path's."""
        path, members = super().rename(path, members, model)
        return path, google.renamed_within(google.renamed(members, model), "requests", model)

    def address(self, upstream: Upstream, asked: Asked) -> tuple[str, str]:
        many = asked.many if isinstance(asked, EmbedAsked) else wire.VERTEX not in upstream.path
        # One of the two verbs, as other APIs choose theirs by the stream.
        return "POST", upstream.at(Asked(google.model_name(asked.model), many), self.verbs)

    def emit_embed(self, request: EmbedRequest, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        if wire.VERTEX in upstream.path:
            return self.called(request, upstream, wire.one(request, losses))
        return self.called(request, upstream, wire.many(request, google.model_name(request.model), losses))

    words = requests.WORDS

    def parse_embed(self, call: ClientCall, losses: LossReport) -> EmbedRequest:
        asked = self.peek(call.path, {})
        return requests.parse(
            call.body, google.model_name(asked.model), losses, many=isinstance(asked, EmbedAsked) and asked.many
        )

    def write_vectors(self, request: EmbedRequest, vectors: Vectors) -> bytes:
        return wire.write(request, vectors)

    def read_vectors(self, head: ResponseHead, body: bytes) -> Vectors:
        return wire.read(body)
