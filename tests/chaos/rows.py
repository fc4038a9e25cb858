"""What is done to a gateway under load, a row each, and what is said of it. No row may lose anything, or count it
twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.real import kafka_broker
from tests.soak.traffic import Exchange, Violation, judge
from tests.support.upstream import eventually

from .rig import Counted, Guarded, Rig, Seen, settle

TOKENS = 5
"""Of output, that each answer of the provider counts."""
USUAL = ("whole", "stream", "paced", "refused", "broken")


@dataclass(frozen=True)
class Row:
    """*does* is run beside the load, for as many seconds as it is given."""

    name: str
    does: Callable[[Rig, float], Awaitable[None]]
    plans: tuple[str, ...] = USUAL
    guarded: bool = False


@dataclass(frozen=True)
class Told:
    """A row of the table."""

    name: str
    words: Counter[str]
    """What became of exchanges, as clients saw it."""
    asked: int
    reached: int
    """Of those the ones that the provider saw, by its own count."""
    counted: int
    """By the metrics."""
    logged: int
    dropped: int
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return not self.lost and not self.doubled

    def cells(self) -> tuple[str, ...]:
        saw = [self.words[word] for word in ("right", "refused", "broken", "excused", "hung up")]
        numbers = (self.asked, *saw, self.reached, self.counted, self.logged, self.dropped)
        return (self.name, *map(str, numbers), "no" if not self.lost else "LOST", "no" if not self.doubled else "TWICE")


HEAD = (
    "what is done", "asked", "right", "error", "broken", "excused", "left", "provider", "metrics", "logged", "dropped",
    "lost", "twice",
)  # fmt: skip
WIDTHS = (44, 7, 7, 7, 8, 9, 6, 10, 9, 8, 9, 6, 7)


def line(cells: tuple[str, ...]) -> str:
    """*cells* in columns."""
    first, *others = (cell.rjust(width) for cell, width in zip(cells, WIDTHS, strict=True))
    return "".join([first.strip().ljust(WIDTHS[0]), *others])


# ---- what is done


async def nothing(rig: Rig, seconds: float) -> None:
    """Calm."""


async def workers_killed(rig: Rig, seconds: float) -> None:
    for place in (0, 1):
        await asyncio.sleep(seconds / 8)
        async with rig.disturbing():
            pid = await asyncio.to_thread(rig.kill_worker, place)
            back = asyncio.to_thread(eventually, partial(_is_replaced, rig, pid), 20)
            assert await back, rig.sidecar.tail()


def _is_replaced(rig: Rig, pid: int) -> bool:
    pids = rig.sidecar.pids()
    return len(pids) == 2 and pid not in pids and rig.sidecar.tail(1).find(" serves on ") > 0


async def all_killed(rig: Rig, seconds: float) -> None:
    await asyncio.sleep(seconds / 4)
    async with rig.disturbing():
        await asyncio.to_thread(rig.kill)
        await asyncio.sleep(seconds / 8)
        await asyncio.to_thread(rig.revive)


async def reloaded(rig: Rig, seconds: float) -> None:
    for times in range(1, 4):
        await asyncio.sleep(seconds / 5)
        rig.sidecar.signal(signal.SIGHUP)
        assert await asyncio.to_thread(eventually, partial(_is_reloaded, rig, times), 20), rig.sidecar.tail()


def _is_reloaded(rig: Rig, times: int) -> bool:
    return rig.sidecar.text.count(" reloaded\n") >= times


async def cut_off(rig: Rig, seconds: float) -> None:
    """The provider's connections are cut, and for a while it takes none."""
    await asyncio.sleep(seconds / 4)
    async with rig.disturbing():
        rig.wire.cut()
        await asyncio.sleep(seconds / 8)
        rig.wire.down = True
        rig.wire.cut()
        await asyncio.sleep(seconds / 8)
        rig.wire.down = False


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def garbage(rig: Rig, seconds: float) -> None:
    """Whatever comes to the sidecar's sockets beside Envoy's streams."""
    noise = random.Random(11)
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: noise.randbytes(4000),
        lambda: PREFACE + noise.randbytes(4000),
        lambda: PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        lambda: b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        lambda: PREFACE[:11],
    )

    async def one(path: str, data: bytes) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(data)
            async with asyncio.timeout(0.3):
                await reader.read()
            writer.transport.abort()

    until = asyncio.get_running_loop().time() + seconds * 0.8
    while asyncio.get_running_loop().time() < until:
        await asyncio.gather(*(one(path, kind()) for path in rig.sockets for kind in kinds))
        await asyncio.sleep(0.02)


