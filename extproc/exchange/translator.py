"""The translator role: in a cluster's filters, once per attempt, or on a listener, once per request.

Attempts of one request share nothing but Envoy's header map, in which the attempt before left its own path,
credentials and content-length, and our dynamic metadata. So the first attempt notes what the client sent and what it
set; a later one starts from that note.
"""

from __future__ import annotations

from typing import Any

from ..dialects import detect
from ..envoy_api.external_processor_pb2 import HeaderMutation, HttpBody, HttpHeaders, ProcessingResponse
from ..headers import CREDENTIAL_HEADERS
from ..llm.failures import ErrorKind
from ..route import CLIENT_KEYS, Route, RouteError, compile_route
from ..translate import Call, Refused, Translation
from . import mutations
from .attributes import CODE_DETAILS, Attributes, dynamic_metadata
from .machine import Context, Headers, Machine
from .phases import Outcome

NOTE = "attempt"
"""Where an attempt's note stands in our dynamic metadata."""
_KEPT = ("content-type", "accept", "anthropic-version", "anthropic-beta", "openai-beta")
"""Headers of the client's that a translation may replace or remove and a later attempt may need. No credentials."""


class Translator(Machine):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._route: Route | None = None
        self._translation: Translation | None = None
        self._attempt = 0
        self._memory: dict[str, Any] = {}
        self._clients: Headers = []  # the headers as the client sent them
        self._came: Headers = []  # the response's
        self._told = False

    # ---- the request

    def on_request_headers(self, message: HttpHeaders, attributes: Attributes) -> ProcessingResponse:
        if (answer := self.probe()) is not None:
            return answer
        self._attempt = attributes.attempt
        self._memory = attributes.note(NOTE) if self._attempt > 1 else {}
        self._recall()
        try:
            self._route = compile_route(attributes.levels())
        except RouteError as error:
            return self._misconfigured(error)
        self.client = self._route.client or detect(self.path, b"")
        if message.end_of_stream:
            return self.not_served()
        return mutations.request_headers()

    def _recall(self) -> None:
        """The client's own path and headers, whatever an earlier attempt made of them."""
        self._clients = self.headers
        if self._memory:
            self.path = self._memory.get("path", self.path)
            # What an attempt set is another provider's; what it replaced was noted.
            gone = {*self._memory.get("set", ()), *CREDENTIAL_HEADERS}
            kept = self._memory.get("kept", {})
            self._clients = [(name, value) for name, value in self.headers if name not in gone]
            have = {name for name, _ in self._clients}
            self._clients += [(name, value) for name, value in kept.items() if name not in have]
            self.client = detect(self.path, b"")

    def on_request_body(self, message: HttpBody) -> ProcessingResponse:
        assert self._route is not None
        came = message.body
        request_id = next((value for name, value in self.headers if name == "x-request-id"), "")
        translation = self._translation = Translation(
            route=self._route,
            now=self.context.clock(),
            request_id=request_id,
            limits=self.context.limits,
            capabilities=self.context.capabilities,
        )
        try:
            call = translation.request(came, self.method, self.path, self._clients)
        except Refused as error:
            self.client = translation.client
            return self.refuse(error, self._record())
        except RouteError as error:
            self.client = translation.client or self.client
            return self._misconfigured(error)
        self.client = translation.client
        return self._sent(call, came)

    def _sent(self, call: Call, came: bytes) -> ProcessingResponse:
        wanted = {":path": call.path, ":method": call.method}
        if call.host is not None:
            wanted[":authority"] = call.host
        pseudo = {name: value for name, value in wanted.items() if self.pseudo.get(name) != value}
        mutation = mutations.header_mutation(self.headers, call.headers, pseudo=pseudo, length=len(call.body))
        answer = mutations.request_body(mutation, None if call.body is came else call.body)
        record = self._record()
        if self._attempt:
            record[NOTE] = self._noted(mutation)
        answer.dynamic_metadata.CopyFrom(dynamic_metadata(record))
        return answer

    def _noted(self, mutation: HeaderMutation) -> dict[str, Any]:
        """What the next attempt must know. Never a credential's value: this can be logged."""
        names = {option.header.key for option in mutation.set_headers} | set(self._memory.get("set", ()))
        path, _, query = self.path.partition("?")
        query = "&".join(p for p in query.split("&") if p and p.partition("=")[0] not in CLIENT_KEYS)
        return {
            "path": f"{path}?{query}" if query else path,
            "kept": {name: value for name, value in self._clients if name in _KEPT},
            "set": sorted(name for name in names if not name.startswith(":")),
        }

    def _misconfigured(self, error: RouteError) -> ProcessingResponse:
        """The operator's fault: said in the client's shape, and once in the log."""
        self.context.tell_once(f"a route's metadata is wrong: {error}")
        return self.fail(ErrorKind.API, f"the gateway's route is misconfigured: {error}", 500, "misconfigured")

    # ---- the response

    def on_response_headers(self, message: HttpHeaders, attributes: Attributes) -> ProcessingResponse:
        pseudo, self._came = mutations.read_headers(message.headers)
        status = int(pseudo.get(":status", "0"))
        translation = self._translation
        if translation is None or self.is_envoys_own(attributes, status):
            self._translation = None
            self.settle(Outcome.NOT_OURS)
            return self.envoys_own(status, attributes.text(CODE_DETAILS), self._came)
        translation.response_head(status, self._came)
        if message.end_of_stream:
            body = translation.response_body(b"", end_of_stream=True)
            answer = mutations.replaced_response(self._head_mutation(len(body)), body)
            return self._ending(answer)
        if translation.whole:
            return mutations.response_headers(mode=mutations.BUFFERED)
        return mutations.response_headers(self._head_mutation(None), mutations.STREAMED)

    def on_response_body(self, message: HttpBody) -> ProcessingResponse:
        translation = self._translation
        if translation is None:
            return mutations.response_body(None)
        if translation.whole:
            # Buffered: this is all of it, though trailers may follow and the end be said there.
            body = translation.response_body(message.body, end_of_stream=True)
            return self._ending(mutations.response_body(body, self._head_mutation(len(body))))
        came = message.body
        body = translation.response_body(came, message.end_of_stream)
        answer = mutations.response_body(None if body is came else body)
        if message.end_of_stream or translation.over:
            return self._ending(answer)
        return answer

    def on_response_trailers(self) -> ProcessingResponse:
        translation = self._translation
        answer = mutations.response_trailers()
        if translation is None:
            return answer
        if not translation.over:
            # The end comes where nothing can be said any more.
            translation.response_body(b"", end_of_stream=True)
        return self._ending(answer)

    def on_close(self) -> Outcome:
        translation = self._translation
        if translation is None:
            return Outcome.UNANSWERED if self._route else Outcome.NOT_OURS
        translation.cancel()
        if not translation.answered:
            return Outcome.UNANSWERED
        return Outcome.CUT if translation.cancelled else Outcome.COMPLETE

    def _head_mutation(self, length: int | None) -> HeaderMutation:
        assert self._translation is not None
        head = self._translation.head
        pseudo = {":status": str(head.status)}
        return mutations.header_mutation(self._came, head.headers, pseudo=pseudo, length=length)

    def _ending(self, answer: ProcessingResponse) -> ProcessingResponse:
        """The response is over: say what it was, once."""
        translation = self._translation
        if translation is None or self._told:
            return answer
        self._told = True
        self.settle(Outcome.TRUNCATED if translation.truncated else Outcome.COMPLETE)
        answer.dynamic_metadata.CopyFrom(dynamic_metadata(self._record() | self._result()))
        return answer

    def _record(self) -> dict[str, Any]:
        """What is known once the request is translated."""
        translation = self._translation
        assert translation is not None
        record = {
            "client": translation.client,
            "upstream": translation.upstream,
            "provider": translation.route.provider.name,
            "model": translation.model,
            "model_asked": translation.model_asked,
            "model_sent": translation.model_sent,
            "losses": ",".join(map(str, translation.losses)),
        }
        return {name: value for name, value in record.items() if value}

    def _result(self) -> dict[str, Any]:
        """What is known once the response is over."""
        translation = self._translation
        assert translation is not None
        usage, ended, failed = translation.usage, translation.ended, translation.failed
        result = {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
            "stop": ended.stop.value if ended else None,
            "error": (failed.code or failed.kind.value) if failed else None,
        }
        return {name: value for name, value in result.items() if value is not None}
