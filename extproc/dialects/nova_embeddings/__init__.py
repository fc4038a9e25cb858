"""Amazon's Nova Multimodal Embeddings by InvokeModel (Amazon Bedrock, "Amazon Nova Multimodal Embeddings", November
2026), for texts: one in a request."""

from __future__ import annotations

from ...llm.embeddings import EmbedRequest, Vectors
from ...llm.losses import LossReport
from ..base import ResponseHead, Upstream, UpstreamCall
from ..shared.embeds import InvokeDialect
from . import wire


class NovaEmbeddings(InvokeDialect):
    name = "nova_embeddings"

    def emit_embed(self, request: EmbedRequest, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        return self.called(request, upstream, wire.request(request, losses))

    def read_vectors(self, head: ResponseHead, body: bytes) -> Vectors:
        return wire.read(head, body)