async def disk_full(rig: Rig, seconds: float) -> None:
    """The file of records may not grow, and then may again."""
    await asyncio.sleep(seconds / 5)
    pids = rig.sidecar.pids()
    size = rig.records.stat().st_size + 700
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    before = (await asyncio.to_thread(rig.counted)).dropped
    await asyncio.sleep(seconds / 3)
    assert await asyncio.to_thread(eventually, lambda: rig.counted().dropped > before, 20)
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def clock_jumps(rig: Rig, seconds: float) -> None:
    for ahead in (3600.0, -3600.0, 86400.0 * 400, 0.0):
        await asyncio.sleep(seconds / 6)
        rig.set_clock(ahead)


ROWS = (
    Row("nothing", nothing, (*USUAL, "long", "hang_up")),
    Row("settings reloaded", reloaded),
    Row("workers killed", workers_killed),
    Row("the sidecar killed, and started again", all_killed),
    Row("the upstream resets", nothing, ("whole", "stream", "reset", "reset_whole", "cut")),
    Row("the upstream cut off, and back", cut_off),
    Row("slow readers, and who leave", nothing, ("stream", "slow", "hang_up", "stalled", "unread")),
    Row("garbage on the gRPC port", garbage),
    Row("no room for the records, and room again", disk_full),
    Row("the wall clock jumps", clock_jumps),
    Row("a policy's service hangs", nothing, guarded=True),
)


# ---- and what is said of it


async def carried_out(rig: Rig, row: Row, seconds: float) -> Told:
    """One row, and the silence after it."""
    rig.disturbed.clear()
    before = await asyncio.to_thread(rig.counted)
    doing = asyncio.ensure_future(row.does(rig, seconds))
    seen = await rig.load(seconds, row.plans, guarded=row.guarded)
    await doing
    spared = sum(map(rig.is_excused, seen)) + sum(each.got is None for each in seen)
    now = await asyncio.to_thread(settle, rig, before, len(seen) - spared)
    return judged(row.name, seen, {id(each): rig.is_excused(each) for each in seen}, before, now)


def judged(name: str, seen: list[Seen], excused: dict[int, bool], before: Counted, now: Counted) -> Told:
    """What *seen* exchanges come to, of which some are *excused*, beside what was counted *before* them and is
    *now*."""
    words: Counter[str] = Counter()
    lost: list[str] = []
    doubled: list[str] = []
    for each in seen:
        try:
            words["stuck" if each.stuck else judge(each.exchange, each.got, excused[id(each)])] += 1
        except Violation as violation:
            words["wrong"] += 1
            lost.append(f"{_called(each.exchange)}: {violation}")
        if each.stuck:
            lost.append(f"{_called(each.exchange)} was stuck")
    # A guarded exchange may fail and is counted all the same.
    killed = sum(excused[id(each)] and not isinstance(each.exchange, Guarded) for each in seen)
    left = words["hung up"]
    counted, complete = now.exchanges - before.exchanges, now.complete - before.complete
    reached, logged, dropped = now.asked - before.asked, now.logged - before.logged, now.dropped - before.dropped
    tokens = now.tokens - before.tokens
    for what, least, found, most in (
        ("exchanges in the metrics", len(seen) - left - killed, counted, len(seen)),
        ("exchanges that the provider saw in the metrics", reached - killed, counted, float("inf")),
        ("complete exchanges in the metrics", words["right"] - killed, complete, reached),
        ("tokens in the metrics", TOKENS * complete, tokens, TOKENS * reached),
        ("records, written or dropped", counted - left - killed, logged + dropped, counted + killed),
        ("seconds in the metrics", 0.0, now.seconds - before.seconds, sum(e.ended - e.began + 1 for e in seen)),
    ):
        if found < least:
            lost.append(f"{what}: {found:g}, at least {least:g} of them must be")
        if found > most:
            doubled.append(f"{what}: {found:g}, at most {most:g} of them can be")
    if now.again != before.again:
        doubled.append(f"{now.again - before.again} requests reached the provider twice")
    if now.open:
        lost.append(f"{now.open:g} streams stay open")
    numbers = (len(seen), reached, int(counted), int(logged), int(dropped))
    return Told(name, words, *numbers, tuple(lost), tuple(doubled))


