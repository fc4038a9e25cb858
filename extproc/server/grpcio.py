"""The transport on grpc.aio: TCP, with TLS if it is asked for, or a Unix socket; health, drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from ..effects import Result
from ..envoy_api.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from ..exchange.outgoing import Encoded, whole
from ..settings import Settings
from . import tls
from .service import PROCESS, ROLE_HEADER, SERVICE, ExchangeSession, NotAMessage, Service, TooMuchHeld

log = logging.getLogger(__name__)

HEALTH = "grpc.health.v1.Health"
LONG_ANSWER = 64 * 1024
"""Bytes for which there must be room. A refusal is shorter, and always said."""
HEALTHY = ("", SERVICE)
"""The service names that health answers for."""


class GrpcioServer:
    """``start`` once, then ``drain`` once."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self._settings = settings
        self._service = service
        self._health = _Health()
        self._identity = tls.identity(settings)
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                # What goes out is bounded by what came in.
                ("grpc.max_send_message_length", -1),
                # Two processes on one port would each get half of the streams, unnoticed.
                ("grpc.so_reuseport", 0),
            ]
        )
        # Bytes in, bytes out: gRPC's own way to report a message that cannot be read leaves no trace here.
        process: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._process)
        handlers = {PROCESS.rpartition("/")[2]: process}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers), self._health.handlers())
        )

    async def start(self) -> list[str]:
        """Listen; returns the addresses, with the real port where 0 was asked. Raises OSError."""
        listening = []
        for address in self._settings.listen.split(","):
            try:
                port = self._add(address)
            except RuntimeError as error:
                raise OSError(f"cannot listen on {address}: {error}") from None
            listening.append(address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}")
        await self._server.start()
        return listening

    def _add(self, address: str) -> int:
        if self._identity is None or address.startswith("unix:"):
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, self._identity.credentials())

    def counts(self) -> dict[str, int | dict[str, int]]:
        """gRPC's own library counts nothing for us."""
        return {}

    def stop_advertising(self) -> None:
        """Say NOT_SERVING to who asks for health; streams are still taken."""
        self._health.stop()

    async def drain(self, seconds: float) -> None:
        """No new streams; those that are open may finish, for so long, and are failed then."""
        self._health.stop()
        await self._server.stop(seconds)
        await self._service.effects.close()

    def _is_known(self, call: Any) -> bool:
        """Whether the client is one of those whom the operator names. A Unix socket's shows no certificate, and whoever
        may open it is the file system's to say."""
        patterns = self._settings.tls_client_names
        if not patterns or call.peer().startswith("unix:"):
            return True
        shown = call.auth_context()
        names = [*shown.get("x509_subject_alternative_name", ()), *shown.get("x509_common_name", ())]
        return tls.is_known([name.decode("utf-8", "replace") for name in names], patterns)

    async def _process(self, requests: AsyncIterator[bytes], call: Any) -> None:
        if not self._is_known(call):
            await call.abort(grpc.StatusCode.PERMISSION_DENIED, "the certificate names none of --tls-client-names")
        session = self._service.open(_role(call))
        reading: asyncio.Future[Any] | None = None
        try:
            while (message := await (reading or call.read())) is not grpc.aio.EOF:
                reading = None
                await self._answer(call, self._taken(session, message))
                if session.asks is not None:
                    reading = await self._wait(session, call)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except NotAMessage as error:
            await call.abort(grpc.StatusCode.INTERNAL, str(error))
        except TooMuchHeld as too_much:
            await call.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(too_much))
        except Exception:
            # A stream that ended well would make Envoy send the rest on untranslated.
            log.exception("a bug in a stream's handler")
            await call.abort(grpc.StatusCode.INTERNAL, "internal error")
        finally:
            session.close()

    def _taken(self, session: ExchangeSession, message: bytes) -> list[Encoded]:
        """The answers to *message*, if there is room for it; gRPC's library has held it until now, uncounted. An
        exchange without words for that, none of ours or at its end, has those that Envoy waits for."""
        if self._service.budget.has_room(len(message)):
            return session.receive(message)
        return session.refuse(too_large=False) or session.receive(message)

    async def _answer(self, call: Any, answers: list[Encoded]) -> None:
        """Send *answers*. They are held until the client's window takes them."""
        messages = [whole(answer) for answer in answers]
        budget, size = self._service.budget, sum(map(len, messages))
        budget.change(size)
        try:
            if size > LONG_ANSWER and budget.exceeded:
                raise TooMuchHeld("too many bytes wait to be sent")
            for message in messages:
                await call.write(message)
        finally:
            budget.change(-size)

    async def _wait(self, session: ExchangeSession, call: Any) -> asyncio.Future[Any]:
        """Have carried out what *session* asks, until it asks no more, and read meanwhile. The read that is still
        open, or that has found the end."""
        reading: asyncio.Future[Any] = asyncio.ensure_future(call.read())
        running: asyncio.Future[Result] | None = None
        try:
            while (ask := session.asks) is not None:
                running = asyncio.ensure_future(self._service.effects.run(ask))
                while not running.done():
                    ended = reading.done() and reading.result() is grpc.aio.EOF
                    pending = {running} if ended else {running, reading}
                    await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    if not ended and reading.done() and reading.result() is not grpc.aio.EOF:
                        await self._answer(call, self._taken(session, reading.result()))
                        reading = asyncio.ensure_future(call.read())
                await self._answer(call, session.resume(ask, running.result()))
        except BaseException:
            reading.cancel()
            if running is not None:
                running.cancel()
            raise
        return reading


class _Health:
    """``grpc.health.v1.Health``. SERVING until ``stop``."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self._stopped.set()

    def handlers(self) -> grpc.GenericRpcHandler:
        read, write = HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString
        methods = {
            "Check": grpc.unary_unary_rpc_method_handler(self._check, read, write),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch, read, write),
        }
        return grpc.method_handlers_generic_handler(HEALTH, methods)

    def _status(self) -> HealthCheckResponse:
        stopped = self._stopped.is_set()
        return HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING if stopped else HealthCheckResponse.SERVING)

    async def _check(self, request: HealthCheckRequest, call: Any) -> HealthCheckResponse:
        if request.service not in HEALTHY:
            await call.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return self._status()

    async def _watch(self, request: HealthCheckRequest, call: Any) -> AsyncIterator[HealthCheckResponse]:
        if request.service not in HEALTHY:
            yield HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
            await self._stopped.wait()
            return
        told = self._status()
        yield told
        # What was told counts, not what is so now: the stop may come while the first answer is being sent.
        if told.status == HealthCheckResponse.SERVING:
            # It ends then: a watch that stayed open would keep the server from draining.
            await self._stopped.wait()
            yield self._status()


def _role(call: Any) -> str:
    for name, value in call.invocation_metadata() or ():
        if name == ROLE_HEADER:
            return value if isinstance(value, str) else ""
    return ""
