"""Several processes that serve, and the supervisor that keeps them: ``extproc serve --workers 4``.

Each worker is the same program started anew, not a fork: there is no library (gRPC's least of all) whose threads and
locks would have to survive one, a restarted worker is as clean as the first, and a reload takes new code too. Each has
addresses of its own, because Envoy balances streams over *endpoints*: it keeps one connection to each for each of its
threads, so that processes that share one port get whole connections, or none.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec

from .. import capabilities
from .. import settings as all_settings
from ..settings import SettingError, Settings
from ..telemetry.ring import Look
from ..telemetry.summed import summed
from . import processlog
from .addresses import spread
from .records import prices_of
from .reloading import HANGUP, REPLACE, ReadAnew, read_anew, refused, reload_when
from .serving import admin_port, announce, set_up_log
from .shown import joined, one_config, one_look
from .worker import BESIDE, FAILED, MAX_LINE_BYTES

log = logging.getLogger(__name__)

STABLE_SECONDS = 10.0
"""A worker that lived so long is started again at once; one that did not has to wait, each time longer."""
FIRST_WAIT_SECONDS = 0.25
MAX_WAIT_SECONDS = 10.0
GRACE_SECONDS = 5.0
"""Beyond the bounds on draining, before a worker that does not end is killed."""
ASK_SECONDS = 0.5
"""How long a worker may take to tell its metrics; after that, what it told last is shown."""
LOOK_SECONDS = 4.0
"""How long a worker may take to show its exchanges; after that, the others' are shown."""
RELOAD_SECONDS = 15.0
"""How long a worker may take to read what it is to go on with; then it is taken for refused."""


def supervise(settings: Settings, read: ReadAnew) -> int:
    """Run the workers until SIGTERM or SIGINT, then drain them; a second signal insists. SIGHUP has them go on with
    what *read* gives then, SIGUSR2 replaces them one by one. The exit status: 0 when all drained. Raises SettingError,
    CapabilityError, and OSError for the admin port."""
    set_up_log(settings)
    capabilities.load(settings.capabilities or None)
    prices_of(settings)
    return asyncio.run(Supervisor(settings, read).run())