def _called(exchange: Exchange) -> str:
    return f"{exchange.plan.name} {exchange.api} {exchange.number}"


# ---- Kafka, where there is a broker

KAFKA = "Kafka gone, and back"


def kafka_arguments(address: str) -> tuple[str, ...]:
    return ("--records-kafka", address, "--records-kafka-topic", "chaos", "--records-kafka-key", "key1")


async def kafka_row(folder: Path, seconds: float) -> tuple[Told | None, str]:
    """The broker goes and comes back; nothing but why, where none can be had."""
    if why := kafka_broker.missing():
        return None, why
    folder.mkdir()
    logs = folder / "kafka"
    logs.mkdir()
    broker = kafka_broker.Broker(logs)
    await asyncio.to_thread(broker.start)
    rig = Rig(folder, kafka_arguments(broker.address))
    try:
        await rig.start()

        async def gone_and_back(rig: Rig, seconds: float) -> None:
            await asyncio.sleep(seconds / 5)
            await asyncio.to_thread(broker.stop)
            # Longer than a record is kept for it.
            await asyncio.sleep(14)
            await asyncio.to_thread(broker.start)

        told = await carried_out(rig, Row(KAFKA, gone_and_back), seconds + 20)
        dropped = await asyncio.to_thread(_settled, rig)
        reached = await asyncio.to_thread(_consumed, broker.address)
        lost = told.counted - len(reached) - dropped
        what = (f"{lost} records, neither in Kafka nor dropped",) if lost > 0 else ()
        told = replace(told, logged=len(reached), dropped=dropped, lost=told.lost + what)
        return told, ""
    finally:
        with contextlib.suppress(AssertionError):
            await rig.stop()
        await asyncio.to_thread(broker.stop)


def _settled(rig: Rig) -> int:
    """Records that did not reach Kafka, once none waits any more."""
    seen: list[float] = []

    def still() -> bool:
        seen.append(sum(value for key, value in rig.page().items() if 'sink="kafka"' in key and "dropped" in key))
        time.sleep(0.5)
        # Longer than the last of them may take.
        return len(seen) > 30 and len(set(seen[-30:])) == 1

    eventually(still, 60)
    return int(seen[-1])


def _consumed(address: str) -> set[str]:
    """Of which requests the topic has records."""
    from confluent_kafka import Consumer

    settings = {"bootstrap.servers": address, "group.id": "chaos", "auto.offset.reset": "earliest", "log_level": 0}
    consumer, found, silent = Consumer(settings), set(), 0
    consumer.subscribe(["chaos"])
    while silent < 10:
        message = consumer.poll(1)
        if message is None or message.error() is not None:
            silent += 1
        else:
            silent = 0
            found.add(json.loads(message.value() or b"{}")["request_id"])
    consumer.close()
    return found
