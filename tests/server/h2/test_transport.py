"""What the grpcio transport promises, ours promises too: the same tests, on the other server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc
import pytest

from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from extproc.server.h2.transport import H2Server
from extproc.server.serving import Transport
from tests.server import test_grpcio
from tests.server.test_grpcio import *  # noqa: F403
from tests.support.token_endpoint import TokenEndpoint


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_grpcio, "GrpcioServer", H2Server)


@test_grpcio.run
async def test_both_are_transports() -> None:
    async with test_grpcio.serving() as (server, _, _):
        ours: Transport = server
        assert isinstance(ours, H2Server)


@test_grpcio.run  # type: ignore[no-redef]
async def test_a_message_beyond_the_bound_fails_the_stream() -> None:
    """Here the client is told."""
    settings = replace(test_grpcio.LOOPBACK, max_message_bytes=100_000)
    async with test_grpcio.serving(settings) as (_, service, channel):
        call = test_grpcio.process(channel)
        answer = await test_grpcio.asked(call, test_grpcio.BODY.replace(b"hi", b"x" * 200_000))
        assert answer.immediate_response.status.code == 413
        assert b"larger than the gateway takes" in answer.immediate_response.body
        await test_grpcio.eventually(lambda: service.open_sessions == 0)


@test_grpcio.run
async def test_a_client_that_half_closes_while_it_waits_is_answered(tokens: TokenEndpoint) -> None:
    tokens.gate.clear()
    async with test_grpcio.serving() as (_, service, channel):
        call = test_grpcio.process(channel)
        await test_grpcio.ask(call, test_grpcio.headers(test_grpcio.vertex(tokens)))
        body = ProcessingRequest()
        body.request_body.body = test_grpcio.BODY
        await call.write(body)
        assert (await call.read()).HasField("override_message_timeout")
        await call.done_writing()
        await asyncio.sleep(0.1)
        assert service.open_sessions == 1
        tokens.gate.set()
        assert (await call.read()).WhichOneof("response") == "request_body"
        assert await call.code() is grpc.StatusCode.OK
