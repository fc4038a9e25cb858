"""Vertex AI's ``:predict`` of a model of embeddings (Vertex AI, "Text embeddings API", November 2026): one instance for
each text."""

from __future__ import annotations

from typing import Any

from ...llm.embeddings import EmbedRequest, Vectors
from ...llm.events import ResponseFailed
from ...llm.losses import LossReport
from ..base import Asked, Env, Meta, ResponseHead, Upstream, UpstreamCall, Verbs
from ..shared import google
from ..shared.embeds import EmbedInPath
from . import wire


class VertexPredict(EmbedInPath):
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

    def failed(self, head: ResponseHead, error: Any, status: int | None) -> ResponseFailed:
        return google.read_failure(error, status)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return google.read_meta(head)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return google.emit_error(failed, meta)
