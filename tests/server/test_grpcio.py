"""The transport with a real gRPC client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from extproc.credentials import gcp
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from extproc.envoy_api.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from extproc.exchange.incoming import FILTER
from extproc.server import grpcio
from extproc.server.grpcio import GrpcioServer
from extproc.server.service import PROCESS, SERVICE, ExchangeSession, Service
from extproc.settings import Settings
from extproc.telemetry.outcome import Ending
from tests.exchange.conversation import OPENAI, leaf
from tests.policy.policies import policies as policies
from tests.support.side_service import SideService
from tests.support.token_endpoint import TokenEndpoint

LOOPBACK = replace(Settings(), listen="127.0.0.1:0")
BODY = b'{"model":"claude-x","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'


def run(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def wrapped(*args: Any, **more: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **more), 60))

    return wrapped


@asynccontextmanager
async def serving(settings: Settings = LOOPBACK) -> AsyncIterator[tuple[GrpcioServer, Service, grpc.aio.Channel]]:
    service = Service(settings)
    server = GrpcioServer(settings, service)
    addresses = await server.start()
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(addresses[-1], options=options) as channel:
        try:
            yield server, service, channel
        finally:
            await server.drain(0)


def process(channel: grpc.aio.Channel, role: str = "") -> Any:
    metadata = (("x-extproc-role", role),) if role else ()
    method = channel.stream_stream(PROCESS, ProcessingRequest.SerializeToString, ProcessingResponse.FromString)
    return method(metadata=metadata)


def headers(route: str = OPENAI) -> ProcessingRequest:
    message = ProcessingRequest()
    for name, value in ((":method", b"POST"), (":path", b"/v1/messages")):
        message.request_headers.headers.headers.add(key=name, raw_value=value)
    message.attributes[FILTER].update(leaf(route))
    return message


async def ask(call: Any, message: ProcessingRequest) -> ProcessingResponse:
    await call.write(message)
    return await answered(call)


async def answered(call: Any) -> ProcessingResponse:
    """What comes behind the word that it takes longer, if that comes."""
    answer: ProcessingResponse = await call.read()
    while isinstance(answer, ProcessingResponse) and answer.HasField("override_message_timeout"):
        assert answer.WhichOneof("response") is None
        answer = await call.read()
    return answer


async def asked(call: Any, body: bytes = BODY, route: str = OPENAI) -> ProcessingResponse:
    """The answer to a request's body."""
    assert (await ask(call, headers(route))).WhichOneof("response") == "request_headers"
    message = ProcessingRequest()
    message.request_body.body = body
    message.request_body.end_of_stream = True
    return await ask(call, message)


