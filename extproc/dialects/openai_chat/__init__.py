"""OpenAI's Chat Completions API, and the many servers that speak it in their own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...llm.events import ResponseFailed
from ...llm.losses import LossReport
from ...llm.models import Model
from ...llm.request import Request
from ...settings import Limits
from ..base import (
    Answering,
    ClientCall,
    DialectBase,
    Env,
    Headers,
    Meta,
    ResponseHead,
    Upstream,
    UpstreamCall,
    encode,
)
from ..shared.naming import without_seals
from ..shared.openai import END_USERS, emit_error, model_object, models_list, read_meta
from ..shared.relay import relayed
from .emit_request import emit_request
from .emit_response import ChatEmitter
from .parse_request import parse_request
from .parse_response import ChatParser
from .unasked import WithoutUsage, asking_for_usage
from .vocabulary import NAME

_NOT_OURS = frozenset({"anthropic_version", "inferenceConfig", "stop_sequences", "system", "toolConfig"})
"""Members of other APIs' bodies that have ``messages`` too."""


class OpenAIChat(DialectBase):
    name = NAME
    paths: tuple[str, ...] = ("/chat/completions",)
    root = "(/v1)?"
    converses = True
    limits: tuple[str, ...] = ("max_tokens", "max_completion_tokens")
    end_users: tuple[str, ...] = END_USERS

    def claims(self, members: dict[str, Any]) -> bool:
        return "messages" in members and _NOT_OURS.isdisjoint(members)

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        return parse_request(call, losses)

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        return relayed(self, request, upstream, losses) or emit_request(request, upstream, losses)

    def mend(self, body: bytes, losses: LossReport, signer: str = "") -> bytes:
        # What other providers' answers leave in a history, this API ignores; but it bounds the length of an id.
        return without_seals(body, losses)

    def response_parser(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> ChatParser:
        return ChatParser(call, head, limits, losses)

    def response_emitter(self, answering: Answering) -> ChatEmitter:
        return ChatEmitter(self, answering)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return read_meta(head, env)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return emit_error(failed, meta, "messages")

    # ---- what was used

    def asking_for_usage(self, members: Mapping[str, Any]) -> dict[str, Any] | None:
        return asking_for_usage(members)

    def without_usage(self, limits: Limits) -> WithoutUsage:
        return WithoutUsage(limits.max_event_bytes)

    # ---- which models there are

    def asks_for_models(self, path: str, headers: Headers) -> bool:
        # Anyone's may: this form is the one that is given where nothing tells.
        return False

    def one_model(self, model: Model) -> bytes:
        return encode(model_object(model))

    def all_models(self, models: Sequence[Model], query: str) -> bytes:
        return encode(models_list(models))
