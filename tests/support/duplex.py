"""Another service's ext_proc in the mode FULL_DUPLEX_STREAMED, as an endpoint picker has it: it looks at everything and
gives every body back as it came."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc

from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse

_METHOD = "envoy.service.ext_proc.v3.ExternalProcessor"


class DuplexProcessor:
    """A context manager. ``port`` is of loopback; ``seen`` counts the messages that came."""

    def __init__(self) -> None:
        self.seen = 0
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
        handler = grpc.stream_stream_rpc_method_handler(
            self._process, ProcessingRequest.FromString, ProcessingResponse.SerializeToString
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_METHOD, {"Process": handler}),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> DuplexProcessor:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None)

    def _process(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            self.seen += 1
            kind = request.WhichOneof("request")
            answer = ProcessingResponse()
            made = getattr(answer, kind)
            made.SetInParent()
            if kind.endswith("body"):
                body = getattr(request, kind)
                streamed = made.response.body_mutation.streamed_response
                streamed.body, streamed.end_of_stream = body.body, body.end_of_stream
            yield answer

    def filter(self) -> dict[str, Any]:
        """For a connection manager; ``cluster`` belongs to it."""
        modes = dict.fromkeys(("request_body_mode", "response_body_mode"), "FULL_DUPLEX_STREAMED")
        heads = ("request_header_mode", "response_header_mode", "request_trailer_mode", "response_trailer_mode")
        return {
            "name": "another.service",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
                "grpc_service": {"envoy_grpc": {"cluster_name": "another_service"}},
                "message_timeout": "10s",
                "processing_mode": {**modes, **dict.fromkeys(heads, "SEND")},
            },
        }

    def cluster(self) -> dict[str, Any]:
        options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        http2 = {"@type": f"type.googleapis.com/{options}", "explicit_http_config": {"http2_protocol_options": {}}}
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self.port}}
        return {
            "name": "another_service",
            "type": "STATIC",
            "typed_extension_protocol_options": {options: http2},
            "load_assignment": {
                "cluster_name": "another_service",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        }