async def eventually(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


@run
async def test_an_exchange_over_tcp() -> None:
    async with serving() as (_, service, channel):
        call = process(channel)
        answer = await asked(call)
        options = answer.request_body.response.header_mutation.set_headers
        assert {o.header.key: o.header.raw_value for o in options}[":path"] == b"/v1/chat/completions"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        await eventually(lambda: service.endings == {("translator", Ending.CANCELLED): 1})


@run
async def test_an_exchange_over_a_unix_socket_beside_tcp(tmp_path: Path) -> None:
    settings = replace(LOOPBACK, listen=f"127.0.0.1:0,unix:{tmp_path}/x.sock")
    async with serving(settings) as (_, _, channel):
        assert (tmp_path / "x.sock").exists()
        assert (await asked(process(channel))).WhichOneof("response") == "request_body"


@run
async def test_the_role_comes_with_the_initial_metadata() -> None:
    async with serving() as (_, _, channel):
        answer = await asked(process(channel, "router"))
        assert answer.request_body.response.clear_route_cache
        answer = await ask(process(channel, "nonsense"), headers())
        assert answer.immediate_response.status.code == 500


@run
async def test_a_message_of_20_megabytes() -> None:
    async with serving() as (_, _, channel):
        text = b"x" * 20_000_000
        answer = await asked(process(channel), BODY.replace(b"hi", text))
        assert text in answer.request_body.response.body_mutation.body


@run
async def test_a_message_beyond_the_bound_fails_the_stream() -> None:
    async with serving(replace(LOOPBACK, max_message_bytes=100_000)) as (_, service, channel):
        call = process(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await asked(call, BODY.replace(b"hi", b"x" * 200_000))
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await eventually(lambda: service.open_sessions == 0)


@run
async def test_a_message_for_which_there_is_no_room_is_told_so() -> None:
    settings = replace(LOOPBACK, max_held_bytes=2_000_000)
    async with serving(settings) as (_, service, channel):
        service.budget.change(1_900_000)
        call = process(channel)
        answer = await asked(call, BODY.replace(b"hi", b"x" * 1_500_000))
        assert answer.immediate_response.status.code == 529
        headers = {each.header.key: each.header.raw_value for each in answer.immediate_response.headers.set_headers}
        assert headers["retry-after"] == b"1"


@run
async def test_what_goes_by_is_answered_where_there_is_no_room_too() -> None:
    async with serving() as (_, service, channel):
        call = process(channel, "router")
        message = ProcessingRequest()
        for name, value in ((":method", b"GET"), (":path", b"/index.html")):
            message.request_headers.headers.headers.add(key=name, raw_value=value)
        message.request_headers.end_of_stream = True
        assert (await ask(call, message)).WhichOneof("response") == "request_headers"
        service.budget.change(service.budget.most)
        answered = ProcessingRequest()
        answered.response_headers.headers.headers.add(key=":status", raw_value=b"200")
        answer = await asyncio.wait_for(ask(call, answered), 10)
        assert answer.WhichOneof("response") == "response_headers"
        service.budget.change(-service.budget.most)


@run
async def test_an_answer_that_is_not_taken_counts_with_what_is_held() -> None:
    async with serving() as (_, service, channel):
        call = process(channel)
        await ask(call, headers())
        body = ProcessingRequest()
        body.request_body.body = BODY.replace(b"hi", b"x" * 20_000_000)
        await call.write(body)
        await eventually(lambda: service.budget.held > 15_000_000)
        call.cancel()
        await eventually(lambda: service.budget.held == service.budget.kept == 0)


@run
async def test_a_client_that_goes_away_closes_its_exchange() -> None:
    async with serving() as (_, service, channel):
        call = process(channel)
        await asked(call)
        assert service.open_sessions == 1
        call.cancel()
        await eventually(lambda: service.open_sessions == 0)
        assert service.endings == {("translator", Ending.CANCELLED): 1}


class Buggy:
    """A session that is right but for its answers."""

    def __init__(self, session: ExchangeSession) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def receive(self, message: bytes) -> float:
        return 1 / 0


@run
async def test_a_bug_fails_the_stream_and_never_ends_it_well(monkeypatch: Any, caplog: Any) -> None:
    async with serving() as (_, service, channel):
        opened = Service.open
        monkeypatch.setattr(Service, "open", lambda *args, **how: Buggy(opened(*args, **how)))
        call = process(channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(call, headers())
        assert await call.code() is grpc.StatusCode.INTERNAL
        assert "division" not in await call.details()
        assert "ZeroDivisionError" in caplog.text
        await eventually(lambda: service.open_sessions == 0)
        monkeypatch.undo()
        assert (await asked(process(channel))).WhichOneof("response") == "request_body", "the others go on"


@run
async def test_what_is_no_message_fails_the_stream() -> None:
    async with serving() as (_, _, channel):
        call: Any = channel.stream_stream(PROCESS)()
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(call, b"\xff\xff")  # type: ignore[arg-type]
        assert await call.code() is grpc.StatusCode.INTERNAL


@run
async def test_many_streams_at_once() -> None:
    async with serving() as (_, service, channel):
        calls = [process(channel) for _ in range(300)]
        found = await asyncio.gather(*(asked(call) for call in calls))
        assert {answer.WhichOneof("response") for answer in found} == {"request_body"}
        assert service.open_sessions == 300


def health(channel: grpc.aio.Channel, method: str) -> Any:
    make: Any = channel.unary_unary if method == "Check" else channel.unary_stream
    path = f"/grpc.health.v1.Health/{method}"
    return make(path, HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString)


@run
async def test_health_is_checked() -> None:
    async with serving() as (server, _, channel):
        check = health(channel, "Check")
        for name in ("", SERVICE):
            assert (await check(HealthCheckRequest(service=name))).status == HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await check(HealthCheckRequest(service="other"))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        server.stop_advertising()
        assert (await check(HealthCheckRequest())).status == HealthCheckResponse.NOT_SERVING
        assert (await asked(process(channel))).WhichOneof("response") == "request_body", "streams are still taken"


@run
async def test_health_is_watched() -> None:
    async with serving() as (server, _, channel):
        watched = health(channel, "Watch")(HealthCheckRequest(service=SERVICE))
        unknown = health(channel, "Watch")(HealthCheckRequest(service="other"))
        assert (await watched.read()).status == HealthCheckResponse.SERVING
        assert (await unknown.read()).status == HealthCheckResponse.SERVICE_UNKNOWN
        server.stop_advertising()
        assert (await watched.read()).status == HealthCheckResponse.NOT_SERVING
        assert await watched.read() is grpc.aio.EOF and await unknown.read() is grpc.aio.EOF


@run
async def test_who_was_told_serving_is_told_of_a_stop_that_came_while_that_was_sent() -> None:
    health = grpcio._Health()
    watched = health._watch(HealthCheckRequest(service=SERVICE), None)
    assert (await anext(watched)).status == HealthCheckResponse.SERVING
    health.stop()
    assert [answer.status async for answer in watched] == [HealthCheckResponse.NOT_SERVING]


@run
async def test_a_drain_lets_streams_finish() -> None:
    async with serving() as (server, _, channel):
        call = process(channel)
        assert (await ask(call, headers())).WhichOneof("response") == "request_headers"
        drained = asyncio.ensure_future(server.drain(20))
        await asyncio.sleep(0.1)
        message = ProcessingRequest()
        message.request_body.body = BODY
        assert (await ask(call, message)).WhichOneof("response") == "request_body"
        assert not drained.done()
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK
        await drained


@run
async def test_a_drain_does_not_wait_for_ever_and_fails_what_is_left() -> None:
    async with serving() as (server, service, channel):
        call = process(channel)
        await asked(call)
        start = asyncio.get_running_loop().time()
        await server.drain(0.2)
        assert asyncio.get_running_loop().time() - start < 5
        assert await call.code() is not grpc.StatusCode.OK, "Envoy would send the rest on untranslated"
        await eventually(lambda: service.open_sessions == 0)


@run
async def test_an_address_that_cannot_be_had() -> None:
    async with serving(LOOPBACK) as (_, service, _):
        for listen in ("127.0.0.1:1x", "unix:/nowhere/at/all.sock"):
            with pytest.raises(OSError, match="cannot listen on"):
                await GrpcioServer(replace(LOOPBACK, listen=listen), service).start()


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenEndpoint]:
    endpoint = TokenEndpoint()
    # A key of its own each time: tokens are shared by all routes of the process.
    monkeypatch.setenv("GCP_SERVICE_ACCOUNT", endpoint.key(f"{endpoint.url}@test"))
    yield endpoint
    endpoint.close()


def vertex(tokens: TokenEndpoint) -> str:
    """A route that no other test has had compiled."""
    conf = f"{{project_id: p, region: {tokens.url.rpartition(':')[2]}}}"
    return f"{{provider: vertex-ai, provider_conf: {conf}, auth: {{gcp: {{}}}}}}"


@run
async def test_a_request_waits_for_the_first_token_and_holds_no_other_up(tokens: TokenEndpoint) -> None:
    tokens.gate.clear()
    async with serving() as (_, _, channel):
        waiting = asyncio.create_task(asked(process(channel), route=vertex(tokens)))
        other = await asked(process(channel))
        assert other.WhichOneof("response") == "request_body" and not waiting.done()
        tokens.gate.set()
        options = (await waiting).request_body.response.header_mutation.set_headers
        assert {o.header.key: o.header.raw_value for o in options}["authorization"] == b"Bearer token-1"


@run
async def test_a_request_waits_no_longer_than_the_bound(tokens: TokenEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp, "FIRST_TOKEN_SECONDS", 0.1)
    tokens.gate.clear()
    async with serving() as (_, service, channel):
        call = process(channel)
        answer = await asked(call, route=vertex(tokens))
        assert answer.immediate_response.status.code == 529
        await call.done_writing()
        await eventually(lambda: service.endings == {("translator", Ending.REFUSED): 1})


# ---- policies that ask a service


@pytest.fixture
def side() -> Iterator[SideService]:
    service = SideService()
    yield service
    service.close()


def guarded(side: SideService) -> str:
    return f"{{provider: openai, auth: none, policies: [{{service: {{url: '{side.url}'}}}}]}}"


@run
async def test_a_policy_asks_its_service(side: SideService, policies: None) -> None:
    async with serving() as (_, service, channel):
        answer = await asked(process(channel), route=guarded(side))
        assert answer.WhichOneof("response") == "request_body"
        side.status = 451
        answer = await asked(process(channel), route=guarded(side))
        assert b"the service says no" in answer.immediate_response.body
        assert [each.body for each in side.asked] == [b"request"] * 2
        assert service.effects.results == {"answered": 2}


@run
async def test_a_stream_that_ends_cancels_what_it_asked(side: SideService, policies: None) -> None:
    side.gate.clear()
    async with serving() as (_, service, channel):
        call = process(channel)
        waiting = asyncio.create_task(asked(call, route=guarded(side)))
        await eventually(lambda: len(side.asked) == 1)
        call.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await eventually(lambda: service.open_sessions == 0)
        await eventually(lambda: service.effects.open == 0)
        assert service.endings == {("translator", Ending.CANCELLED): 1}


@run
async def test_a_service_that_hangs_holds_no_other_stream_up(side: SideService, policies: None) -> None:
    side.gate.clear()
    async with serving() as (_, _, channel):
        waiting = [asyncio.create_task(asked(process(channel), route=guarded(side))) for _ in range(5)]
        await eventually(lambda: len(side.asked) == 5)
        began = time.monotonic()
        others = await asyncio.gather(*[asked(process(channel)) for _ in range(200)])
        assert all(answer.WhichOneof("response") == "request_body" for answer in others)
        assert time.monotonic() - began < 15 and not any(task.done() for task in waiting)
        side.gate.set()
        for answer in await asyncio.gather(*waiting):
            assert answer.WhichOneof("response") == "request_body"