class WorkerProcess:
    """One process, from its start to its end. ``run`` it once."""

    def __init__(self, settings: Settings, beside: tuple[int, ...] = ()) -> None:
        """*beside*: descriptors for ``worker``, of a process that serves at a socket of another one's."""
        self.listening: list[str] = []
        """Its addresses, once it serves."""
        self.started = asyncio.Event()
        """It has what it was started with, or never will: descriptors may be closed here."""
        self.page = ""
        """The metrics that it told last."""
        self.drained = False
        """It was told to end."""
        self.killed = False
        """It was told, and did not."""
        self.pid = 0
        self.settings = settings
        """What it was started with, or went on with since."""
        self._beside = beside
        self._child: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._killer: asyncio.TimerHandle | None = None
        self._asked: asyncio.Future[None] | None = None
        self._looks: dict[int, asyncio.Future[dict[str, Any]]] = {}
        """What it has been asked, and has not answered."""
        self._look = 0

    @property
    def serves(self) -> bool:
        """New streams are welcome there."""
        return bool(self.listening) and self._writer is not None and not self.drained

    async def run(self, serving: Callable[[], None]) -> int:
        """Start it, tell when it is *serving*, wait for its end; the exit status, negative for a signal."""
        try:
            ours, theirs = socket.socketpair()
            # It must not import from the folder that we happen to be in, unless we do.
            safe = [] if os.getcwd() in sys.path else ["-P"]
            beside = [f"{BESIDE}{','.join(map(str, self._beside))}"] if self._beside else []
            command = [sys.executable, *safe, "-m", "extproc.server.worker", *beside]
            flags = all_settings.as_flags(self.settings)
            with theirs:
                # A session of its own: Ctrl-C in a terminal is for the supervisor alone, which then says it to all.
                self._child = await asyncio.create_subprocess_exec(
                    *command, *flags, stdin=theirs.fileno(), start_new_session=True, pass_fds=self._beside
                )
        finally:
            self.started.set()
        self.pid = self._child.pid
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE_BYTES)
        if self.drained:
            self._say(b"drain")
        hearing = asyncio.create_task(self._hear(reader, serving))
        status = await self._child.wait()
        await hearing
        if self._killer is not None:
            self._killer.cancel()
        self._writer.close()
        self._writer = None
        self._answered()
        for look in self._looks.values():
            # Not cancelled: who asked goes on.
            if not look.done():
                look.set_exception(TimeoutError())
        return status

    async def _hear(self, reader: asyncio.StreamReader, serving: Callable[[], None]) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                message: dict[str, Any] = msgspec.json.decode(line)
                if "listening" in message:
                    self.listening = message["listening"]
                    serving()
                elif "shown" in message:
                    look = self._looks.pop(message["number"], None)
                    if look is not None and not look.done():
                        look.set_result(message["shown"])
                else:
                    self.page = message["metrics"]
                    self._answered()

    def drain(self, *, insist: bool = False) -> None:
        """Have it finish its streams and end; not wait for them if we *insist*. If it does not, it is killed."""
        self.drained = True
        self._say(b"insist" if insist else b"drain")
        bound = GRACE_SECONDS
        if not insist:
            bound += self.settings.drain_delay_seconds + self.settings.drain_seconds
        if self._killer is not None:
            self._killer.cancel()
        self._killer = asyncio.get_running_loop().call_later(bound, self._kill)

    def _kill(self) -> None:
        if self._child is not None and self._child.returncode is None:
            self.killed = True
            log.error("the worker with pid %d did not drain in time: killed", self.pid)
            self._child.kill()

    def reopen(self) -> None:
        """Have it open its files of records anew."""
        self._say(b"reopen")

    async def show(self, what: str) -> dict[str, Any]:
        """What it shows of *what*, as ``worker`` has it; empty after LOOK_SECONDS."""
        return await self._ask("show", what, LOOK_SECONDS) or {}

    async def reload(self, settings: Settings) -> str:
        """Have it go on with *settings*; empty, or why it goes on with those that it has. One that does not serve is
        not asked: it has ended, or the next one begins with them."""
        flags = msgspec.json.encode(all_settings.as_flags(settings)).decode()
        if self._writer is None or not self.listening:
            return ""
        told = await self._ask("reload", flags, RELOAD_SECONDS)
        if told is None:
            return "" if self._writer is None else f"worker {self.pid} does not answer"
        if not told["refused"]:
            self.settings = settings
        return str(told["refused"])

    async def _ask(self, word: str, what: str, seconds: float) -> dict[str, Any] | None:
        """The answer; none after so many *seconds*, or when it has ended."""
        if self._writer is None or not self.listening:
            return None
        self._look += 1
        number, look = self._look, asyncio.get_running_loop().create_future()
        self._looks[number] = look
        self._say(f"{word} {number} {what}".encode())
        try:
            return await asyncio.wait_for(look, seconds)
        except TimeoutError:
            return None
        finally:
            self._looks.pop(number, None)

    async def refresh(self) -> None:
        """Have ``page`` be of now; give up after ASK_SECONDS."""
        if self._writer is None:
            return
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
            self._say(b"metrics")
        await asyncio.wait([self._asked], timeout=ASK_SECONDS)

    def _answered(self) -> None:
        """The question for its metrics is over."""
        if self._asked is not None:
            self._asked.set_result(None)
            self._asked = None

    def _say(self, word: bytes) -> None:
        if self._writer is not None:
            self._writer.write(word + b"\n")


