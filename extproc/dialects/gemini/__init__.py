"""Google's Gemini API, and the same on Vertex AI: ``generateContent``, ``streamGenerateContent``, ``countTokens``.

The model and whether to stream stand in the path: ``/v1beta/models/{model}:streamGenerateContent?alt=sse``. Without
``alt=sse`` a stream is one JSON array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from ...llm.events import ResponseFailed
from ...llm.losses import LossReport
from ...llm.models import Model
from ...llm.request import Request
from ...settings import Limits
from ..base import (
    Answering,
    Asked,
    ClientCall,
    Env,
    Headers,
    Meta,
    ModelInPath,
    Operation,
    ResponseHead,
    Upstream,
    UpstreamCall,
    Verbs,
    encode,
    member_at,
)
from ..shared import google
from ..shared.estimate import estimate
from ..shared.relay import relayed
from . import count_tokens, emit_request, mend, models, parse_request
from .emit_response import GeminiEmitter
from .parse_request import COUNT, COUNTED, VERBS, GeminiAsked, is_array
from .parse_response import GeminiParser
from .words import NAME, PLACES


class Gemini(ModelInPath):
    name = NAME
    paths: tuple[str, ...] = VERBS
    root = r"/v\d\w*(/projects/[^/]+/locations/[^/]+)?(/publishers/[^/]+)?/(models|tunedModels|endpoints)/[^/]+"
    converses = True
    verbs: Verbs = (":generateContent", ":streamGenerateContent?alt=sse")
    places: Mapping[str, str] = PLACES

    def claims(self, members: dict[str, Any]) -> bool:
        return "contents" in members

    def peek(self, path: str, members: Mapping[str, Any]) -> Asked:
        asked = super().peek(path, members)
        return GeminiAsked(asked.model, asked.stream, asked.operation, is_array(path))

    def rename(self, path: str, members: dict[str, Any], model: str) -> tuple[str, dict[str, Any]]:
        """The request whose tokens are counted may name its model, which must be the path's."""
        path, members = super().rename(path, members, model)
        for name in COUNTED:
            members = google.renamed_within(members, name, model)
        return path, members

    def offered(self, members: Mapping[str, Any]) -> int:
        tools = member_at(members, "tools")
        return sum(map(_declared, tools)) if type(tools) is list else 0

    def operation(self, path: str) -> Operation:
        return Operation.COUNT if path.partition("?")[0].rstrip("/").endswith(COUNT) else Operation.ANSWER

    def address(self, upstream: Upstream, asked: Asked) -> tuple[str, str]:
        model = google.model_name(asked.model)
        array = isinstance(asked, GeminiAsked) and asked.array
        verbs = (self.verbs[0], self.verbs[1].partition("?")[0]) if array else self.verbs
        return "POST", upstream.at(Asked(model, asked.stream), verbs)

    def mend(self, body: bytes, losses: LossReport, signer: str = "") -> bytes:
        return mend.mend(body, losses)

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        return parse_request.parse_request(call, losses)

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        if (passed := relayed(self, request, upstream, losses)) is not None:
            return passed
        method, path = self.address(upstream, Asked(request.model, request.stream))
        return emit_request.emit_request(request, upstream, method, path, losses)

    def response_parser(
        self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> GeminiParser:
        return GeminiParser(call, head, limits, losses)

    def response_emitter(self, answering: Answering) -> GeminiEmitter:
        return GeminiEmitter(self, answering)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return google.read_meta(head)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return google.emit_error(failed, meta)

    # ---- counting tokens

    def count_address(self, upstream: Upstream, asked: Asked) -> tuple[str, str] | None:
        method, path = self.address(upstream, Asked(asked.model))
        bare, mark, query = path.partition("?")
        whole = self.verbs[0]
        return (method, f"{bare.removesuffix(whole)}{COUNT}{mark}{query}") if bare.endswith(whole) else None

    def parse_count(self, call: ClientCall) -> Request:
        return parse_request.parse_count(call)

    def emit_count(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall | None:
        address = self.count_address(upstream, Asked(request.model))
        if address is None:
            return None
        whole = emit_request.emit_request(request, upstream, *address, losses)
        return replace(whole, members=count_tokens.members(whole.members, request.model, address[1]))

    def read_count(self, body: bytes) -> int | None:
        return count_tokens.read(body)

    def write_count(self, tokens: int) -> bytes:
        return encode({"totalTokens": tokens})

    def estimate(self, call: ClientCall) -> bytes:
        return self.write_count(estimate(parse_request.parse_count(call)))

    # ---- which models there are

    def asks_for_models(self, path: str, headers: Headers) -> bool:
        return models.asks(path, headers)

    def one_model(self, model: Model) -> bytes:
        return encode(models.model_object(model))

    def all_models(self, models_: Sequence[Model], query: str) -> bytes:
        return encode(models.models_page(models_, query))


def _declared(tool: Any) -> int:
    """One of Google's tools may declare many functions."""
    declared = tool.get("functionDeclarations", tool.get("function_declarations")) if type(tool) is dict else None
    return len(declared) if type(declared) is list else 1
