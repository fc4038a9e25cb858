"""Amazon Bedrock's Converse and ConverseStream (Bedrock Runtime API reference, November 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from ...llm.events import ResponseFailed
from ...llm.losses import LossReport
from ...llm.request import Request
from ...settings import Limits
from ..base import (
    Answering,
    Asked,
    ClientCall,
    Env,
    Meta,
    ModelInPath,
    ResponseHead,
    Upstream,
    UpstreamCall,
    member_at,
)
from ..shared.bedrock import TOKENS, count_address, emit_error, read_meta
from ..shared.estimate import read_count
from ..shared.relay import relayed
from .emit_request import emit_request
from .emit_response import ConverseEmitter
from .mend import mend
from .parse_request import PLACES, parse_request
from .parse_response import ConverseParser

COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")
"""Members of a request that CountTokens takes (Bedrock Runtime API reference, ``ConverseTokensRequest``)."""


class BedrockConverse(ModelInPath):
    name = "bedrock_converse"
    paths: tuple[str, ...] = ("/converse", "/converse-stream")
    root = "/model/[^/]+"
    converses = True
    stream_type = "application/vnd.amazon.eventstream"
    verbs = ("/converse", "/converse-stream")
    places: Mapping[str, str] = PLACES

    def claims(self, members: dict[str, Any]) -> bool:
        # A Converse request names its model in the path: its body cannot be told for sure.
        return False

    def offered(self, members: Mapping[str, Any]) -> int:
        tools = member_at(members, "toolConfig.tools")
        return len(tools) if type(tools) is list else 0

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        return parse_request(call, self.peek(call.path, {}), losses)

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        address = self.address(upstream, Asked(request.model, request.stream))
        return relayed(self, request, upstream, losses) or emit_request(request, upstream, losses, address)

    def mend(self, body: bytes, losses: LossReport, signer: str = "") -> bytes:
        return mend(body, losses)

    def response_parser(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> ConverseParser:
        return ConverseParser(call, head, limits, losses)

    def response_emitter(self, answering: Answering) -> ConverseEmitter:
        return ConverseEmitter(self, answering)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return read_meta(head)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return emit_error(failed, meta)

    # ---- counting tokens: asked of Bedrock; its own clients' question is ``anthropic_bedrock``'s

    def read_counted(self, call: ClientCall, model: str) -> Request:
        """What such a question is about, as far as it is in Converse's words. Raises ProtocolError, Unsupported."""
        return parse_request(call, Asked(model), LossReport())

    def emit_count(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall | None:
        address = count_address(self.address(upstream, Asked(request.model)), self.verbs[0], request.model)
        if address is None:
            return None
        whole = emit_request(request, upstream, losses, address)
        counted = {name: whole.members[name] for name in COUNTED if name in whole.members}
        return replace(whole, members={"input": {"converse": counted}})

    def read_count(self, body: bytes) -> int | None:
        return read_count(body, TOKENS)
