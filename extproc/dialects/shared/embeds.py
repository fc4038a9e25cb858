"""What dialects without conversations have in common, those of embeddings above all. Derived from in packages' own
files, so it is not compiled either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...llm.embeddings import EmbedRequest
from ...llm.events import ResponseFailed
from ...llm.failures import Unsupported
from ...llm.losses import LossReport
from ...llm.request import Request
from ...settings import Limits
from ..base import (
    Answering,
    Asked,
    ClientCall,
    DialectBase,
    Env,
    Meta,
    ModelInPath,
    Operation,
    ResponseHead,
    Upstream,
    UpstreamCall,
)
from . import bedrock, google
from .vectors import ErrorEmitter, VectorsParser

JSON = [("content-type", "application/json")]


class NoConversation(DialectBase):
    """An API that holds no conversation: of that vocabulary it needs the errors alone."""

    name: str
    paths: tuple[str, ...] = ()
    root = ""
    converses = False

    def claims(self, members: dict[str, Any]) -> bool:
        return False

    def response_emitter(self: Any, answering: Answering) -> ErrorEmitter:
        return ErrorEmitter(self, answering.upstream, answering.meta)


class EmbedDialect(NoConversation):
    """An API that gives vectors. Its answers are whole."""

    def operation(self, path: str) -> Operation:
        return Operation.EMBED

    def parse_request(self, call: ClientCall, losses: LossReport) -> Request:
        raise Unsupported("", "an embeddings request can only be answered by an upstream that has an embeddings API")

    def emit_request(self, request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
        raise Unsupported("", "an embeddings upstream can only answer embeddings requests")

    def response_parser(
        self: Any, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport
    ) -> VectorsParser:
        return VectorsParser(call, head, limits, losses, self)

    def called(self, request: EmbedRequest, upstream: Upstream, members: dict[str, Any]) -> UpstreamCall:
        """*members* to *upstream*, with what the answer to *request* is known by. Raises Unsupported."""
        method, path = self.address(upstream, Asked(request.model, operation=Operation.EMBED))
        known = Request(dialect=request.dialect, model=request.model, messages=[])
        return UpstreamCall(method, path, JSON, members, known)


class EmbedInPath(ModelInPath, EmbedDialect):
    """An API that names the model in its path, and has no streams of which the path could speak."""

    paths: tuple[str, ...] = ()

    def peek(self, path: str, members: Mapping[str, Any]) -> Asked:
        return Asked(super().peek(path, members).model, operation=Operation.EMBED)


class GoogleEmbed(EmbedInPath):
    """One of Google's APIs of embeddings: they share errors, and what headers say."""

    def failed(self, head: ResponseHead, error: Any, status: int | None) -> ResponseFailed:
        return google.read_failure(error, status)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return google.read_meta(head)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return google.emit_error(failed, meta)


class InvokeDialect(EmbedInPath):
    """A model of embeddings behind Amazon Bedrock's InvokeModel: each maker has a body of its own."""

    paths: tuple[str, ...] = ("/invoke",)
    verbs = ("/invoke", "/invoke")
    root = "/model/[^/]+"

    def failed(self, head: ResponseHead, error: Any, status: int | None) -> ResponseFailed:
        return bedrock.failure_of_head(head, error, status)

    def read_meta(self, head: ResponseHead, env: Env) -> Meta:
        return bedrock.read_meta(head)

    def emit_error(self, failed: ResponseFailed, meta: Meta) -> tuple[ResponseHead, bytes]:
        return bedrock.emit_error(failed, meta)
