"""OpenAI's Embeddings API (OpenAI API reference, Nov 2026): passed through, and watched for usage.

A vector has no word in the vocabulary of conversations, and none is made up: between this API and another nothing is
translated.
"""

from __future__ import annotations

from typing import Any

from ...llm.events import ResponseFailed
from ...llm.failures import Unsupported
from ...llm.losses import LossReport
from ...llm.request import Request
from ...settings import Limits
from ..base import ClientCall, DialectBase, Env, Meta, ResponseHead, Upstream, UpstreamCall
from ..shared import openai
from .responses import EmbeddingsParser, ErrorEmitter


class OpenAIEmbeddings(DialectBase):
    name = "openai_embeddings"
    paths: tuple[str, ...] = ("/embeddings",)
    root = "(/v1)?"
    converses = False

    def claims(self, members: dict[str, Any]) -> bool:
        return "input" in members and "messages" not in members

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        raise Unsupported("", "an embeddings request can only be answered by an upstream that has an embeddings API")

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        raise Unsupported("", "an embeddings upstream can only answer embeddings requests")

    def response_parser(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> EmbeddingsParser:
        return EmbeddingsParser(call, head, limits, losses)

    def response_emitter(
        self, request: Request, upstream: ResponseHead, meta: Meta, env: Env, losses: LossReport
    ) -> ErrorEmitter:
        return ErrorEmitter(upstream, meta)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return openai.read_meta(head, env)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return openai.emit_error(failed, meta, "input")
