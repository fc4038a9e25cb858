"""What exchanges ask for is carried out, within its bounds, against a real service."""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extproc.effects import Ask, Awaited, Done, Effect, Failed, Failure, HttpAnswer, HttpCall, Result
from extproc.server.effects import NO_HTTP, Effects
from extproc.server.memory import Budget
from extproc.settings import Settings
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.side_service import SideService

from .test_grpcio import run


@pytest.fixture
def service() -> Iterator[SideService]:
    service = SideService()
    yield service
    service.close()


async def done(*asked: Effect, effects: Effects | None = None, seconds: float = 5.0) -> list[Result]:
    """What comes of *asked*, one after the other."""
    made = effects or Effects(Settings())
    results = [await made.run(Ask(effect, key, seconds)) for key, effect in enumerate(asked)]
    await made.close()
    return results


@run
async def test_a_call_and_its_answer(service: SideService) -> None:
    service.status, service.body, service.headers = 418, b"short and stout", {"X-Kind": "Pot"}
    call = HttpCall(f"{service.url}/brew?cup=1", "POST", (("authorization", "Bearer key"),), b"water")
    (answer,) = await done(call)
    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.body, answer.header("x-kind")) == (418, b"short and stout", "Pot")
    (asked,) = service.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/brew?cup=1", b"water")
    assert asked.headers["authorization"] == "Bearer key"
    assert not {"accept-encoding", "cookie", "content-type"} & set(asked.headers), "only what was asked for"


@run
async def test_connections_are_used_again_and_nothing_is_remembered(service: SideService) -> None:
    service.headers = {"set-cookie": "who=you"}
    await done(*[HttpCall(service.url)] * 3)
    assert len({asked.connection for asked in service.asked}) == 1
    assert not [asked for asked in service.asked if "cookie" in asked.headers]


@run
async def test_a_redirect_is_an_answer(service: SideService) -> None:
    other = SideService()
    service.status, service.headers = 307, {"location": other.url}
    (answer,) = await done(HttpCall(service.url, headers=(("authorization", "Bearer key"),)))
    other.close()
    assert isinstance(answer, HttpAnswer) and answer.status == 307 and other.asked == []


@run
async def test_what_is_larger_than_was_asked_for(service: SideService) -> None:
    service.body = b"x" * 1001
    results = await done(HttpCall(service.url, max_bytes=1000), HttpCall(service.url, max_bytes=1001))
    assert isinstance(results[0], Failed) and results[0].why is Failure.TOO_LARGE
    assert isinstance(results[1], HttpAnswer) and len(results[1].body) == 1001
    effects = Effects(replace(Settings(), max_side_call_bytes=10))
    (result,) = await done(HttpCall(service.url), effects=effects)
    assert isinstance(result, Failed) and result.why is Failure.TOO_LARGE, "nor than the process takes"


@pytest.mark.parametrize(("of_call", "of_ask"), [(0.1, 5.0), (5.0, 0.1)])
@run
async def test_time_is_bounded(service: SideService, of_call: float, of_ask: float) -> None:
    service.gate.clear()
    (result,) = await done(HttpCall(service.url, seconds=of_call), seconds=of_ask)
    assert isinstance(result, Failed) and result.why is Failure.TIMEOUT


@run
async def test_the_number_in_flight_is_bounded(service: SideService) -> None:
    service.gate.clear()
    effects = Effects(replace(Settings(), max_side_calls=2))
    first = [asyncio.create_task(effects.run(Ask(HttpCall(service.url), key, 5.0))) for key in range(2)]
    await asyncio.sleep(0.1)
    third = await effects.run(Ask(HttpCall(service.url), 3, 5.0))
    assert isinstance(third, Failed) and third.why is Failure.BUSY
    service.gate.set()
    assert all(isinstance(result, HttpAnswer) for result in await asyncio.gather(*first))
    assert isinstance(await effects.run(Ask(HttpCall(service.url), 4, 5.0)), HttpAnswer), "there is room again"
    await effects.close()
    assert effects.results == {"answered": 3, "busy": 1}


@pytest.mark.parametrize(("body", "answer"), [(1500, 2), (2, 1500), (600, 600)])
@run
async def test_bodies_in_flight_count_with_what_the_process_keeps(service: SideService, body: int, answer: int) -> None:
    service.body = b"x" * answer
    budget = Budget(1, 2000)
    budget.keep(1000)
    effects = Effects(Settings(), budget)
    call = HttpCall(service.url, body=b"x" * body)
    result = await effects.run(Ask(call, 1, 5.0))
    assert isinstance(result, Failed) and result.why is Failure.BUSY and budget.kept == 1000
    budget.keep(-1000)
    assert isinstance(await effects.run(Ask(call, 2, 5.0)), HttpAnswer) and budget.kept == 0
    await effects.close()


