"""A script of one ext_proc stream: what Envoy sends, what it gets back, and what it would make of that."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from extproc.effects import Result
from extproc.envoy_api.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import (
    CommonResponse,
    HeaderMutation,
    ProcessingRequest,
    ProcessingResponse,
)
from extproc.exchange import pieces
from extproc.exchange.incoming import FILTER, read
from extproc.exchange.machine import Exchange, Shared
from extproc.exchange.mutations import NAMESPACE
from extproc.exchange.outgoing import whole
from extproc.exchange.phases import Phase
from extproc.exchange.translator import Translator
from extproc.settings import Limits
from extproc.telemetry.outcome import Outcome

OPENAI = "{provider: openai, auth: {header: {Authorization: Bearer key-of-openai}}}"
ANTHROPIC = "{provider: anthropic, auth: {header: {x-api-key: key-of-anthropic}}}"
LEAF = ".filter_metadata['extproc']['route']"
NOW = 1_800_000_000.0

Pairs = list[tuple[str, str]]


def shared(limits: Limits | None = None, *, now: Callable[[], float] = lambda: NOW) -> Shared:
    ids = itertools.count(1)
    return Shared(now=now, ticks=now, new_id=lambda: f"id-{next(ids)}", limits=limits or Limits())


def leaf(route: str = "", cluster: str = "", endpoint: str = "") -> dict[str, Any]:
    """The attributes that carry the metadata of each level."""
    texts = {"route": route, "cluster": cluster, "upstream_host": endpoint}
    return {f"xds.{level}_metadata{LEAF}": text for level, text in texts.items() if text}


class Conversation:
    """Envoy's side of a stream. Each phase is a method; it applies the answer to the message that Envoy holds."""

    def __init__(self, exchange: Exchange | None = None, *, mode: int | None = ProcessingMode.STREAMED) -> None:
        self.exchange = exchange or Translator(shared())
        self.mode = mode
        """The configured mode of response bodies; ``None``: an Envoy that does not tell."""
        self.request: Pairs = []
        self.sent = b""
        self.response: Pairs = []
        self.got = b""
        self.metadata: dict[str, Any] = {}
        self.elsewhere: dict[str, dict[str, Any]] = {}
        """Dynamic metadata outside our own namespace, by namespace."""
        self.override: int | None = None
        self.immediate: tuple[int, dict[str, str], Any, str] | None = None
        self.cleared = False
        self.waiting: str | None = None
        """The message that the exchange has not answered yet."""

    # ---- what Envoy sends

    def headers(
        self,
        path: str = "/v1/messages",
        headers: Mapping[str, str] | Pairs | None = None,
        *,
        method: str = "POST",
        end: bool = False,
        attributes: Mapping[str, Any] | None = None,
        recalled: Mapping[str, Any] | None = None,
        raw: Pairs | None = None,
    ) -> ProcessingResponse | None:
        """The request's headers. *raw*: all of them, pseudo headers too, as an earlier attempt left them; *recalled*:
        our dynamic metadata that Envoy forwards."""
        message = ProcessingRequest()
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers or [])
        pseudo = [(":method", method), (":path", path), (":scheme", "https"), (":authority", "gateway.example")]
        self.request = raw if raw is not None else [*pseudo, *pairs]
        self._fill(message.request_headers.headers.headers, self.request)
        message.request_headers.end_of_stream = end
        self._attribute(message, {"upstream.request_attempt_count": 1.0, **(attributes or {})})
        if recalled is not None:
            message.metadata_context.filter_metadata[NAMESPACE].update(recalled)
        if self.mode is not None:
            message.protocol_config.request_body_mode = ProcessingMode.BUFFERED
            message.protocol_config.response_body_mode = self.mode  # type: ignore[assignment]
        return self.say(message)

    def body(self, body: Any, *, end: bool = True) -> ProcessingResponse | None:
        """The request's body: bytes, or a value to be sent as JSON."""
        message = ProcessingRequest()
        self.sent = body if isinstance(body, bytes) else msgspec.json.encode(body)
        message.request_body.body = self.sent
        message.request_body.end_of_stream = end
        return self.say(message)

    def answer(
        self,
        status: int,
        headers: Mapping[str, str] | None = None,
        *,
        end: bool = False,
        details: str = "via_upstream",
        attributes: Mapping[str, Any] | None = None,
    ) -> ProcessingResponse | None:
        """The response's headers."""
        message = ProcessingRequest()
        self.response = [(":status", str(status)), *(headers or {}).items()]
        self._fill(message.response_headers.headers.headers, self.response)
        message.response_headers.end_of_stream = end
        self._attribute(message, {"response.code_details": details or None, **(attributes or {})})
        return self.say(message)

    def chunk(self, body: bytes, *, end: bool = False) -> bytes:
        """A piece of the response's body, or the whole of it; what the client gets for it."""
        message = ProcessingRequest()
        message.response_body.body = body
        message.response_body.end_of_stream = end
        before = len(self.got)
        answer = self.say(message)
        if answer is not None and answer.HasField("response_body"):
            common = answer.response_body.response
            self.got += common.body_mutation.body if common.HasField("body_mutation") else body
        return self.got[before:]

    def trailers(self, kind: str = "response_trailers") -> ProcessingResponse | None:
        message = ProcessingRequest()
        getattr(message, kind).SetInParent()
        return self.say(message)

    def close(self) -> Outcome:
        return self.exchange.close()

    def _answer(self, message: bytes) -> ProcessingResponse | None:
        """The one answer, as ``server.service`` asks for it."""
        if (
            self.exchange.phase is Phase.STREAMING
            and self.exchange.plain
            and (chunk := pieces.read(message)) is not None
        ):
            return ProcessingResponse.FromString(whole(self.exchange.receive_piece(chunk)))
        answers = self.exchange.receive(read(message))
        if not answers:
            return None
        (answer,) = answers
        return ProcessingResponse.FromString(answer.encoded())

    # ---- what it makes of the answers

    def say(self, message: ProcessingRequest) -> ProcessingResponse | None:
        """Send *message* as bytes, as on the wire, and take the one answer to it."""
        return self._taken(self._answer(message.SerializeToString()), message.WhichOneof("request"))

    def resume(self, result: Result) -> ProcessingResponse | None:
        """What the exchange waits for has come to *result*."""
        assert self.exchange.asks is not None
        answers = self.exchange.resume(self.exchange.asks, result)
        if not answers:
            assert self.exchange.asks is not None
            return None
        (made,) = answers
        answer = self._taken(ProcessingResponse.FromString(made.encoded()), self.waiting)
        if answer is not None and answer.HasField("response_body"):
            self.got += answer.response_body.response.body_mutation.body
        return answer

    def _taken(self, answer: ProcessingResponse | None, asked: str | None) -> ProcessingResponse | None:
        if answer is None:
            return None
        if answer.HasField("override_message_timeout"):
            assert answer.WhichOneof("response") is None and self.exchange.asks is not None
            self.waiting = asked
            return None
        kind = answer.WhichOneof("response")
        for name, value in answer.dynamic_metadata.fields.items():
            into = self.metadata if name == NAMESPACE else self.elsewhere.setdefault(name, {})
            into |= {key: _plain(item) for key, item in value.struct_value.fields.items()}
        if kind == "immediate_response":
            now = answer.immediate_response
            self.immediate = (now.status.code, dict(_set(now.headers)), _json(now.body), now.details)
            return answer
        assert kind == asked, "Envoy takes any other answer for a spurious message"
        self._apply(kind, answer)
        return answer

    def _apply(self, kind: str, answer: ProcessingResponse) -> None:
        if answer.HasField("mode_override"):
            assert kind.endswith("_headers")
            self.override = answer.mode_override.response_body_mode
        if kind.endswith("_trailers"):
            return
        common: CommonResponse = getattr(answer, kind).response
        request = kind.startswith("request")
        self.cleared = self.cleared or common.clear_route_cache
        if kind == "response_body" and self._streaming:
            assert not common.HasField("header_mutation") or common.header_mutation == HeaderMutation()
        held = mutated(self.request if request else self.response, common.header_mutation)
        if request:
            self.request = held
        else:
            self.response = held
        if not common.HasField("body_mutation"):
            return
        length = dict(held).get("content-length")
        if length is not None and (request or (kind.endswith("_body") and not self._streaming)):
            assert int(length) == len(common.body_mutation.body), "Envoy refuses it"
        if kind == "request_body":
            self.sent = common.body_mutation.body
        if kind == "response_headers":
            assert common.status == CommonResponse.CONTINUE_AND_REPLACE
            self.got = common.body_mutation.body

    @property
    def _streaming(self) -> bool:
        mode = self.mode if self.override is None else self.override
        return mode == ProcessingMode.STREAMED

    @property
    def upstream(self) -> dict[str, str]:
        """The request's headers as the upstream gets them."""
        return dict(self.request)

    @property
    def client(self) -> dict[str, str]:
        """The response's headers as the client gets them."""
        return dict(self.response)

    @property
    def sent_json(self) -> Any:
        return msgspec.json.decode(self.sent)

    @property
    def got_json(self) -> Any:
        return msgspec.json.decode(self.got)

    @property
    def left(self) -> dict[str, Any]:
        """Our dynamic metadata, as the next attempt gets it."""
        return dict(self.metadata)

    def _fill(self, target: Any, pairs: Pairs) -> None:
        for name, value in pairs:
            target.add(key=name, raw_value=value.encode("latin-1"))

    def _attribute(self, message: ProcessingRequest, values: Mapping[str, Any]) -> None:
        message.attributes[FILTER].update({name: value for name, value in values.items() if value is not None})


def mutated(held: Pairs, mutation: HeaderMutation) -> Pairs:
    """The headers that Envoy *held*, changed as it changes them: removed first, then set."""
    changed = {name for name, _ in _set(mutation)}
    assert not set(mutation.remove_headers) & changed
    kept = [(name, value) for name, value in held if name not in mutation.remove_headers and name not in changed]
    return [*kept, *_set(mutation)]


def _set(mutation: HeaderMutation) -> Pairs:
    for option in mutation.set_headers:
        assert not option.header.value, "Envoy reads raw_value alone"
        assert option.header.raw_value, "an empty value would set an empty header"
    return [(option.header.key, option.header.raw_value.decode("latin-1")) for option in mutation.set_headers]


def _plain(value: Any) -> Any:
    return getattr(value, value.WhichOneof("kind"))


def _json(body: bytes) -> Any:
    return msgspec.json.decode(body) if body else None
