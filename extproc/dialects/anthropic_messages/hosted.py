"""Claude where others host it: the Messages API in another envelope. Amazon Bedrock's InvokeModel, Google Vertex AI's
rawPredict (Anthropic, "Claude on Amazon Bedrock", "Claude on Vertex AI", November 2026)."""

from __future__ import annotations

from msgspec.structs import replace

from ...llm.events import ResponseFailed
from ...llm.failures import Unsupported
from ...llm.losses import LossReport
from ...llm.request import Request
from ...settings import Limits
from ..base import ClientCall, Env, Meta, ModelInPath, ResponseHead, Upstream, UpstreamCall
from ..shared import bedrock
from . import MessagesFamily, on_bedrock, parse_request
from .emit_response import MessagesEmitter
from .parse_response import MessagesParser

VERTEX_VERSION = "vertex-2023-10-16"
DROPPED = ("service_tier", "inference_geo", "speed")
"""Members that only Anthropic's own servers understand, and that change nothing of the answer's meaning."""
REFUSED = ("mcp_servers", "container", "fallbacks")
"""Members that only Anthropic's own servers understand, and without which the answer would be another."""


class _Hosted(ModelInPath, MessagesFamily):
    """The model and whether to stream are the path's to say."""

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        request = parse_request.parse_request(call, losses, self.peek(call.path, {}))
        return replace(request, dialect=self.name)

    def _written(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        call = super()._written(request, upstream, losses)
        for name in REFUSED:
            if call.members.get(name):
                path = request.path_of(name)
                raise Unsupported(path, f"{path} is not supported for this model", "unsupported_parameter")
        for name in DROPPED:
            if call.members.pop(name, None) is not None:
                losses.dropped(request.path_of(name))
        return call


class AnthropicBedrock(_Hosted):
    """InvokeModel and InvokeModelWithResponseStream."""

    name = "anthropic_bedrock"
    paths: tuple[str, ...] = ("/invoke", "/invoke-with-response-stream")
    verbs = ("/invoke", "/invoke-with-response-stream")
    root = "/model/[^/]+"
    stream_type = on_bedrock.STREAM_TYPE

    def _written(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        call = super()._written(request, upstream, losses)
        members = on_bedrock.body(call.members, dict(call.headers).get("anthropic-beta", ""))
        return replace(call, headers=[("content-type", "application/json")], members=members)

    def response_parser(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> MessagesParser:
        return on_bedrock.BedrockMessagesParser(call, head, limits, losses)

    def response_emitter(
        self, request: Request, upstream: ResponseHead, meta: Meta, env: Env, losses: LossReport
    ) -> MessagesEmitter:
        return on_bedrock.BedrockMessagesEmitter(self, request, upstream, meta, env, losses)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return bedrock.read_meta(head)

    def emit_error(self, failed: ResponseFailed, meta_: Meta) -> tuple[ResponseHead, bytes]:
        return bedrock.emit_error(failed, meta_)


class AnthropicVertex(_Hosted):
    """rawPredict and streamRawPredict. Streams, errors of the model and headers are those of the Messages API."""

    name = "anthropic_vertex"
    paths: tuple[str, ...] = (":rawPredict", ":streamRawPredict")
    verbs = (":rawPredict", ":streamRawPredict")
    root = "/v1/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/[^/:]+"
    headers: tuple[str, ...] = ("anthropic-beta",)

    def _written(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        call = super()._written(request, upstream, losses)
        kept = {name: value for name, value in call.members.items() if name != "model"}
        headers = [pair for pair in call.headers if pair[0] != "anthropic-version"]
        return replace(call, headers=headers, members={"anthropic_version": VERTEX_VERSION, **kept})
