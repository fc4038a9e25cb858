"""The role before routing: it names the model in a header, so that Envoy can route by it, and answers for Envoy where
Envoy itself answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from .attributes import Attributes
from .envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import HeaderMutation, ProcessingRequest
from .exchange import Answer, Exchange, Refusal, Shared, clipped
from .llm.events import ResponseFailed
from .llm.failures import ErrorKind, kind_of_status
from .mutations import UNCHANGED, proceed, set_header, with_metadata
from .phases import Kind, Phase

MODEL_HEADER = "x-extproc-model"
MAX_MODEL = 256
"""Characters of a model's name in the header."""


class _Body(Struct):
    model: Any = None


_decode = msgspec.json.Decoder(_Body).decode


class Router(Exchange):
    """Reads nothing of a request but its ``model``, and nothing of a response but whose it is."""

    role: ClassVar[str] = "router"

    def __init__(self, shared: Shared, refusal: Refusal | None = None) -> None:
        super().__init__(shared, refusal)
        self._model = ""
        self._prefixes: Mapping[str, str] = {}

    def on_request(self, message: ProcessingRequest) -> Answer:
        self._prefixes = Attributes(message).prefixes()
        return UNCHANGED[Kind.REQUEST_HEADERS], Phase.REQUEST

    def on_request_body(self, message: ProcessingRequest) -> Answer:
        body = message.request_body.body
        if self.detect(body, self._prefixes) is None:
            raise self.not_found()
        try:
            model = _decode(body).model
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.refuse(ErrorKind.INVALID_REQUEST, f"the request body is not a JSON object: {error}") from None
        mutation = HeaderMutation()
        if isinstance(model, str) and model:
            self._model = model
            set_header(mutation, MODEL_HEADER, as_header(model))
        else:
            # The client's own must never choose a route.
            mutation.remove_headers.append(MODEL_HEADER)
        answer = proceed(Kind.REQUEST_BODY, mutation, clear_route_cache=True)
        return with_metadata(answer, self.facts()), Phase.SENT

    def on_response_headers(self, message: ProcessingRequest) -> Answer:
        details = self.envoys_own(message)
        if details is None and self.phase is Phase.REQUEST:
            details = "request_not_sent"
        if details is not None:
            return self.reshape(message, details)
        return UNCHANGED[Kind.RESPONSE_HEADERS], Phase.PASSING

    def in_our_words(self, status: int, details: str) -> ResponseFailed:
        if kind_of_status(status) is ErrorKind.NOT_FOUND and self._model:
            message = f"the model `{self._model[:128]}` does not exist or is not served here"
            return ResponseFailed(ErrorKind.NOT_FOUND, message, status, "model_not_found", ours=True)
        return super().in_our_words(status, details)

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        if self._model:
            facts["model_asked"] = clipped(self._model)
        return facts


def as_header(model: str) -> str:
    """A model's name as a header's value: printable ASCII, within a bound; anything else becomes ``_``."""
    return "".join(c if " " <= c <= "~" else "_" for c in model[:MAX_MODEL]).strip()
