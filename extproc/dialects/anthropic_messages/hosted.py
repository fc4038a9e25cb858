"""Claude where others host it: the Messages API in another envelope. Amazon Bedrock's InvokeModel, Google Vertex AI's
rawPredict (Anthropic, "Claude on Amazon Bedrock", "Claude on Vertex AI", November 2026)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from ...llm.events import ResponseFailed
from ...llm.failures import ProtocolError, Unsupported
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
    Operation,
    ResponseHead,
    Upstream,
    UpstreamCall,
    encode,
    value_of,
)
from ..shared import bedrock
from ..shared.estimate import estimate, read_count
from . import MessagesFamily, count_tokens, on_bedrock, parse_request
from .emit_response import MessagesEmitter
from .parse_response import MessagesParser

VERTEX_VERSION: Final = "vertex-2023-10-16"
_COUNT: Final = "count-tokens"
DROPPED = ("service_tier", "inference_geo", "speed")
"""Members that only Anthropic's own servers understand, and that change nothing of the answer's meaning."""
REFUSED = ("mcp_servers", "container", "fallbacks")
"""Members that only Anthropic's own servers understand, and without which the answer would be another."""


ReadsCounted = Callable[[ClientCall, str], Request]
"""Reads the body of a call about a model, whose name its path says."""


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

    def _counted(
        self, request: Request, upstream: Upstream, losses: LossReport, address: tuple[str, str]
    ) -> UpstreamCall:
        call = super()._counted(request, upstream, losses, address)
        return replace(call, headers=[("content-type", "application/json")])


class AnthropicBedrock(_Hosted):
    """InvokeModel and InvokeModelWithResponseStream, and the question for the number of tokens, which Bedrock's clients
    may ask in Converse's words as well: *read_converse* knows those."""

    name = "anthropic_bedrock"
    paths: tuple[str, ...] = ("/invoke", "/invoke-with-response-stream", bedrock.COUNT)
    verbs = ("/invoke", "/invoke-with-response-stream")
    root = "/model/[^/]+"
    stream_type = on_bedrock.STREAM_TYPE

    def __init__(self, read_converse: ReadsCounted) -> None:
        self._read_converse = read_converse

    def _written(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        call = super()._written(request, upstream, losses)
        members = on_bedrock.body(call.members, dict(call.headers).get("anthropic-beta", ""))
        return replace(call, headers=[("content-type", "application/json")], members=members)

    def response_parser(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> MessagesParser:
        return on_bedrock.BedrockMessagesParser(call, head, limits, losses)

    def response_emitter(self, answering: Answering) -> MessagesEmitter:
        return on_bedrock.BedrockMessagesEmitter(self, answering)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return bedrock.read_meta(head)

    def emit_error(self, failed: ResponseFailed, meta_: Meta) -> tuple[ResponseHead, bytes]:
        return bedrock.emit_error(failed, meta_)

    # ---- counting tokens

    def operation(self, path: str) -> Operation:
        counts = path.partition("?")[0].rstrip("/").endswith(bedrock.COUNT)
        return Operation.COUNT if counts else Operation.ANSWER

    def count_address(self, upstream: Upstream, asked: Asked) -> tuple[str, str] | None:
        return bedrock.count_address(self.address(upstream, Asked(asked.model)), self.verbs[0], asked.model)

    def parse_count(self, call: ClientCall) -> Request:
        body, is_converse = on_bedrock.counted_body(call.body)
        model = self.peek(call.path, {}).model
        if is_converse:
            try:
                return self._read_converse(replace(call, body=encode(body)), model)
            except ProtocolError as error:
                raise ProtocolError(f"input.converse.{error.path}", error.problem) from None
        inner = ClientCall(call.method, call.path, call.headers, encode({**body, "model": model}))
        return replace(count_tokens.parse(inner), dialect=self.name)

    def emit_count(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall | None:
        address = self.count_address(upstream, Asked(request.model))
        if address is None:
            return None
        call = self._counted(request, upstream, losses, address)
        return replace(call, members=on_bedrock.count_members(call.members))

    def read_count(self, body: bytes) -> int | None:
        return read_count(body, bedrock.TOKENS)

    def write_count(self, tokens: int) -> bytes:
        return encode({bedrock.TOKENS: tokens})

    def estimate(self, call: ClientCall) -> bytes:
        return self.write_count(estimate(self.parse_count(call)))


class AnthropicVertex(_Hosted):
    """rawPredict and streamRawPredict. Streams, errors of the model and headers are those of the Messages API."""

    name = "anthropic_vertex"
    paths: tuple[str, ...] = (":rawPredict", ":streamRawPredict", f"/{_COUNT}:rawPredict")
    verbs = (":rawPredict", ":streamRawPredict")
    root = "/v1/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/[^/:]+"
    headers: tuple[str, ...] = ("anthropic-beta",)

    def _written(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        call = super()._written(request, upstream, losses)
        kept = {name: value for name, value in call.members.items() if name != "model"}
        headers = [pair for pair in call.headers if pair[0] != "anthropic-version"]
        return replace(call, headers=headers, members={"anthropic_version": VERTEX_VERSION, **kept})

    # ---- counting tokens: a model of its own, which takes the other's name in the body

    def operation(self, path: str) -> Operation:
        counts = path.partition("?")[0].rstrip("/").endswith(_COUNT + self.verbs[0])
        return Operation.COUNT if counts else Operation.ANSWER

    def peek(self, path: str, members: Mapping[str, Any]) -> Asked:
        if self.operation(path) is not Operation.COUNT:
            return super().peek(path, members)
        model = value_of(members, "model")
        return Asked(model if type(model) is str else "", operation=Operation.COUNT)

    def rename(self, path: str, members: dict[str, Any], model: str) -> tuple[str, dict[str, Any]]:
        if self.operation(path) is not Operation.COUNT:
            return super().rename(path, members, model)
        return path, {**members, "model": model}

    def count_address(self, upstream: Upstream, asked: Asked) -> tuple[str, str] | None:
        if "{model}" not in upstream.path:
            return None
        return self.address(upstream, Asked(_COUNT))

    def parse_count(self, call: ClientCall) -> Request:
        return replace(count_tokens.parse(call), dialect=self.name)

    def emit_count(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall | None:
        address = self.count_address(upstream, Asked(request.model))
        if address is None:
            return None
        call = self._counted(request, upstream, losses, address)
        # It knows no names that stand for a version.
        model = request.model.removesuffix("@default").removesuffix("@latest")
        return replace(call, members={"anthropic_version": VERTEX_VERSION, **call.members, "model": model})
