"""Exchanges of every kind through a real Envoy and a sidecar, for a long time; nothing may leak, hang or be wrong.

The time is cut into rounds. In a round clients come at a steady rate and the sidecar's connections are cut now and
then; between two rounds all fall silent, and what is open must be what was open after the first.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import random
import re
import statistics
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from extproc.demo.processes import Envoy, Sidecar
from extproc.demo.provider import ScriptedProvider
from extproc.reference import config
from tests.support.gateway import KEYS

from .relay import Relay
from .traffic import MODELS, PATIENCE_SECONDS, PLANS, Exchange, Violation, ask, judge, respond

ROUND_SECONDS = 60.0
QUIET_SECONDS = 10.0
"""For the sidecar to have no stream open after the last client has gone."""

GROWTH_KB = 16 * 1024
"""What the sidecar may grow by, once it is warm, over the whole soak."""

SHOWN = 20


class Quiet(NamedTuple):
    """The sidecar between two rounds."""

    at: float
    resident_kb: int
    files: int


class Soak:
    """``run`` once; then ``violations`` says what must not have been."""

    def __init__(self, transport: str, seconds: float, *, rate: float = 25.0, clients: int = 48, seed: int = 1) -> None:
        """*rate* exchanges begin each second, as long as fewer than *clients* are open."""
        self.violations: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.quiet: list[Quiet] = []
        self.slowest = 0.0
        self._transport = transport
        self._seconds = seconds
        self._round = min(ROUND_SECONDS, seconds / 4)
        self._rate = rate
        self._clients = clients
        self._random = random.Random(seed)
        self._number = 0
        self._begun = time.monotonic()
        self._relay: Relay
        self._sidecar: Sidecar
        self._envoy: Envoy

    def run(self) -> None:
        """Start all, soak, end all."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="extproc-soak-")))
            provider = stack.enter_context(ScriptedProvider(respond, keep=100))
            arguments = ["--transport", self._transport, "--admin", "127.0.0.1:0", "--log-level", "warning"]
            self._sidecar = stack.enter_context(Sidecar(folder, environ=KEYS, arguments=arguments))
            assert self._sidecar.socket is not None
            self._relay = Relay(str(folder / "relay.sock"), self._sidecar.socket)
            to = ("127.0.0.1", provider.port)
            made = config.rewrite(
                config.reference(),
                sidecar=self._relay.path,
                upstreams={"api.openai.com": to, "api.anthropic.com": to},
                access_log=os.devnull,
            )
            self._envoy = Envoy(folder, made)
            asyncio.run(self._soak())
            if status := self._sidecar.stop():
                self._violated(f"the sidecar ended with status {status}: {self._sidecar.tail()}")
            if logged := [line for line in self._sidecar.tail(1000).splitlines() if "ERROR" in line]:
                self._violated(f"the sidecar logged {logged[:3]}")

    async def _soak(self) -> None:
        await self._relay.start()
        # Envoy checks the sidecar's health when it starts: the relay must run meanwhile.
        await asyncio.to_thread(self._envoy.start)
        try:
            self._begun = time.monotonic()
            while (left := self._begun + self._seconds - time.monotonic()) > 1 and not self._hopeless():
                await self._one_round(min(self._round, left))
                await self._silence()
                print(self.line(), flush=True)
            self._check_growth()
        finally:
            await asyncio.to_thread(self._envoy.stop)
            self._relay.close()

    def _hopeless(self) -> bool:
        return len(self.violations) >= SHOWN

    # ---- a round

    async def _one_round(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        next_cut = time.monotonic() + self._random.uniform(0.2, 0.8) * self._round
        open_tasks: set[asyncio.Task[None]] = set()
        while (now := time.monotonic()) < end:
            if now >= next_cut:
                self._relay.cut()
                next_cut = now + self._random.uniform(0.2, 0.8) * self._round
            if len(open_tasks) < self._clients:
                task = asyncio.create_task(self._exchange())
                open_tasks.add(task)
                task.add_done_callback(open_tasks.discard)
            await asyncio.sleep(self._random.expovariate(self._rate))
        if open_tasks:
            await asyncio.wait(open_tasks, timeout=PATIENCE_SECONDS + 5)

    async def _exchange(self) -> None:
        self._number += 1
        (plan,) = self._random.choices(PLANS, [each.weight for each in PLANS])
        exchange = Exchange(self._number, plan, self._random.choice(sorted(MODELS)))
        cuts, begun = self._relay.cuts, time.monotonic()
        try:
            got = await ask(self._envoy.port, exchange)
            word = judge(exchange, got, excused=self._relay.cuts != cuts)
        except TimeoutError:
            word = "stuck"
            self._violated(f"{exchange.plan.name} {exchange.api} {exchange.number} was stuck")
        except Violation as violation:
            word = "wrong"
            self._violated(f"{exchange.plan.name} {exchange.api} {exchange.number}: {violation}")
        except Exception as error:
            word = "unreadable"
            self._violated(f"{exchange.plan.name} {exchange.api} {exchange.number}: {error!r}")
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.outcomes[word] += 1
        self.outcomes[f"{plan.name}: {word}"] += 1

    # ---- between rounds

    async def _silence(self) -> None:
        until = time.monotonic() + QUIET_SECONDS
        while still := await asyncio.to_thread(self._open_streams):
            if time.monotonic() > until:
                self._violated(f"{still} streams stay open when all clients have gone")
                break
            await asyncio.sleep(0.2)
        # A connection that was cut is closed within the second for which the sidecar still reads it.
        await asyncio.sleep(1.5)
        process = Path(f"/proc/{self._sidecar.pid}")
        resident = re.search(r"VmRSS:\s+(\d+)", (process / "status").read_text())
        assert resident is not None
        files = len(list((process / "fd").iterdir()))
        self.quiet.append(Quiet(time.monotonic() - self._begun, int(resident[1]), files))
        if abs(files - self.quiet[0].files) > 2:
            self._violated(f"{files} files are open, {self.quiet[0].files} were after the first round")

    def _open_streams(self) -> int:
        found = re.search(r"^extproc_open_streams (\d+)", self._metrics(), re.MULTILINE)
        assert found is not None
        return int(found[1])

    def _metrics(self) -> str:
        assert self._sidecar.admin
        connection = http.client.HTTPConnection(self._sidecar.admin, timeout=10)
        with closing(connection):
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()

    # ---- what is said of it

    def _violated(self, what: str) -> None:
        self.violations.append(what)
        if len(self.violations) <= SHOWN:
            print(f"VIOLATION {what}", flush=True)

    def _check_growth(self) -> None:
        if self.growth_kb() > GROWTH_KB:
            self._violated(f"the sidecar grew by {self.growth_kb()} KB once it was warm")

    def growth_kb(self) -> int:
        """What the sidecar grew by after the first third, by the line through what it had between rounds."""
        warm = self.quiet[len(self.quiet) // 3 :]
        if len(warm) < 2:
            return 0
        line = statistics.linear_regression([each.at for each in warm], [each.resident_kb for each in warm])
        return round(line.slope * (warm[-1].at - warm[0].at))

    def line(self) -> str:
        """How it stands."""
        now = self.quiet[-1]
        words = ", ".join(f"{word} {count}" for word, count in sorted(self.outcomes.items()) if ":" not in word)
        about = f"{now.resident_kb / 1024:.1f} MB, {now.files} files, {self._relay.cuts} cuts"
        about += f", slowest {self.slowest:.1f} s"
        return f"{now.at / 60:5.1f} min  {words}; {about}; {len(self.violations)} violations"

    def summary(self) -> str:
        """All of it, by plan."""
        rows = [f"  {word:32} {count}" for word, count in sorted(self.outcomes.items()) if ":" in word]
        head = f"{self._number} exchanges in {self._seconds / 60:g} minutes on {self._transport}"
        growth = f"growth when warm {self.growth_kb()} KB; {len(self.violations)} violations"
        return "\n".join([head, *rows, growth])
