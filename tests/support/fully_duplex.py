"""The sidecar in the mode FULL_DUPLEX_STREAMED, by a service between Envoy and it: for seeing what that mode would do.

Heads are answered when the body is whole, where the sidecar wants it so; otherwise each piece as it comes.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc

from extproc.envoy_api.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import (
    CommonResponse,
    ProcessingRequest,
    ProcessingResponse,
)
from extproc.reference import config as envoy_config

from . import placements

SERVICE, ROLE = "envoy.service.ext_proc.v3.ExternalProcessor", "x-extproc-role"
DUPLEX, ANY_SIZE = (
    "FULL_DUPLEX_STREAMED",
    [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
)
PING = b": ping\n\n"
Ask = Callable[[Any], Any]


class FullyDuplex:
    """A context manager. ``port`` is of loopback; *socket* is the sidecar's. *ping*: seconds of silence in a stream
    after which its client gets PING."""

    def __init__(self, socket: str, ping: float | None = None) -> None:
        self._ping = ping
        self._channel = grpc.insecure_channel(f"unix:{socket}", options=ANY_SIZE)
        self._inner = self._channel.stream_stream(
            f"/{SERVICE}/Process", ProcessingRequest.SerializeToString, ProcessingResponse.FromString
        )
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=64), options=ANY_SIZE)
        handler = grpc.stream_stream_rpc_method_handler(
            self._process, ProcessingRequest.FromString, ProcessingResponse.SerializeToString
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Process": handler}),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> FullyDuplex:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None)
        self._channel.close()

    def _process(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        role = next((value for name, value in context.invocation_metadata() if name == ROLE), "translator")
        asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
        answers = self._inner(iter(asked.get, None), metadata=((ROLE, str(role)),))

        def ask(request: Any) -> Any:
            asked.put(request)
            # Envoy has no timeout in this mode that it could be told to extend.
            return next(answer for answer in answers if not answer.HasField("override_message_timeout"))

        stream = _Stream(ask, role)
        told: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def work() -> None:
            try:
                for request in requests:
                    for answer in stream.answers(request):
                        told.put(answer)
            except grpc.RpcError:
                pass
            finally:
                asked.put(None)
                told.put(None)

        threading.Thread(target=work, daemon=True).start()
        while True:
            try:
                answer = told.get(timeout=self._ping if stream.is_open else None)
            except queue.Empty:
                yield _streamed("response_body", PING, end=False)
                continue
            if answer is None:
                return
            yield answer


class _Stream:
    """One exchange."""

    def __init__(self, ask: Ask, role: str) -> None:
        self._ask = ask
        send, skip = ProcessingMode.SEND, ProcessingMode.SKIP
        self._mode = ProcessingMode(
            response_header_mode=skip if role == "router" else send,
            response_body_mode=ProcessingMode.NONE if role == "router" else ProcessingMode.STREAMED,
            response_trailer_mode=skip if role == "router" else send,
        )
        self._request_body = ProcessingMode.BUFFERED
        self._head: Any = None
        """The answer to a head that waits for the body."""
        self._whole = bytearray()
        self._instead: bytes | None = None
        """A body that goes in place of the one that comes."""
        self.is_open = False
        """It is in the midst of an answer that is a stream."""

    def answers(self, request: Any) -> Iterator[Any]:
        kind = request.WhichOneof("request")
        if request.HasField("protocol_config"):
            request.protocol_config.request_body_mode = ProcessingMode.BUFFERED
            request.protocol_config.response_body_mode = self._mode.response_body_mode
        yield from getattr(self, f"_on_{kind}")(request)

    def _asked(self, request: Any) -> Any:
        answer = self._ask(request)
        if answer.HasField("mode_override"):
            self._mode = ProcessingMode.FromString(answer.mode_override.SerializeToString())
            self._request_body = self._mode.request_body_mode
            answer.ClearField("mode_override")
        return answer

    def _on_request_headers(self, request: Any) -> Iterator[Any]:
        answer = self._asked(request)
        waits = answer.HasField("request_headers") and not request.request_headers.end_of_stream
        if waits and self._request_body == ProcessingMode.BUFFERED:
            self._head = answer
        else:
            yield answer

    def _on_request_body(self, request: Any) -> Iterator[Any]:
        body = request.request_body
        if self._head is None:
            yield _streamed("request_body", body.body, end=body.end_of_stream)
            return
        self._whole += body.body
        if body.end_of_stream:
            yield from self._flushed("request", request, end=True)

    def _flushed(self, side: str, request: Any, *, end: bool) -> Iterator[Any]:
        """The head and the body, both whole."""
        message = getattr(request, f"{side}_body")
        message.body, message.end_of_stream = bytes(self._whole), end
        answer, head = self._asked(request), self._head
        self._head, held = None, bytes(self._whole)
        self._whole.clear()
        if answer.HasField("immediate_response"):
            yield answer
            return
        changed = getattr(answer, f"{side}_body").response
        common = getattr(head, f"{side}_headers").response
        common.header_mutation.MergeFrom(changed.header_mutation)
        common.clear_route_cache = changed.clear_route_cache
        yield head
        made = _streamed(
            f"{side}_body", changed.body_mutation.body if changed.HasField("body_mutation") else held, end=end
        )
        made.dynamic_metadata.CopyFrom(answer.dynamic_metadata)
        yield made

    def _on_request_trailers(self, request: Any) -> Iterator[Any]:
        if self._head is not None:
            yield from self._flushed("request", ProcessingRequest(), end=False)
        answer = ProcessingResponse()
        answer.request_trailers.SetInParent()
        yield answer

    def _on_response_headers(self, request: Any) -> Iterator[Any]:
        if self._mode.response_header_mode == ProcessingMode.SKIP:
            self._mode.response_body_mode = ProcessingMode.NONE
            answer = ProcessingResponse()
            answer.response_headers.response.SetInParent()
            yield answer
            return
        answer = self._asked(request)
        if answer.HasField("immediate_response") or request.response_headers.end_of_stream:
            yield answer
            return
        common = answer.response_headers.response
        if common.status == CommonResponse.CONTINUE_AND_REPLACE:
            self._instead = common.body_mutation.body
            common.status = CommonResponse.CONTINUE
            common.ClearField("body_mutation")
            yield answer
        elif self._mode.response_body_mode == ProcessingMode.BUFFERED:
            self._head = answer
        else:
            self.is_open = self._mode.response_body_mode == ProcessingMode.STREAMED
            yield answer

    def _on_response_body(self, request: Any) -> Iterator[Any]:
        body = request.response_body
        if self._instead is not None:
            if body.end_of_stream:
                yield _streamed("response_body", self._instead, end=True)
        elif self._head is not None:
            self._whole += body.body
            if body.end_of_stream:
                yield from self._flushed("response", request, end=True)
        elif self._mode.response_body_mode == ProcessingMode.NONE:
            yield _streamed("response_body", body.body, end=body.end_of_stream)
        else:
            answer = self._asked(request)
            if answer.HasField("immediate_response"):
                yield answer
                return
            changed = answer.response_body.response
            data = changed.body_mutation.body if changed.HasField("body_mutation") else body.body
            self.is_open = self.is_open and not body.end_of_stream
            made = _streamed("response_body", data, end=body.end_of_stream)
            made.dynamic_metadata.CopyFrom(answer.dynamic_metadata)
            yield made

    def _on_response_trailers(self, request: Any) -> Iterator[Any]:
        self.is_open = False
        if self._head is not None:
            yield from self._flushed("response", ProcessingRequest(), end=False)
        elif self._mode.response_trailer_mode == ProcessingMode.SEND:
            yield self._asked(request)
            return
        answer = ProcessingResponse()
        answer.response_trailers.SetInParent()
        yield answer


def _streamed(kind: str, body: bytes, *, end: bool) -> Any:
    answer = ProcessingResponse()
    piece = getattr(answer, kind).response.body_mutation.streamed_response
    piece.body, piece.end_of_stream = body, end
    return answer


def fully_duplex(config: dict[str, Any], port: int, *, says_lengths: bool) -> dict[str, Any]:
    """*config* with all of our filters in that mode, by the service at *port*. *says_lengths*: as Envoy 1.37 cannot."""
    made: dict[str, Any] = envoy_config.copy_all(config)
    heads = ("request_header_mode", "response_header_mode", "request_trailer_mode", "response_trailer_mode")
    found = placements.clusters(made)
    filters = placements.manager(made)["http_filters"][:-1]
    for cluster in found.values():
        filters += placements.http_options(cluster).get("http_filters", [])[:-1]
    for item in filters:
        if "processing_mode" in item["typed_config"]:
            modes = {"request_body_mode": DUPLEX, "response_body_mode": DUPLEX, **dict.fromkeys(heads, "SEND")}
            item["typed_config"] |= {"processing_mode": modes, "allow_mode_override": False}
            if says_lengths:
                item["typed_config"]["allow_content_length_header"] = True
    sidecar = found["extproc"]
    (endpoint,) = sidecar["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["address"] = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    sidecar.pop("health_checks", None)
    return made
