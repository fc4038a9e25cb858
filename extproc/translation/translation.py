"""One exchange without Envoy: a client's request to the upstream's, the upstream's answer to the client's.

The one choice between translating and passing through is made here. No dialect is named.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from .. import capabilities as capability_data
from .. import dialects, providers
from ..credentials.masking import Mask, mask_of
from ..credentials.secrets import NotReady
from ..dialects.base import ClientCall, Dialect, Env, Headers, Meta, ResponseHead, Upstream, UpstreamCall, encode
from ..frozen import Frozen
from ..headers import upstream_headers
from ..llm.events import (
    NO_USAGE,
    OpaqueStarted,
    ResponseEnded,
    ResponseEvent,
    ResponseFailed,
    ResponseStarted,
    TextDelta,
    ThinkingDelta,
    ThinkingSealed,
    ToolCallStarted,
    ToolInputDelta,
    Usage,
)
from ..llm.failures import STATUS_OF, ErrorKind, ProtocolError, Unsupported
from ..llm.losses import Loss, LossReport
from ..llm.request import Request
from ..route import Route, RouteError, Target, compile_route
from ..settings import Limits
from .response import INTERNAL, Broken, Passed, Response, Translated

log = logging.getLogger(__name__)

REPORT_HEADER = "x-llm-translation"
MAX_REPORT_BYTES = 2048
_UNSAFE_IN_REPORT = re.compile(r"[^A-Za-z0-9_.\[\]-]")
_decode_top_level = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_value = msgspec.json.Decoder().decode
_CONTENT = frozenset({TextDelta, ThinkingDelta, ThinkingSealed, ToolCallStarted, ToolInputDelta, OpaqueStarted})


class Call(Frozen):
    """What goes upstream: ``path`` with its query, all the headers (no pseudo headers, no content-length), the body.
    ``host`` is set when the route names the upstream's own."""

    method: str
    path: str
    headers: Headers
    body: bytes
    host: str | None = None


class Refused(Exception):
    """The client's fault, or a request that this route may not answer.

    ``status``, ``headers`` and ``body`` are an error response in the client's own API shape.
    """

    def __init__(self, failed: ResponseFailed, head: ResponseHead, body: bytes) -> None:
        super().__init__(failed.message)
        self.failed = failed
        self.status = head.status
        self.headers = head.headers
        self.body = body


class Estimated(Refused):
    """No error: the answer to a request for the number of its tokens, which this upstream cannot give."""

    def __init__(self, body: bytes) -> None:
        head = ResponseHead(200, [("content-type", "application/json"), (REPORT_HEADER, "input_tokens:estimated")])
        failed = ResponseFailed(ErrorKind.API, "answered with an estimate", 200, "estimated", ours=True)
        super().__init__(failed, head, body)


