"""Anthropic's Messages API, version 2023-06-01 and 2026-10-21."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from ...llm.events import ResponseFailed
from ...llm.losses import LossReport
from ...llm.models import Model
from ...llm.request import Request
from ...llm.signers import CLAUDE
from ...settings import Limits
from ..base import (
    Answering,
    Asked,
    ClientCall,
    DialectBase,
    Env,
    Headers,
    Meta,
    Operation,
    ResponseHead,
    Traits,
    Upstream,
    UpstreamCall,
    encode,
)
from ..shared.relay import relayed
from . import count_tokens, emit_request, labels, mend, meta, models, parse_request
from .emit_response import MessagesEmitter
from .parse_response import MessagesParser
from .vocabulary import NAME

_ONLY_HERE = frozenset({"system", "anthropic_version", "stop_sequences", "mcp_servers", "context_management"})
PATH = "/v1/messages"


class MessagesFamily(DialectBase):
    """What is the same wherever the Messages API is spoken, in whatever envelope."""

    name: str
    paths: tuple[str, ...] = ()
    root = ""
    converses = True
    limits: tuple[str, ...] = ("max_tokens",)
    end_users: tuple[str, ...] = ("metadata.user_id",)

    def claims(self, members: dict[str, Any]) -> bool:
        # Without its path an envelope cannot be told from the API that is in it.
        return False

    def traits(self, members: Mapping[str, Any]) -> Traits:
        traits = super().traits(members)
        user, _ = parse_request.unpacked(traits.end_user)
        return replace(traits, end_user=user or "")

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        return parse_request.parse_request(call, losses)

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        return relayed(self, request, upstream, losses) or self._written(request, upstream, losses)

    def _written(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        address = self.address(upstream, Asked(request.model, request.stream))
        return emit_request.emit_request(request, upstream, losses, address)

    def mend(self, body: bytes, losses: LossReport, signer: str = CLAUDE) -> bytes:
        return mend.mend(body, losses, signer)

    def response_parser(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> MessagesParser:
        return MessagesParser(call, head, limits, losses)

    def response_emitter(self, answering: Answering) -> MessagesEmitter:
        return MessagesEmitter(self, answering)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return meta.read_meta(head, env)

    def emit_error(self, failed: ResponseFailed, meta_: Meta) -> tuple[ResponseHead, bytes]:
        return meta.emit_error(failed, meta_)

    # ---- counting tokens, as far as it is the same wherever the API is

    def _counted(
        self, request: Request, upstream: Upstream, losses: LossReport, address: tuple[str, str]
    ) -> UpstreamCall:
        """The API's question at *address*."""
        whole = emit_request.emit_request(request, upstream, losses, address)
        members = {name: whole.members[name] for name in count_tokens.COUNTED if name in whole.members}
        return replace(whole, members=members)

    def read_count(self, body: bytes) -> int | None:
        return count_tokens.read(body)

    def write_count(self, tokens: int) -> bytes:
        return encode({"input_tokens": tokens})

    def estimate(self, call: ClientCall) -> bytes:
        return self.write_count(count_tokens.estimate(call))


class AnthropicMessages(MessagesFamily):
    name = NAME
    paths: tuple[str, ...] = (PATH, PATH + count_tokens.PATH)
    headers: tuple[str, ...] = ("anthropic-version", "anthropic-beta")

    def claims(self, members: dict[str, Any]) -> bool:
        return "messages" in members and "max_tokens" in members and not _ONLY_HERE.isdisjoint(members)

    def labels(self, signer: str, limits: Limits) -> labels.SignatureLabels | None:
        return None if signer == CLAUDE else labels.SignatureLabels(signer, limits.max_event_bytes)

    # ---- counting tokens

    def operation(self, path: str) -> Operation:
        counts = path.partition("?")[0].rstrip("/").endswith(count_tokens.PATH)
        return Operation.COUNT if counts else Operation.ANSWER

    def count_address(self, upstream: Upstream, asked: Asked) -> tuple[str, str] | None:
        bare, mark, query = upstream.at(asked).partition("?")
        return ("POST", f"{bare}{count_tokens.PATH}{mark}{query}") if bare.endswith(PATH) else None

    def parse_count(self, call: ClientCall) -> Request:
        return count_tokens.parse(call)

    def emit_count(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall | None:
        address = self.count_address(upstream, Asked(request.model))
        if address is None:
            return None
        return self._counted(request, upstream, losses, address)

    # ---- which models there are

    def asks_for_models(self, path: str, headers: Headers) -> bool:
        names = {name for name, _ in headers}
        return "anthropic-version" in names or ("x-api-key" in names and "authorization" not in names)

    def one_model(self, model: Model) -> bytes:
        return encode(models.model_object(model))

    def all_models(self, models_: Sequence[Model], query: str) -> bytes:
        return encode(models.models_page(models_, query))
