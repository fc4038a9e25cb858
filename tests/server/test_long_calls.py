"""Long calls and the process that answers them: which they are, and that process from its start to its end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from extproc.server import long_calls as module
from extproc.server.h2.transport import H2Server
from extproc.server.long_calls import BothShown, LongCalls, long_body, long_calls_of, of_long_calls
from extproc.server.service import Service
from extproc.settings import KIB, MIB, Settings, as_flags
from extproc.telemetry.ring import Look
from tests.server.test_grpcio import BODY, LOOPBACK, answered, ask, asked, headers, process, run
from tests.server.test_serving import sidecar
from tests.server.test_workers import begun, counted, whole
from tests.support.upstream import eventually
from tests.support.workers import Workers, alive

BOUND = 64 * KIB
LONG = BODY.replace(b"hi", b"x" * 300_000)


def first(*pairs: tuple[str, str], end: bool = False, plain: bool = False) -> bytes:
    message = headers()
    for name, value in pairs:
        if plain:
            message.request_headers.headers.headers.add(key=name, value=value)
        else:
            message.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    message.request_headers.end_of_stream = end
    return message.SerializeToString()


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("pairs", "is_long"),
    [
        ((("content-length", "10"),), False),
        ((("content-length", str(BOUND)),), False),
        ((("content-length", str(BOUND + 1)),), True),
        ((("content-length", "9" * 40),), True),
        ((("content-length", ""),), True),
        ((("content-length", "10"), ("content-encoding", "gzip")), True),
        ((("content-length", "10"), ("content-encoding", "identity")), False),
        ((("content-length", "10"), ("x-content-encoding", "gzip")), False),
        ((("x-content-length", "10"),), True),
        ((), True),
        ((("x-long", "y" * 60_000), ("content-length", "10")), False),
        ((("x-long", "y" * 60_000), ("content-length", "99999999")), True),
    ],
)
def test_what_a_request_says_of_its_length(pairs: tuple[tuple[str, str], ...], is_long: bool, plain: bool) -> None:
    assert bool(long_body(first(*pairs, plain=plain), BOUND)) == is_long
    assert not long_body(first(*pairs, end=True, plain=plain), BOUND), "no body follows"


def test_any_other_first_message_is_answered_here() -> None:
    other = ProcessingRequest()
    other.request_body.body = b"\n\x0econtent-length\x1a\x0899999999"
    assert not long_body(other.SerializeToString(), BOUND)
    longest = b"\x12" + b"\xff" * 9 + b"\x7f"
    for odd in (b"", b"\x12", b"\x12\xff\xff\xff\xff\xff\xff", longest, b"\x12\x05abc", os.urandom(100)):
        long_body(odd, BOUND)
    # What a route says is behind the headers.
    shown = headers("provider: openai\n# \n\x0econtent-length\x1a\x0899999999")
    shown.request_headers.headers.headers.add(key="content-length", raw_value=b"1")
    assert long_body(first(("content-length", "99999999")), BOUND) == 99999999
    assert not long_body(shown.SerializeToString(), BOUND)


def test_its_settings_leave_a_part_of_the_memory_here_and_can_be_said_as_flags() -> None:
    made = of_long_calls(Settings(workers=4, transport="h2"))
    assert made.long_body_bytes == 0 and made.workers == 1
    assert made.max_held_bytes == 80 * MIB > made.max_message_bytes
    assert made.limits.max_decoded_bytes == 256 * MIB
    assert "--long-body-bytes=0" in as_flags(made)


def test_it_is_of_one_transport_and_can_be_left_out() -> None:
    service = Service(replace(LOOPBACK, long_body_bytes=0))
    assert long_calls_of(replace(LOOPBACK, long_body_bytes=0), service) is None
    assert long_calls_of(replace(LOOPBACK, transport="grpcio"), service) is None


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


class World:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.service = Service(settings)
        made = long_calls_of(settings, self.service)
        assert made is not None
        self.long_calls: LongCalls = made
        self.server = H2Server(settings, self.service, made)
        self.seen = BothShown(self.service, made)
        self.channel: grpc.aio.Channel

    async def metric(self, name: str) -> float:
        page = await self.seen.page(self.server.counts())
        return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name))


@asynccontextmanager
async def world(**changes: Any) -> AsyncIterator[World]:
    made = World(replace(LOOPBACK, long_body_bytes=BOUND, admin="127.0.0.1:0", **changes))
    (address,) = await made.server.start()
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    try:
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            made.channel = channel
            yield made
    finally:
        await made.server.drain(0)
        await made.long_calls.close()


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


async def ended(call: Any) -> grpc.StatusCode:
    await call.done_writing()
    while await call.read() is not grpc.aio.EOF:
        pass
    code: grpc.StatusCode = await call.code()
    return code


def short() -> ProcessingRequest:
    message = headers()
    message.request_headers.headers.headers.add(key="content-length", raw_value=b"%d" % len(BODY))
    return message


@run
async def test_a_long_call_is_answered_there_and_a_short_one_here() -> None:
    async with world() as made:
        call = process(made.channel)
        assert (await ask(call, short())).WhichOneof("response") == "request_headers"
        assert made.service.open_sessions == 1 and made.long_calls.pid == 0, "nothing is started for it"
        long = process(made.channel)
        answer = await asked(long, LONG)
        assert b"x" * 300_000 in answer.request_body.response.body_mutation.body
        assert made.service.open_sessions == 1 and alive(made.long_calls.pid)
        nice = os.getpriority(os.PRIO_PROCESS, made.long_calls.pid) - os.getpriority(os.PRIO_PROCESS, 0)
        assert nice == module.NICENESS or os.getpriority(os.PRIO_PROCESS, made.long_calls.pid) == 19
        assert await ended(long) is await ended(call) is grpc.StatusCode.OK


@run
async def test_what_it_counts_and_remembers_is_seen() -> None:
    async with world() as made:
        assert "extproc_exchanges_total{" not in await made.seen.page({})
        assert json.loads(await made.seen.exchanges(Look()))["exchanges"] == []
        for body in (LONG, LONG):
            call = process(made.channel)
            await asked(call, body)
            await ended(call)
        here = process(made.channel)
        await ask(here, short())
        await ended(here)
        for _ in range(100):
            if await made.metric("extproc_exchanges_total{") == 3:
                break
        assert await made.metric("extproc_exchanges_total{") == 3
        told = json.loads(await made.seen.exchanges(Look()))
        pid = made.long_calls.pid
        assert sorted(each["process"] for each in told["exchanges"]) == sorted([pid, pid, os.getpid()])
        assert json.loads(await made.seen.exchanges(Look(cursor=await made.seen.cursor())))["exchanges"] == []
        assert json.loads(await made.seen.exchange(pid, 2))["number"] == 2
        assert json.loads(await made.seen.exchange(os.getpid(), 1))["number"] == 1
        assert await made.seen.exchange(pid, 99) == await made.seen.exchange(1, 1) == b"null"
        assert len(json.loads(await made.seen.config())["routes"]) >= 1
        # What an ended one counted is not lost.
        os.kill(pid, signal.SIGTERM)
        await until(lambda: made.long_calls.pid == 0)
        assert await made.metric("extproc_exchanges_total{") == 3


@run
async def test_when_it_dies_its_calls_end_and_another_is_started(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as made:
        lost, kept = process(made.channel), process(made.channel)
        await ask(lost, headers())
        await ask(kept, short())
        before = made.long_calls.pid
        with caplog.at_level(logging.WARNING):
            os.kill(before, signal.SIGKILL)
            with pytest.raises(grpc.RpcError):
                await lost.read()
            assert await lost.code() is grpc.StatusCode.UNAVAILABLE
            await until(lambda: made.long_calls.pid == 0)
        assert f"(pid {before}) ended with status -9" in caplog.text
        # It did not live long: for a while they are answered here.
        here = process(made.channel)
        assert (await asked(here, LONG)).request_body.response.body_mutation.body
        assert made.service.open_sessions == 2 and made.long_calls.pid == 0
        made.long_calls._not_before = 0.0
        again = process(made.channel)
        assert (await asked(again, LONG)).request_body.response.body_mutation.body
        assert made.service.open_sessions == 2 and made.long_calls.pid not in (0, before)
        for call in (kept, here, again):
            assert await ended(call) is grpc.StatusCode.OK


@run
async def test_one_that_cannot_be_started_keeps_nobody_waiting(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> str:
        raise FileNotFoundError("the folder that we are in")

    async with world() as made:
        monkeypatch.setattr(os, "getcwd", gone)
        lost, here = process(made.channel), process(made.channel)
        async with asyncio.timeout(20):
            with pytest.raises(grpc.RpcError):
                await ask(lost, headers())
        assert await lost.code() is grpc.StatusCode.UNAVAILABLE
        assert "the process for long calls cannot be started" in caplog.text
        assert (await asked(here, LONG)).request_body.response.body_mutation.body
        assert made.service.open_sessions == 1 and made.long_calls.pid == 0
        assert await ended(here) is grpc.StatusCode.OK


@run
async def test_one_that_is_slow_to_start_keeps_the_next_not_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_SECONDS", 0.0)
    async with world() as made:
        first, second, third = (process(made.channel) for _ in range(3))
        await first.write(headers())
        told = await first.read()
        assert told.override_message_timeout.seconds == module.PATIENCE_SECONDS, "Envoy waits for the start, too"
        assert told.WhichOneof("response") is None
        await until(lambda: made.long_calls.pid)
        os.kill(made.long_calls.pid, signal.SIGSTOP)
        assert (await asked(second, LONG)).request_body.response.body_mutation.body
        assert made.service.open_sessions == 1, "it is answered here"
        os.kill(made.long_calls.pid, signal.SIGCONT)
        assert (await first.read()).WhichOneof("response") == "request_headers"
        await until(lambda: made.long_calls._process and made.long_calls._process.listening)
        assert (await asked(third, LONG)).request_body.response.body_mutation.body
        assert made.service.open_sessions == 1, "and what comes later there"
        for call in (first, second, third):
            await ended(call)


@run
async def test_a_drain_lets_its_calls_end_and_ends_it() -> None:
    async with world() as made:
        call = process(made.channel)
        await ask(call, headers())
        pid = made.long_calls.pid
        draining = asyncio.create_task(made.server.drain(20))
        await asyncio.sleep(0.2)
        assert not draining.done()
        assert await ended(call) is grpc.StatusCode.OK
        await made.channel.close()
        await draining
        await made.long_calls.close()
        assert not alive(pid)


@run
async def test_other_settings_are_its_own_too_or_another_begins_with_them() -> None:
    async with world() as made:
        await ask(open_one := process(made.channel), headers())
        pid = made.long_calls.pid
        await until(lambda: made.long_calls._process is not None and made.long_calls._process.listening)
        await made.long_calls.reload(replace(made.settings, log_level="error"))
        assert made.long_calls.pid == pid
        assert json.loads(await made.seen.config())["settings"]["log_level"] == "info", (
            "of this process, which has them"
        )
        assert (await made.long_calls.shown("config"))["settings"]["log_level"] == "error"
        await made.long_calls.reload(replace(made.settings, capabilities="/not/there.yaml"))
        await made.long_calls.reload(made.settings)
        assert await ended(open_one) is grpc.StatusCode.OK, "what was begun goes on"
        await until(lambda: not alive(pid))
        call = process(made.channel)
        await ask(call, headers())
        assert made.long_calls.pid not in (0, pid)
        assert await ended(call) is grpc.StatusCode.OK


@run
async def test_without_room_a_long_call_is_refused_in_its_clients_words() -> None:
    async with world() as made:
        made.service.budget.change(made.settings.max_held_bytes - 100_000)
        call = process(made.channel)
        answer = await ask(call, headers())
        assert answer.immediate_response.status.code == 529 and b"overloaded" in answer.immediate_response.body
        assert made.long_calls.pid == 0
        made.service.budget.change(100_000 - made.settings.max_held_bytes)


@run
async def test_of_bodies_that_nobody_has_answered_to_envoy_holds_no_more_than_of_others() -> None:
    async with world(max_carried_bytes=10_000_000) as made:
        head = headers()
        head.request_headers.headers.headers.add(key="content-length", raw_value=b"3000000")
        first, second, third = (process(made.channel) for _ in range(3))
        await first.write(head)
        await until(lambda: made.long_calls._unheard == 6_000_000)
        answer = await ask(second, head)
        assert answer.immediate_response.status.code == 529
        made.long_calls._unheard += 6_000_000
        assert not made.long_calls.has_room(3_000_000) and made.long_calls.has_room(30_000_000)
        made.long_calls._unheard -= 6_000_000
        assert (await answered(first)).WhichOneof("response") == "request_headers"
        assert made.long_calls._unheard == 0
        assert (await ask(third, head)).immediate_response.status.code == 529, "the other process counts it now"
        for call in (first, second, third):
            await ended(call)


@run
async def test_what_both_hold_is_bounded_together() -> None:
    async with world() as made:
        await ask(call := process(made.channel), headers())
        ledger = made.service.budget.ledger
        assert ledger is not None
        await until(lambda: ledger.others[0] > 0)
        made.service.budget.change(1000)
        assert ledger.own[0] == made.service.budget.held > 0
        made.service.budget.change(-1000)
        assert await ended(call) is grpc.StatusCode.OK
        await until(lambda: ledger.others[0] == 0)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_does_not_outlive_the_server(how: signal.Signals) -> None:
    with sidecar("--long-body-bytes", "64KiB", "--drain-seconds", "0") as (child, address):

        async def one() -> int:
            async with grpc.aio.insecure_channel(address) as channel:
                call = process(channel)
                await ask(call, headers())
                (pid,) = children(child.pid)
                await ended(call)
                return int(pid)

        pid = asyncio.run(one())
        assert alive(pid)
        child.send_signal(how)
        child.wait(20)
        asyncio.run(until(lambda: not alive(pid)))


def test_each_worker_has_its_own_and_the_supervisor_shows_all(tmp_path: Path) -> None:
    with Workers(tmp_path, 2, "--admin", "127.0.0.1:0", "--long-body-bytes", "64KiB") as made:

        def shown(path: str) -> Any:
            with urllib.request.urlopen(f"http://{made.admin}{path}", timeout=20) as answer:
                return json.loads(answer.read())

        assert all(whole(begun(address)) for address in made.addresses)
        theirs = [int(pid) for worker in made.pids() for pid in children(worker)]
        assert len(theirs) == 2
        assert eventually(lambda: counted(made, "extproc_exchanges_total") == 2, 10)
        told = shown("/exchanges")["exchanges"]
        assert sorted(each["process"] for each in told) == sorted(theirs)
        assert shown(f"/exchanges/{theirs[0]}-1")["process"] == theirs[0]
        made.signal(signal.SIGTERM)
        assert eventually(lambda: not made.alive(), 20) and made.stop() == 0
    assert not any(map(alive, theirs))