class Translation:
    """One exchange. Call ``request`` once, then ``response_head`` once, then ``response_body`` until ``end_of_stream``.

    *client* and *upstream* are dialect names; left out, the client's is detected from the request and the upstream's is
    the route's. *route* is the mapping that Envoy's metadata carries, or a compiled one. *now* is Unix seconds; *clock*
    tells the time again when the first content comes.
    The constructor raises RouteError, ``request`` raises Refused; nothing else raises.
    """

    def __init__(
        self,
        client: str | None = None,
        upstream: str | None = None,
        *,
        route: Mapping[str, Any] | Route | None = None,
        now: float | None = None,
        request_id: str = "",
        limits: Limits | None = None,
        capabilities: capability_data.CapabilityTable | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.route = _route(route, upstream)
        self.client = client or self.route.client
        self.upstream = upstream
        for name in (self.client, upstream):
            if name is not None:
                dialects.get(name)
        self.limits = limits or Limits()
        self.losses = LossReport()
        self.usage: Usage = NO_USAGE
        self.model_asked = ""
        self.model_sent = ""
        self.model_answered = ""
        self.started = False
        self.ended: ResponseEnded | None = None
        self.failed: ResponseFailed | None = None
        self.cancelled = False
        self.cut = False
        """What the client has is not whole and cannot be made so: break the transfer, that it never looks complete."""
        self.first_content_at: float | None = None
        """When the first content came, by *clock*: text, thinking, or a tool's call."""
        self.passthrough = False
        self.whole = True
        self.head = ResponseHead(0)
        self._capabilities = capabilities or capability_data.packaged()
        self._env = Env(time.time() if now is None else now, request_id)
        self._clock = clock
        self._counting = ""
        self._call: UpstreamCall | None = None
        self._request_losses = 0
        self._response: Response | None = None
        self._received = 0
        self._aborted = False
        self._sent: Headers = []
        self._mask: Mask = mask_of(())

    # ---- the request

    def request(self, body: bytes, method: str = "POST", path: str = "", headers: Headers | None = None) -> Call:
        """The request for the upstream. *headers* are pairs with lower-case names. Raises Refused, RouteError."""
        call = ClientCall(method, path, headers or [], body)
        client_name = self.client or dialects.detect(path, body, self.route.prefixes)
        if client_name is None:
            alike = dialects.resembled(path.partition("?")[0])
            raise refused(alike, ErrorKind.NOT_FOUND, f"no LLM API is served at {method} {path.partition('?')[0]}")
        self.client = client_name
        client = dialects.get(client_name)
        target = self.route.target(client_name, self.upstream)
        self.upstream = target.dialect
        self.passthrough = target.dialect == client_name
        self._counting = dialects.counting(client_name, path)
        try:
            if len(body) > (limit := self.route.max_request_bytes or self.limits.max_request_bytes):
                raise refused(client_name, ErrorKind.TOO_LARGE, f"the request is larger than {limit} bytes")
            if self._counting:
                made = self._count_request(client, call, target)
            else:
                make = self._pass_request if self.passthrough else self._translate_request
                made = make(client, call, target)
        except ProtocolError as wrong:
            raise refused(client_name, ErrorKind.INVALID_REQUEST, str(wrong), "invalid_value", wrong.path) from None
        except Unsupported as error:
            raise refused(client_name, ErrorKind.INVALID_REQUEST, error.message, error.code, error.path) from None
        except NotReady as waiting:
            # As an overloaded upstream would: SDKs ask again by themselves.
            failed = ResponseFailed(ErrorKind.OVERLOADED, str(waiting), None, "credential_not_ready", ours=True)
            raise Refused(failed, *client.emit_error(failed, Meta(retry_after="1"))) from None
        except (Refused, RouteError):
            raise
        except Exception:
            log.exception("a bug in translating a request from %s to %s", client_name, target.dialect)
            raise refused(client_name, ErrorKind.API, "internal error while translating the request") from None
        self._request_losses = len(self.losses)
        return made

    def _translate_request(self, client: Dialect, call: ClientCall, target: Target) -> Call:
        upstream = dialects.get(target.dialect)
        if not (client.converses and upstream.converses):
            provider = self.route.provider
            speaks = f"provider {provider.name} speaks {', '.join(provider.dialects)}"
            raise Unsupported("", f"{client.name} requests cannot be translated to {upstream.name} ({speaks})")
        request = client.parse_request(call, self.losses)
        self.model_asked = request.model
        if self.route.model:
            request = replace(request, model=self.route.model)
        emitted = upstream.emit_request(request, self._upstream(target, request.model), self.losses)
        if self.route.losses == "reject" and (loss := self.losses.unacceptable()):
            detail = f": {loss.detail}" if loss.detail else ""
            message = f"{loss.path} cannot be carried to this upstream ({loss.action.value}){detail}"
            raise Unsupported(loss.path, message, "unsupported_parameter")
        self._call = emitted
        body = encode(self.route.apply(emitted.members, target.dialect))
        return self._made(call, target, emitted.headers, body)

    def _pass_request(self, client: Dialect, call: ClientCall, target: Target) -> Call:
        """Same dialect: the bytes as they came, but for the members that the route sets."""
        body = client.mend(call.body, self.losses)
        try:
            members: dict[str, Any] = _decode_top_level(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError("", f"the request body is not a JSON object: {error}") from None
        self.model_asked = _text(members.get("model"))
        if not self._counting:
            changed = self.route.apply(members, target.dialect)
        else:
            changed = {**members, "model": self.route.model} if self.route.model else members
        if changed != members:
            body = encode(changed)
        stream = changed.get("stream")
        request = Request(
            dialect=client.name,
            model=_text(changed.get("model")),
            messages=[],
            stream=(_decode_value(stream) if isinstance(stream, msgspec.Raw) else stream) is True,
        )
        self._call = UpstreamCall(call.method, target.path, [], {}, request)
        return self._made(call, target, [("content-type", "application/json")], body)

    def _count_request(self, client: Dialect, call: ClientCall, target: Target) -> Call:
        """A request for the number of its tokens: to an upstream of the same API; else it is answered here. Of what the
        route sets it takes the model alone: the upstream knows no other member of it."""
        bare, mark, query = target.path.partition("?")
        if not self.passthrough or not bare.endswith(client.paths[0]):
            answer = dialects.estimate(call)
            self.model_asked = _text(_decode_top_level(call.body).get("model"))
            raise Estimated(answer)
        target = Target(target.dialect, f"{bare}{self._counting}{mark}{query}", target.host)
        return self._pass_request(client, call, target)

    def _upstream(self, target: Target, model: str) -> Upstream:
        try:
            row = self._capabilities.find(self.route.provider.name, model, self.route.quirks)
        except capability_data.CapabilityError as error:
            raise RouteError(f"route: {error}") from None
        return Upstream(self.route.provider.name, target.path, row, model)

    def _made(self, call: ClientCall, target: Target, headers: Headers, body: bytes) -> Call:
        self.model_sent = self._call.request.model if self._call else ""
        path = self.route.query(target.at(self.model_sent), call.path, passthrough=self.passthrough)
        self._sent = self.route.credentials()
        complete = upstream_headers(
            call.headers,
            headers,
            self._sent,
            passthrough=self.passthrough,
            forward=self.route.forward_headers,
        )
        if self.route.aws is not None:
            complete += self.route.aws.sign(call.method, path, complete, body, self._env.now)
        return Call(call.method, path, complete, body, target.host)

    # ---- the response

    def response_head(self, status: int, headers: Headers) -> None:
        """What the upstream answered. Sets ``whole``, and ``head`` unless ``whole``."""
        try:
            self._mask = mask_of(self.route.secrets(self._sent))
            self._response = self._respond(ResponseHead(status, self._mask.headers(headers)))
        except Exception:
            log.exception("a bug in reading the head of a response from %s", self.upstream)
            self._response = Broken(dialects.get(self.client or dialects.FALLBACK), INTERNAL, self.note)
        self.whole = self._response.whole
        if not self.whole:
            self.head = self._response.head()

    def _respond(self, head: ResponseHead) -> Response:
        client = dialects.get(self.client or dialects.FALLBACK)
        upstream = dialects.get(self.upstream or dialects.FALLBACK)
        call = self._call
        if call is None:
            return Broken(client, INTERNAL, self.note)
        length = head.header("content-length")
        if 300 <= head.status < 400:
            # It leads to the provider's host, past the gateway, and may repeat the key in its query.
            message = f"the upstream answered with a redirect (HTTP {head.status})"
            return Broken(client, ResponseFailed(ErrorKind.API, message, 502, "upstream_redirect"), self.note)
        if length.isdecimal() and self._too_large(int(length)):
            return Broken(client, self._larger(), self.note)
        shared = (call, head, self._env, self.limits, self.losses, self.report_headers(), self.note)
        if self.passthrough:
            # A count of tokens is no answer of a model's: nothing in it was used.
            return Passed(client, *shared, watch=not self._counting or head.status >= 400)
        return Translated(client, upstream, *shared)

    def response_body(self, chunk: bytes, end_of_stream: bool = False) -> bytes:
        """Bytes for the client. A whole answer comes with ``end_of_stream``; after it there is nothing."""
        if self._response is None:
            self.response_head(200, [])
        response = self._response
        assert response is not None
        self._received += len(chunk)
        try:
            if self._aborted:
                self.cut = not response.whole
                out = response.feed(b"", end_of_stream) if response.whole else b""
            elif self.ended is None and self._too_large(self._received):
                self._aborted = True
                out = response.abort(self._larger(), end_of_stream)
                self.cut = not response.whole and not out
            else:
                out = response.feed(chunk, end_of_stream)
        except Exception:
            log.exception("a bug in translating a response from %s to %s", self.upstream, self.client)
            out = response.abort(INTERNAL, end_of_stream)
        if end_of_stream:
            self.head = response.head()
        if out and (self.failed is not None or self.head.status >= 400 or self._mask.shows_in(out)):
            out = self._mask.data(out)
        return out

    def _too_large(self, size: int) -> bool:
        return self.route.max_response_bytes is not None and size > self.route.max_response_bytes

    def _larger(self) -> ResponseFailed:
        message = f"the upstream's answer is larger than {self.route.max_response_bytes} bytes"
        return ResponseFailed(ErrorKind.API, message, 502, "upstream_error")

    def cancel(self) -> None:
        """The exchange ended without the response's end: a reset, or a client that went away."""
        if not self.over:
            self.cancelled = True

    def release(self) -> None:
        """Nothing more is to come: let go of what would keep the bodies until Python looks for cycles."""
        self._response = None

    # ---- what is known of it

    @property
    def model(self) -> str:
        """The model as sent, then as answered."""
        return self.model_answered or self.model_sent

    @property
    def streamed(self) -> bool:
        """The client asked for a stream and gets one."""
        return self._call is not None and self._call.request.stream and not self.whole

    @property
    def answered(self) -> bool:
        """The upstream's head has come."""
        return self._response is not None

    @property
    def over(self) -> bool:
        """The response has ended, one way or another."""
        return self.ended is not None or self.failed is not None

    @property
    def truncated(self) -> bool:
        """The upstream closed before the response had ended."""
        return self.failed is not None and self.failed.code == "stream_truncated"

    @property
    def request_losses(self) -> list[Loss]:
        return list(self.losses)[: self._request_losses]

    def report_headers(self) -> Headers:
        """The request's losses as a response header, where the route asks for it."""
        if self.route.losses != "report" or not self._request_losses:
            return []
        items = (f"{_UNSAFE_IN_REPORT.sub('_', x.path)}:{x.action.value}" for x in self.request_losses)
        text = ",".join(items)
        if len(text) > MAX_REPORT_BYTES:
            text = text[:MAX_REPORT_BYTES].rpartition(",")[0]
        return [(REPORT_HEADER, text)]

    def note(self, event: ResponseEvent) -> None:
        """Keep what the exchange's record needs of *event*."""
        kind = type(event)
        if kind is ResponseStarted:
            self.started = True
            self.model_answered = event.model  # type: ignore[union-attr]
            self.usage = event.usage  # type: ignore[union-attr]
        elif kind is ResponseEnded:
            self.ended = event  # type: ignore[assignment]
            self.usage = event.usage  # type: ignore[union-attr]
        elif kind is ResponseFailed:
            self.failed = self._masked(event)  # type: ignore[arg-type]
        elif self.first_content_at is None and self._clock is not None and kind in _CONTENT:
            self.first_content_at = self._clock()

    def _masked(self, failed: ResponseFailed) -> ResponseFailed:
        code = failed.code and self._mask.text(failed.code)
        return replace(failed, message=self._mask.text(failed.message), code=code)


def refused(
    client: str | None, kind: ErrorKind, message: str, code: str | None = None, param: str | None = None
) -> Refused:
    """An error of our own about the client's request, in the shape of *client* (OpenAI's when it is not known)."""
    failed = ResponseFailed(kind, message, STATUS_OF[kind], code, param or None, ours=True)
    return Refused(failed, *render_error(client, failed))


def render_error(client: str | None, failed: ResponseFailed) -> tuple[ResponseHead, bytes]:
    """*failed* as a response in the shape of dialect *client* (OpenAI's when it is not known)."""
    return dialects.get(client or dialects.FALLBACK).emit_error(failed, Meta())


def _route(route: Mapping[str, Any] | Route | None, upstream: str | None) -> Route:
    if isinstance(route, Route):
        return route
    if route is None:
        # Without a route the translation alone is wanted: the provider that the upstream's dialect is native to.
        route = {"provider": providers.native_to(upstream or dialects.FALLBACK), "auth": "none"}
    return compile_route([route])


def _text(value: Any) -> str:
    """A member that should be text, decoded or not yet."""
    if isinstance(value, msgspec.Raw):
        value = _decode_value(value)
    return value if type(value) is str else ""
