"""Anthropic's Messages API, version 2023-06-01 and 2026-10-21."""

from __future__ import annotations

from typing import Any

from ...llm.events import ResponseFailed
from ...llm.losses import LossReport
from ...llm.request import Request
from ...settings import Limits
from ..base import ClientCall, Env, Meta, ResponseHead, Upstream, UpstreamCall
from . import emit_request, mend, meta, parse_request
from .emit_response import MessagesEmitter
from .parse_response import MessagesParser
from .vocabulary import NAME

_ONLY_HERE = frozenset({"system", "anthropic_version", "stop_sequences", "mcp_servers", "context_management"})


class AnthropicMessages:
    name = NAME
    paths: tuple[str, ...] = ("/v1/messages", "/v1/messages/count_tokens")
    root = ""
    converses = True
    headers = ("anthropic-version", "anthropic-beta")
    """The headers of its own that a client sends and a same-dialect upstream gets."""

    def claims(self, members: dict[str, Any]) -> bool:
        return "messages" in members and "max_tokens" in members and not _ONLY_HERE.isdisjoint(members)

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        return parse_request.parse_request(call, losses)

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        return emit_request.emit_request(request, upstream, losses)

    def mend(self, body: bytes, losses: LossReport) -> bytes:
        return mend.mend(body, losses)

    def response_parser(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> MessagesParser:
        return MessagesParser(call, head, limits, losses)

    def response_emitter(
        self, request: Request, upstream: ResponseHead, meta: Meta, env: Env, losses: LossReport
    ) -> MessagesEmitter:
        return MessagesEmitter(self, request, upstream, meta, env, losses)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return meta.read_meta(head, env)

    def emit_error(self, failed: ResponseFailed, meta_: Meta) -> tuple[ResponseHead, bytes]:
        return meta.emit_error(failed, meta_)
