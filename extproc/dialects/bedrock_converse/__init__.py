"""Amazon Bedrock's Converse and ConverseStream (Bedrock Runtime API reference, Nov 2026): the response's side.

Requests are not translated yet: both directions refuse them in words.
"""

from __future__ import annotations

from typing import Any

from ...llm.events import ResponseFailed
from ...llm.failures import Unsupported
from ...llm.losses import LossReport
from ...llm.request import Request
from ...settings import Limits
from ..base import ClientCall, Env, Meta, ModelInPath, ResponseHead, Upstream, UpstreamCall
from .emit_response import ConverseEmitter
from .errors import emit_error, read_meta
from .parse_response import ConverseParser


class BedrockConverse(ModelInPath):
    name = "bedrock_converse"
    paths: tuple[str, ...] = ("/converse", "/converse-stream")
    root = "/model/[^/]+"
    converses = True
    stream_type = "application/vnd.amazon.eventstream"
    verbs = ("/converse", "/converse-stream")

    def claims(self, members: dict[str, Any]) -> bool:
        # A Converse request names its model in the path: its body cannot be told for sure.
        return False

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        raise Unsupported("", "Bedrock Converse requests are not translated yet: only a Converse upstream can answer")

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        raise Unsupported("", "requests to a Bedrock Converse upstream are not translated yet")

    def response_parser(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> ConverseParser:
        return ConverseParser(call, head, limits, losses)

    def response_emitter(
        self, request: Request, upstream: ResponseHead, meta: Meta, env: Env, losses: LossReport
    ) -> ConverseEmitter:
        return ConverseEmitter(self, request, upstream, meta, env, losses)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return read_meta(head)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return emit_error(failed, meta)
