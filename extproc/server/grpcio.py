"""The transport on grpc.aio: TCP or a Unix socket, health, drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from ..envoy_api.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from ..envoy_api.health_pb2 import HealthCheckRequest, HealthCheckResponse
from ..exchange import ROLE_HEADER, Context, Exchange
from ..settings import Settings

log = logging.getLogger(__name__)

SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
HEALTH = "grpc.health.v1.Health"
SERVED = ("", SERVICE)
"""The service names that health answers for."""


class GrpcioServer:
    """``start`` once, ``drain`` once."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._serving = True
        self._changed = asyncio.Event()
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", settings.max_message_bytes),
                ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
                # Two processes on one port would each get half of the streams, unnoticed.
                ("grpc.so_reuseport", 0),
            ]
        )
        process = grpc.stream_stream_rpc_method_handler(
            self._process, ProcessingRequest.FromString, ProcessingResponse.SerializeToString
        )
        check = grpc.unary_unary_rpc_method_handler(
            self._check, HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString
        )
        watch = grpc.unary_stream_rpc_method_handler(
            self._watch, HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString
        )
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(SERVICE, {"Process": process}),
                grpc.method_handlers_generic_handler(HEALTH, {"Check": check, "Watch": watch}),
            )
        )

    async def start(self) -> list[str]:
        """Listen; returns the addresses, with the real port where 0 was asked. Raises OSError."""
        listening = []
        for listen in self._settings.listen.split(","):
            try:
                port = self._server.add_insecure_port(listen)
            except RuntimeError as error:
                raise OSError(f"cannot listen on {listen}: {error}") from None
            listening.append(listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}")
        await self._server.start()
        return listening

    async def drain(self, seconds: float) -> None:
        """No new streams; those that are open may finish, for so long."""
        self._serving = False
        self._changed.set()
        await self._server.stop(seconds)

    async def _process(
        self, requests: AsyncIterator[ProcessingRequest], call: Any
    ) -> AsyncIterator[ProcessingResponse]:
        exchange = Exchange(self._context, _role(call))
        try:
            async for request in requests:
                answer = exchange.receive(request)
                if answer is None:
                    await call.abort(grpc.StatusCode.INTERNAL, "the exchange cannot go on")
                    return
                yield answer
        finally:
            exchange.close()

    async def _check(self, request: HealthCheckRequest, call: Any) -> HealthCheckResponse:
        if request.service not in SERVED:
            await call.abort(grpc.StatusCode.NOT_FOUND, f"unknown service {request.service!r}")
        return self._health()

    async def _watch(self, request: HealthCheckRequest, call: Any) -> AsyncIterator[HealthCheckResponse]:
        if request.service not in SERVED:
            yield HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        else:
            yield self._health()
        await self._changed.wait()
        if request.service in SERVED:
            yield self._health()

    def _health(self) -> HealthCheckResponse:
        status = HealthCheckResponse.SERVING if self._serving else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=status)


def _role(call: Any) -> str:
    for name, value in call.invocation_metadata() or ():
        if name == ROLE_HEADER:
            return value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return "translator"
