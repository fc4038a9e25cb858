"""A real Envoy, a sidecar of two workers and a provider, under load; and what each of them has counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import socket
import struct
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from extproc.demo.processes import Envoy
from extproc.demo.provider import Received, ScriptedAnswer, ScriptedProvider
from extproc.reference import config as envoy_config
from tests.soak import traffic
from tests.soak.relay import Wire
from tests.soak.traffic import PATIENCE_SECONDS, PLANS, Exchange, Got, Plan
from tests.support import placements
from tests.support.gateway import KEYS
from tests.support.upstream import eventually
from tests.support.workers import Workers

WORKERS = 2
RATE = 20.0
"""Exchanges that begin in a second."""
CLIENTS = 24
"""Exchanges at once, at most."""
SEEN_AGAIN_SECONDS = 1.0
"""For Envoy's health checks to see that a worker is back."""
GUARDED = "gpt-5-guarded"
"""A model whose route asks a service that hangs."""
_NUMBER = re.compile(rb"soak:\w+:(\d+):")
_LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_CLOCK = Path(__file__).parent / "clock"


class Counted(NamedTuple):
    """What was counted until now."""

    exchanges: float
    """By the metrics, whatever became of them."""
    complete: float
    tokens: float
    """Of output, by the metrics."""
    seconds: float
    """Of all exchanges together, by the metrics."""
    open: float
    logged: float
    """Lines of JSON in the file of records."""
    dropped: float
    """Records that were not written, by the metrics."""
    asked: int
    """Distinct exchanges that reached the provider, by itself."""
    again: int
    """Those that reached it more than once."""


@dataclass(frozen=True)
class Guarded(Exchange):
    """One whose route asks the service that hangs."""

    def body(self) -> bytes:
        return super().body().replace(b'"gpt-5"', b'"%b"' % GUARDED.encode(), 1)


@dataclass
class Seen:
    """One exchange as its client saw it, from *began* to *ended* (monotonic seconds)."""

    exchange: Exchange
    began: float
    ended: float = 0.0
    got: Got | None = None
    stuck: bool = False