class Worker:
    """One place among the workers: its addresses, and the processes that serve there one after the other."""

    def __init__(self, number: int, settings: Settings, ended: Callable[[WorkerProcess], None]) -> None:
        self.number = number
        self.process = WorkerProcess(settings)
        self.served = asyncio.Event()
        """It has served at least once."""
        self._settings = settings
        self._ended = ended
        self._over = asyncio.Event()
        self._replaced: asyncio.Future[bool] | None = None
        self._late: asyncio.Task[str] | None = None

    async def keep(self) -> int:
        """Run a process, and another when it has ended, until told to end; the last one's exit status. The very first
        is not followed by another if it never serves: it has said why."""
        loop = asyncio.get_running_loop()
        short_lives = 0
        while True:
            began = loop.time()
            process = self.process = WorkerProcess(self._settings)
            status = await process.run(self._serving)
            self._ended(process)
            if self._over.is_set() or not self.served.is_set():
                self._settle(False)
                return status
            if process.drained:
                continue
            self._settle(False)
            lived = loop.time() - began
            short_lives = short_lives + 1 if lived < STABLE_SECONDS else 0
            wait = min(FIRST_WAIT_SECONDS * 2 ** min(short_lives - 1, 10), MAX_WAIT_SECONDS) if short_lives else 0.0
            log.warning(
                "worker %d (pid %d) on %s %s after %.1f s; another starts in %g s",
                self.number, process.pid, self._settings.listen, _how(status), lived, wait,
            )  # fmt: skip
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), wait)
            if self._over.is_set():
                return status

    def _serving(self) -> None:
        # Where any free port was asked for, the next process gets the same one.
        self._settings = dataclasses.replace(self._settings, listen=",".join(self.process.listening))
        if self.served.is_set():
            log.info("worker %d (pid %d) serves on %s", self.number, self.process.pid, self._settings.listen)
        self.served.set()
        self._settle(True)
        if self._settings != dataclasses.replace(self.process.settings, listen=self._settings.listen):
            # There was a reload while it started.
            self._late = asyncio.create_task(self.process.reload(self._settings))

    def _settle(self, serves: bool) -> None:
        if self._replaced is not None and not self._replaced.done():
            self._replaced.set_result(serves)

    async def replace(self, settings: Settings) -> bool:
        """Drain the process and start another, with *settings*; whether that one serves. If not, the next one has the
        settings that the last one had."""
        before = self._settings
        self._settings = self._here(settings)
        self._replaced = asyncio.get_running_loop().create_future()
        self.process.drain()
        if await self._replaced:
            return True
        self._settings = before
        return False

    async def reload(self, settings: Settings) -> str:
        """Have the process go on with *settings*, and those that follow it begin with them; empty, or why not."""
        before, self._settings = self._settings, self._here(settings)
        if why := await self.process.reload(self._settings):
            self._settings = before
        return why

    def _here(self, settings: Settings) -> Settings:
        """*settings* for a process at this place."""
        return dataclasses.replace(settings, listen=self._settings.listen, workers=1)

    def end(self, *, insist: bool = False) -> None:
        """Drain the process and start no other."""
        self._over.set()
        self.process.drain(insist=insist)


