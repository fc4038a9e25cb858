"""Vertex AI's ``:predict`` of a model of embeddings (Vertex AI, "Text embeddings API", November 2026): one instance for
each text."""

from __future__ import annotations

from ...llm.embeddings import EmbedRequest, Vectors
from ...llm.losses import LossReport
from ..base import Asked, ResponseHead, Upstream, UpstreamCall, Verbs
from ..shared import google
from ..shared.embeds import GoogleEmbed
from . import wire


class VertexPredict(GoogleEmbed):
    name = "vertex_predict"
    paths: tuple[str, ...] = (":predict",)
    root = "/v1(beta1)?/projects/[^/]+/locations/[^/]+/publishers/google/models/[^/:]+"
    verbs: Verbs = (":predict", ":predict")

    def address(self, upstream: Upstream, asked: Asked) -> tuple[str, str]:
        return "POST", upstream.at(Asked(google.model_name(asked.model)), self.verbs)

    def emit_embed(self, request: EmbedRequest, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        return self.called(request, upstream, wire.request(request, upstream.capabilities, losses))

    def read_vectors(self, head: ResponseHead, body: bytes) -> Vectors:
        return wire.read(body)