@dataclass
class Rig:
    """``start`` once, ``stop`` once. *folder*: a short path, sockets stand in it; *arguments*: more of the
    sidecar's."""

    folder: Path
    arguments: tuple[str, ...] = ()
    disturbed: list[list[float]] = field(default_factory=list)
    """From when to when an exchange may fail, as long as it says so, and what a process that was killed has counted may
    be gone with it."""

    def __post_init__(self) -> None:
        self.records = self.folder / "records"
        self.clock = self.folder / "clock"
        self.clock.write_bytes(struct.pack("d", 0.0))
        self._stack = ExitStack()
        self._asked: Counter[int] = Counter()
        self._random = random.Random(7)
        self._number = 0
        self._lives = 0
        self._before: Counter[str] = Counter()
        """What sidecars had counted that were killed."""
        self.sidecar: Workers
        self.wire: Wire
        self.envoy: Envoy

    # ---- its life

    async def start(self) -> None:
        provider = self._stack.enter_context(ScriptedProvider(self._respond, keep=10))
        hanging = self._stack.enter_context(_hanging())
        self.wire = Wire(provider.port)
        await self.wire.start()
        await asyncio.to_thread(self.revive)
        self.envoy = Envoy(self.folder, self._config(hanging))
        await asyncio.to_thread(self.envoy.start)

    async def stop(self) -> None:
        await asyncio.to_thread(self.envoy.stop)
        status = await asyncio.to_thread(self.sidecar.stop)
        self.wire.close()
        self._stack.close()
        assert status == 0, self.sidecar.tail()
        for log in self.folder.glob("life-*/*.log"):
            assert "Traceback" not in log.read_text(), log.read_text()[-4000:]

    def revive(self) -> None:
        """Start a sidecar where the last one stood."""
        self._lives += 1
        folder = self.folder / f"life-{self._lives}"
        folder.mkdir()
        own = ("--admin", "127.0.0.1:0", "--records", str(self.records), "--max-wait-seconds", "2")
        path = os.pathsep.join([str(_CLOCK), *filter(None, [os.environ.get("PYTHONPATH")])])
        environ = {**KEYS, "CHAOS_CLOCK": str(self.clock), "PYTHONPATH": path}
        listen = f"unix:{self.folder}/x.sock"
        self.sidecar = Workers(folder, WORKERS, *own, *self.arguments, listen=listen, environ=environ)
        self.sidecar.start()

    def kill(self) -> None:
        """End the sidecar, all of it, without a word."""
        page = self.page()
        pids = self.sidecar.pids()
        self.sidecar.kill()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._before += Counter({key: value for key, value in page.items() if "open_streams" not in key})

    def kill_worker(self, place: int) -> int:
        """End one of the workers without a word, and its pid. What it counted until now its supervisor knows."""
        self.page()
        pid = self.sidecar.pids()[place]
        os.kill(pid, signal.SIGKILL)
        return pid

    @contextlib.asynccontextmanager
    async def disturbing(self) -> AsyncIterator[None]:
        """Meanwhile, and until Envoy has seen that it is over, exchanges may fail."""
        when = [time.monotonic(), float("inf")]
        self.disturbed.append(when)
        yield
        assert await asyncio.to_thread(eventually, self._is_seen, 30), self.envoy.tail()
        when[1] = time.monotonic() + SEEN_AGAIN_SECONDS

    def _is_seen(self) -> bool:
        """Whether Envoy knows a worker that is well."""
        return max(self.envoy.stats("^cluster.extproc.membership_healthy$").values(), default=0) > 0

    def set_clock(self, ahead: float) -> None:
        """Have the sidecar's wall clock be so many seconds ahead."""
        with self.clock.open("r+b") as file:
            file.write(struct.pack("d", ahead))

    @property
    def sockets(self) -> list[str]:
        return [f"{self.folder}/x.{place}.sock" for place in range(WORKERS)]

    def _config(self, hanging: int) -> dict[str, object]:
        there = ("127.0.0.1", self.wire.port)
        made = envoy_config.rewrite(
            envoy_config.reference(),
            sidecar=self.sockets[0],
            upstreams={"api.openai.com": there, "api.anthropic.com": there},
            access_log=os.devnull,
        )
        cluster = placements.clusters(made)["extproc"]
        endpoints = [{"endpoint": {"address": {"pipe": {"path": path}}}} for path in self.sockets]
        cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]
        cluster["health_checks"][0].update(interval="0.3s", no_traffic_interval="0.3s", timeout="10s")
        asks = f"policies: [{{moderation: {{endpoint: 'http://127.0.0.1:{hanging}/', timeout: 1}}}}]\n"
        placements.add_alike(made, GUARDED, asks)
        told = placements.one_streams_metadata(made)
        assert told is not None
        told["routes"] = {name: f"{text}\nlogging: {{summaries: true}}\n" for name, text in told["routes"].items()}
        for route in placements.routes(made):
            # Else Envoy asks the provider twice, as it should: here whoever is asked twice was doubled.
            route.get("route", {}).pop("retry_policy", None)
        return made

    def _respond(self, request: Received) -> ScriptedAnswer:
        if found := _NUMBER.search(request.body):
            self._asked[int(found[1])] += 1
        return traffic.respond(request)

    # ---- what is counted

    def page(self) -> Counter[str]:
        """The metrics of the sidecar that runs, each with its labels."""
        with urllib.request.urlopen(f"http://{self.sidecar.admin}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return Counter({f"{name}{{{labels}}}": float(value) for name, labels, value in _LINE.findall(text)})

    def counted(self) -> Counted:
        page = self.page() + self._before

        def total(name: str, label: str = "") -> float:
            return sum(value for key, value in page.items() if key.startswith(name + "{") and label in key)

        lines = self.records.read_bytes().split(b"\n") if self.records.exists() else []
        return Counted(
            exchanges=total("extproc_exchanges_total"),
            complete=total("extproc_exchanges_total", 'ending="complete"'),
            tokens=total("extproc_tokens_total", 'type="output"'),
            seconds=total("extproc_duration_seconds_sum"),
            open=total("extproc_open_streams"),
            logged=sum(map(_is_whole, lines)),
            dropped=total("extproc_sink_dropped_total", 'sink="file"'),
            asked=len(self._asked),
            again=sum(count > 1 for count in self._asked.values()),
        )

    def is_quiet(self) -> bool:
        """Whether nothing is open any more."""
        return self.counted().open == 0

    # ---- the load

    async def load(self, seconds: float, plans: Iterable[str], *, guarded: bool = False) -> list[Seen]:
        """What clients saw who came for so many *seconds*, each with one of *plans*; where *guarded*, every other one
        to the route that asks the service that hangs."""
        chosen = [plan for plan in PLANS if plan.name in set(plans)]
        seen: list[Seen] = []
        tasks: set[asyncio.Task[None]] = set()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(tasks) < CLIENTS:
                seen.append(Seen(self._next(chosen, guarded), time.monotonic()))
                task = asyncio.create_task(self._one(seen[-1]))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(self._random.expovariate(RATE))
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE_SECONDS + 5)
        return seen

    def _next(self, plans: list[Plan], guarded: bool) -> Exchange:
        self._number += 1
        (plan,) = self._random.choices(plans, [each.weight for each in plans])
        if guarded and self._number % 2:
            return Guarded(self._number, plan, "messages")
        return Exchange(self._number, plan, self._random.choice(sorted(traffic.MODELS)))

    async def _one(self, seen: Seen) -> None:
        try:
            seen.got = await traffic.ask(self.envoy.port, seen.exchange)
        except TimeoutError:
            seen.stuck = True
        seen.ended = time.monotonic()

    def is_excused(self, seen: Seen) -> bool:
        overlaps = any(seen.began <= end and seen.ended >= begin for begin, end in self.disturbed)
        return overlaps or isinstance(seen.exchange, Guarded)


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@contextlib.contextmanager
def _hanging() -> Iterator[int]:
    """A service that takes connections and says nothing: its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        yield listening.getsockname()[1]


def settle(rig: Rig, before: Counted, expected: float) -> Counted:
    """What was counted when all has fallen silent: streams are over, and of *expected* records each is written, or
    dropped."""
    eventually(rig.is_quiet, 10)

    def written() -> bool:
        now = rig.counted()
        return now.logged + now.dropped - before.logged - before.dropped >= expected

    eventually(written, 5)
    return rig.counted()
