"""OpenAI's Responses API (OpenAI API reference and the types of its Python SDK 3.52.0, November 2026)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...llm import signers
from ...llm.events import ResponseFailed
from ...llm.losses import LossReport
from ...llm.request import Request
from ...llm.signers import OPENAI
from ...settings import Limits
from ..base import (
    Answering,
    Asked,
    ClientCall,
    DialectBase,
    Env,
    Meta,
    Operation,
    ResponseHead,
    Upstream,
    UpstreamCall,
    encode,
)
from ..shared.estimate import estimate, read_count
from ..shared.openai import END_USERS, emit_error, read_meta
from ..shared.relay import relayed
from .emit_request import emit_request
from .emit_response import ResponsesEmitter
from .labels import ReasoningLabels
from .mend import mend
from .parse_request import parse_request
from .parse_response import ResponsesParser
from .words import NAME

_ONLY_RESPONSES = frozenset(
    {
        "conversation", "include", "instructions", "max_output_tokens", "previous_response_id", "reasoning", "store",
        "stream", "text", "tools",
    }
)  # fmt: skip
"""Members that an embeddings request, which has ``input`` as well, never has."""


PATH = "/responses"
COUNT = "/input_tokens"
"""What follows the path of the API for the question how many tokens a request has."""
COUNTED = ("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning")
"""Members of a request that the API takes where it counts."""


class OpenAIResponses(DialectBase):
    name = NAME
    paths: tuple[str, ...] = (PATH, PATH + COUNT)
    root = "(/v1)?"
    converses = True
    limits: tuple[str, ...] = ("max_output_tokens",)
    end_users: tuple[str, ...] = END_USERS

    def claims(self, members: dict[str, Any]) -> bool:
        return "input" in members and "messages" not in members and not _ONLY_RESPONSES.isdisjoint(members)

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        return parse_request(call, losses)

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        return relayed(self, request, upstream, losses) or emit_request(request, upstream, losses)

    def signer(self, provider: str, model: str) -> str:
        return signers.reader(provider, model)

    def mend(self, body: bytes, losses: LossReport, signer: str = OPENAI) -> bytes:
        return mend(body, losses, signer)

    def labels(self, signer: str, limits: Limits) -> ReasoningLabels | None:
        return None if signer == OPENAI else ReasoningLabels(signer, limits.max_event_bytes)

    def response_parser(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> ResponsesParser:
        return ResponsesParser(call, head, limits, losses)

    def response_emitter(self, answering: Answering) -> ResponsesEmitter:
        return ResponsesEmitter(self, answering)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return read_meta(head, env)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return emit_error(failed, meta, "input")

    # ---- counting tokens

    def operation(self, path: str) -> Operation:
        counts = path.partition("?")[0].rstrip("/").endswith(COUNT)
        return Operation.COUNT if counts else Operation.ANSWER

    def count_address(self, upstream: Upstream, asked: Asked) -> tuple[str, str] | None:
        bare, mark, query = upstream.at(asked).partition("?")
        return ("POST", f"{bare}{COUNT}{mark}{query}") if bare.endswith(PATH) else None

    def parse_count(self, call: ClientCall) -> Request:
        return parse_request(call, LossReport(), counts=True)

    def emit_count(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall | None:
        address = self.count_address(upstream, Asked(request.model))
        if address is None:
            return None
        whole = emit_request(request, upstream, losses)
        members = {name: whole.members[name] for name in COUNTED if name in whole.members}
        return replace(whole, path=address[1], members=members)

    def read_count(self, body: bytes) -> int | None:
        return read_count(body, "input_tokens")

    def write_count(self, tokens: int) -> bytes:
        return encode({"object": "response.input_tokens", "input_tokens": tokens})

    def estimate(self, call: ClientCall) -> bytes:
        return self.write_count(estimate(self.parse_count(call)))
