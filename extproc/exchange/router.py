"""The router role: on the listener, before the route is chosen. Tells Envoy the model; answers where Envoy would."""

from __future__ import annotations

import re

import msgspec

from ..dialects import detect
from ..envoy_api.external_processor_pb2 import HeaderMutation, HttpBody, HttpHeaders, ProcessingResponse
from ..llm.failures import ErrorKind
from ..translate import refused
from . import mutations
from .attributes import CODE_DETAILS, Attributes
from .machine import Machine

MODEL_HEADER = "x-extproc-model"
_NAME = re.compile(r"[\x21-\x7e]{1,256}\Z")
"""What a model's name may be made of to stand in a header; a space or a line's end would be read as something else."""


class _Head(msgspec.Struct):
    """All that routing reads of a body."""

    model: str = ""


_decode = msgspec.json.Decoder(_Head).decode


class Router(Machine):
    def on_request_headers(self, message: HttpHeaders, attributes: Attributes) -> ProcessingResponse:
        if (answer := self.probe()) is not None:
            return answer
        if message.end_of_stream and self.client is None:
            return self.not_served()
        return mutations.request_headers(self._without_clients_own())

    def on_request_body(self, message: HttpBody) -> ProcessingResponse:
        self.client = detect(self.path, message.body)
        if self.client is None:
            return self.not_served()
        try:
            model = _decode(message.body).model
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            problem = f"the request body is not the JSON of this API: {error}"
            return self.refuse(refused(self.client, ErrorKind.INVALID_REQUEST, problem, "invalid_value"))
        if model and not _NAME.match(model):
            problem = "model: expected at most 256 printable characters without spaces"
            return self.refuse(refused(self.client, ErrorKind.INVALID_REQUEST, problem, "invalid_value", "model"))
        mutation = mutations.header_mutation([], [(MODEL_HEADER, model)] if model else [])
        return mutations.request_body(mutation, None, clear_route_cache=True)

    def on_response_headers(self, message: HttpHeaders, attributes: Attributes) -> ProcessingResponse:
        pseudo, headers = mutations.read_headers(message.headers)
        status = int(pseudo.get(":status", "0"))
        if self.is_envoys_own(attributes, status):
            return self.envoys_own(status, attributes.text(CODE_DETAILS), headers)
        return mutations.response_headers()

    def _without_clients_own(self) -> HeaderMutation:
        """Only we say what the model is."""
        return HeaderMutation(remove_headers=[MODEL_HEADER])