@run
async def test_a_service_that_hangs_leaves_room_for_others(service: SideService) -> None:
    service.gate.clear()
    other = SideService()
    effects = Effects(replace(Settings(), max_side_calls=2))
    stuck = [asyncio.create_task(effects.run(Ask(HttpCall(f"{service.url}/{key}"), key, 5.0))) for key in range(2)]
    await asyncio.sleep(0.1)
    refused = await effects.run(Ask(HttpCall(service.url), 3, 5.0))
    assert isinstance(refused, Failed) and refused.why is Failure.BUSY
    assert isinstance(await effects.run(Ask(HttpCall(other.url), 4, 5.0)), HttpAnswer)
    service.gate.set()
    await asyncio.gather(*stuck)
    await effects.close()
    other.close()


class Dropping:
    """Closes the first connections without an answer, then answers."""

    def __init__(self, drops: int) -> None:
        self.drops = drops
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        if self.connections > self.drops:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
            await writer.drain()
        writer.close()


@pytest.mark.parametrize(
    ("drops", "safe", "answers", "connections"), [(1, True, True, 2), (2, True, False, 2), (1, False, False, 1)]
)
@run
async def test_what_may_be_asked_twice_is_when_its_connection_breaks(
    drops: int, safe: bool, answers: bool, connections: int
) -> None:
    dropping = Dropping(drops)
    async with await asyncio.start_server(dropping.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        (result,) = await done(HttpCall(f"http://127.0.0.1:{port}/", safe=safe))
    assert isinstance(result, HttpAnswer) is answers and dropping.connections == connections
    if isinstance(result, Failed):
        assert result.why is Failure.UNREACHABLE


@run
async def test_one_that_is_cancelled_takes_no_place(service: SideService) -> None:
    service.gate.clear()
    effects = Effects(replace(Settings(), max_side_calls=1))
    task = asyncio.create_task(effects.run(Ask(HttpCall(service.url), 1, 5.0)))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    service.gate.set()
    assert isinstance(await effects.run(Ask(HttpCall(service.url), 2, 5.0)), HttpAnswer)
    await effects.close()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:{free}/", Failure.UNREACHABLE),
        ("http://no-such-host.invalid/", Failure.UNREACHABLE),
        ("https://127.0.0.1:{plain}/", Failure.UNREACHABLE),
        ("not a url", Failure.INVALID),
        ("http://[::1", Failure.INVALID),
        ("ftp://127.0.0.1/", Failure.INVALID),
        ("", Failure.INVALID),
    ],
)
@run
async def test_what_cannot_be_reached(url: str, why: Failure, service: SideService) -> None:
    asked = url.replace("{free}", str(free_port())).replace("{plain}", service.url.rpartition(":")[2])
    (result,) = await done(HttpCall(asked, headers=(("authorization", "Bearer secret"),)))
    assert isinstance(result, Failed) and result.why is why, result
    assert "secret" not in result.detail


@run
async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*Authority(tmp_path).issue("server"))
    spoken: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spoken.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    (result,) = await done(HttpCall(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
    server.close()
    assert isinstance(result, Failed) and result.why is Failure.UNREACHABLE and "ertificate" in result.detail
    assert not any(spoken), "nothing was said to it"


@pytest.mark.replaces_code
@run
async def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert await done(HttpCall("http://127.0.0.1/")) == [Failed(Failure.INVALID, NO_HTTP)]


@run
async def test_what_another_thread_is_at() -> None:
    over: Future[None] = Future()
    asyncio.get_running_loop().call_later(0.05, over.set_result, None)
    never: Future[None] = Future()
    results = await done(Awaited(over, 5.0), Awaited(never, 0.05), Awaited(over, 5.0))
    assert isinstance(results[0], Done) and isinstance(results[2], Done)
    assert isinstance(results[1], Failed) and results[1].why is Failure.TIMEOUT
    assert not never.cancelled(), "others wait for it too"


def test_a_call_shows_nothing_of_what_it_holds() -> None:
    call = HttpCall("https://host/path?key=secret", headers=(("authorization", "secret"),), body=b"secret")
    assert "secret" not in repr(call) and "secret" not in repr(Ask(call, 1, 1.0))