def _how(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


class Supervisor:
    """All workers. ``run`` once."""

    def __init__(self, settings: Settings, read: ReadAnew) -> None:
        self._settings = settings
        self._read = read
        self._past = ""
        self._killed = False
        self._draining = False
        self._asked = asyncio.Event()
        """For a reload, or to replace the workers."""
        self._to_replace = False
        # Each alone knows nothing of workers; what they count is shown only if someone can ask.
        each = dataclasses.replace(settings, workers=1)
        self._workers = [
            Worker(number, dataclasses.replace(each, listen=",".join(addresses)), self._bury)
            for number, addresses in enumerate(spread(settings))
        ]

    async def run(self) -> int:
        """Until all workers have ended; the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        loop.add_signal_handler(signal.SIGUSR2, self._on_replace)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen)
        async with admin_port(self._settings, self):
            keeping = [asyncio.create_task(worker.keep()) for worker in self._workers]
            if not await self._started(keeping):
                for worker in self._workers:
                    worker.end(insist=True)
                statuses = await asyncio.gather(*keeping)
                return 0 if self._draining else next(filter(None, statuses), FAILED)
            where = [address for worker in self._workers for address in worker.process.listening]
            announce(where, self._settings)
            async with _beside(reload_when(self._asked, self._do)):
                await asyncio.gather(*keeping)
        return 1 if self._killed else 0

    async def _started(self, keeping: list[asyncio.Task[int]]) -> bool:
        """Wait until all serve; false when one has ended before."""
        async with _beside(asyncio.gather(*(worker.served.wait() for worker in self._workers))) as serving:
            await asyncio.wait([serving, *keeping], return_when=asyncio.FIRST_COMPLETED)
            return serving.done()

    def _on_signal(self) -> None:
        insist, self._draining = self._draining, True
        for worker in self._workers:
            worker.end(insist=insist)

    def _reopen(self) -> None:
        for worker in self._workers:
            worker.process.reopen()

    def _on_replace(self) -> None:
        self._to_replace = True
        self._asked.set()

    async def _do(self) -> None:
        """What was asked; nothing if that was to end."""
        replace, self._to_replace = self._to_replace, False
        if self._draining:
            return
        settings = await asyncio.to_thread(read_anew, self._settings, self._read, REPLACE if replace else HANGUP)
        if settings is None:
            return
        try:
            await asyncio.to_thread(capabilities.load, settings.capabilities or None)
            await asyncio.to_thread(prices_of, settings)
        except (capabilities.CapabilityError, SettingError) as error:
            refused(str(error))
            return
        if not self._draining:
            await (self._roll(settings) if replace else self._reload(settings))

    async def _reload(self, settings: Settings) -> None:
        """Have all go on with *settings*, or none: what one refuses, those before it let go of again."""
        for place, worker in enumerate(self._workers):
            if why := await worker.reload(settings):
                for earlier in self._workers[: place + 1]:
                    await earlier.reload(self._settings)
                refused(why)
                return
        self._adopt(settings)
        log.info("reloaded")

    async def _roll(self, settings: Settings) -> None:
        """Replace the workers one after the other. One that cannot serve ends it: the others stay as they are."""
        log.info("replacing %d workers, one after the other", len(self._workers))
        for worker in self._workers:
            if not await worker.replace(settings):
                if not self._draining:
                    log.error("stopped replacing them: worker %d does not serve", worker.number)
                return
            # As long as Envoy takes to see that a worker goes, it takes to see that one is back.
            await asyncio.sleep(self._settings.drain_delay_seconds)
        self._adopt(settings)
        log.info("all workers are replaced")

    def _adopt(self, settings: Settings) -> None:
        self._settings = settings
        processlog.set_level(settings.log_level)

    def unwell(self) -> str:
        if self._draining:
            return "draining"
        return "" if any(worker.process.serves for worker in self._workers) else "no worker serves"

    async def cursor(self) -> str:
        return joined(await self._shown("cursor"))

    async def exchanges(self, asked: Look) -> str:
        shown = await self._shown(f"exchanges {msgspec.json.encode(asked).decode()}")
        return msgspec.json.encode(one_look(shown)).decode()

    async def exchange(self, process: int, number: int) -> str:
        # It may be one of those that workers have for long calls.
        shown = await self._shown(f"exchange {process} {number}")
        return msgspec.json.encode(next(filter(None, shown), None)).decode()

    async def config(self) -> str:
        shown = await self._shown("config")
        return msgspec.json.encode(one_config(shown, all_settings.as_values(self._settings))).decode()

    async def _shown(self, what: str) -> list[dict[str, Any]]:
        """What each worker shows of *what*."""
        return await asyncio.gather(*(worker.process.show(what) for worker in self._workers))

    async def metrics(self) -> str:
        await asyncio.gather(*(worker.process.refresh() for worker in self._workers))
        return summed([self._past, *(worker.process.page for worker in self._workers)])

    def _bury(self, process: WorkerProcess) -> None:
        # A sum of counters that fell when a worker ends would look like a restart of all.
        self._past, process.page = summed([self._past, process.page], gauges=False), ""
        self._killed = self._killed or process.killed


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, Any] | asyncio.Future[Any]) -> AsyncIterator[asyncio.Future[Any]]:
    """Cancelled at the end of the block."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
