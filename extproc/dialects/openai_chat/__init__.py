"""OpenAI's Chat Completions API, and the many servers that speak it in their own way."""

from __future__ import annotations

from typing import Any

from ...llm.events import ResponseFailed
from ...llm.losses import LossReport
from ...llm.request import Request
from ...settings import Limits
from ..base import ClientCall, Env, Meta, ResponseHead, Upstream, UpstreamCall
from ..shared.naming import without_seals
from ..shared.openai import emit_error, read_meta
from .emit_request import emit_request
from .emit_response import ChatEmitter
from .parse_request import parse_request
from .parse_response import ChatParser
from .vocabulary import NAME

_NOT_OURS = frozenset({"anthropic_version", "inferenceConfig", "stop_sequences", "system", "toolConfig"})
"""Members of other APIs' bodies that have ``messages`` too."""


class OpenAIChat:
    name = NAME
    paths: tuple[str, ...] = ("/chat/completions",)
    root = "(/v1)?"
    converses = True

    def claims(self, members: dict[str, Any]) -> bool:
        return "messages" in members and _NOT_OURS.isdisjoint(members)

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        return parse_request(call, losses)

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        return emit_request(request, upstream, losses)

    def mend(self, body: bytes, losses: LossReport) -> bytes:
        # What other providers' answers leave in a history, this API ignores; but it bounds the length of an id.
        return without_seals(body, losses)

    def response_parser(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> ChatParser:
        return ChatParser(call, head, limits, losses)

    def response_emitter(
        self, request: Request, upstream: ResponseHead, meta: Meta, env: Env, losses: LossReport
    ) -> ChatEmitter:
        return ChatEmitter(self, request, upstream, meta, env, losses)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return read_meta(head, env)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return emit_error(failed, meta, "messages")
