"""OpenAI's Embeddings API (OpenAI API reference, November 2026): the client of every embeddings upstream there is, and
the upstream of its own clients."""

from __future__ import annotations

from typing import Any

from ...llm.embeddings import EmbedRequest, Vectors
from ...llm.events import ResponseFailed
from ...llm.losses import LossReport
from ..base import ClientCall, Env, Meta, ResponseHead, Upstream, UpstreamCall
from ..shared import openai
from ..shared.embeds import EmbedDialect
from ..shared.errors import read_error
from ..shared.vectors import of_one_size
from . import requests, responses


class OpenAIEmbeddings(EmbedDialect):
    name = "openai_embeddings"
    paths: tuple[str, ...] = ("/embeddings",)
    root = "(/v1)?"
    words = requests.WORDS
    end_users: tuple[str, ...] = openai.END_USERS

    def claims(self, members: dict[str, Any]) -> bool:
        return "input" in members and "messages" not in members

    def parse_embed(self, call: ClientCall, losses: LossReport) -> EmbedRequest:
        return requests.parse(call.body, losses)

    def write_vectors(self, request: EmbedRequest, vectors: Vectors) -> bytes:
        return responses.write(request, vectors)

    def emit_embed(self, request: EmbedRequest, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        if request.dimensions is not None and not upstream.capabilities.dimensions:
            raise of_one_size(request)
        return self.called(request, upstream, requests.write(request, losses))

    def read_vectors(self, head: ResponseHead, body: bytes) -> Vectors:
        return responses.read(body)

    def failed(self, head: ResponseHead, error: Any, status: int | None) -> ResponseFailed:
        return read_error(error, status, openai.ERROR_KINDS)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return openai.read_meta(head, env)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return openai.emit_error(failed, meta, "input")
