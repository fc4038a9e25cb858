"""BedrockConverse."""

from __future__ import annotations

from typing import Any

from ...llm.events import ResponseFailed
from ...llm.failures import Unsupported
from ...llm.losses import LossReport
from ...llm.request import Request
from ...settings import Limits
from ..base import ClientCall, EmitterBase, Env, Meta, ParserBase, ResponseHead, Upstream, UpstreamCall, encode


class BedrockConverse:
    name = "bedrock_converse"
    paths: tuple[str, ...] = ("/converse", "/converse-stream")

    def claims(self, members: dict[str, Any]) -> bool:
        return False

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        raise Unsupported("", "Converse requests are not translated yet", "unsupported_value")

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        raise Unsupported("", "requests for a Converse upstream are not translated yet", "unsupported_value")

    def mend(self, body: bytes, losses: LossReport) -> bytes:
        return body

    def response_parser(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> ParserBase:
        return ParserBase(call, head, limits, losses)

    def response_emitter(
        self, request: Request, upstream: ResponseHead, meta: Meta, env: Env, losses: LossReport
    ) -> EmitterBase:
        return EmitterBase(self, request, upstream, meta, env, losses)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return Meta()

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return ResponseHead(502, [("content-type", "application/json")]), encode({"message": failed.message})
