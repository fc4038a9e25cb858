"""Calls that may become long are answered by a process of their own, so that nobody else waits for them.

That process is a worker like those of ``workers``, started at the first such call and kept, with one socket to this one
in place of an address. What it counts and remembers is shown with what is counted and remembered here; when it ends,
another is started for the next long call.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import re
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..exchange import incoming
from ..exchange.outgoing import delayed
from ..settings import Settings
from ..telemetry.ring import Look
from . import memory
from .memory import Ledger
from .service import Service
from .shown import joined, one_config, one_look

if TYPE_CHECKING:
    from .h2.passing import Link, PassedOn
    from .h2.session import Outlet
    from .workers import WorkerProcess

log = logging.getLogger(__name__)

NICENESS = 5
"""Of that process: where cores are scarce, the others' short messages come first."""
SHORT_SHARE = 5
"""One part in so many of what bodies may take while they are handled stays with the short ones, here."""
HELD_SHARE = 6
"""The same of what may be held."""
START_SECONDS = 3.0
"""For so long calls begin to wait for its start; where that takes longer, the next are answered here."""
PATIENCE_SECONDS = 30.0
"""What Envoy is told that those calls may take: on a busy machine a start takes longer than the 10 s that it has."""
STABLE_SECONDS = 10.0
"""One that lived so long is followed by another at the next long call; after others long calls are answered here for as
long as it takes to be that old."""

ASK_SECONDS, LOOK_SECONDS = 0.25, 2.0
"""How long it may take to tell its metrics, and to show its exchanges: half of what a supervisor gives both of us."""

COPIES = 2
"""What Envoy holds of a body while it comes: it, and what is on its way to us."""

_HEADERS = b"\x12"
"""The first byte of a message that brings a request's headers."""
_AT_END = b"\x18\x01"
"""The last bytes of what it says of them where no body follows."""
_LENGTH = re.compile(rb"\n\x0econtent-length[\x12\x1a](.)([0-9]*)", re.DOTALL)
_ENCODING = re.compile(rb"\n\x10content-encoding[\x12\x1a](.)([^\n]*)", re.DOTALL)


def long_body(message: bytes, bound: int) -> int:
    """The length of the body behind *message*, the first one of a stream, if it may be longer than *bound* bytes: it
    says so, or nobody knows (then 1), or it is compressed; else 0. Read from the bytes that protobuf makes of a header:
    no other text holds them, and nothing but the place of an answer depends on it."""
    if message[:1] != _HEADERS:
        return 0
    try:
        size, at = incoming.number(message, 1, len(message))
    except incoming.Malformed:
        return 0
    end = min(at + size, len(message))
    if message.endswith(_AT_END, at, end):
        return 0
    found = _LENGTH.search(message, at, end)
    digits = found[2][: found[1][0]] if found is not None else b""
    is_known = 0 < len(digits) < 16
    length = int(digits) if is_known else 1
    encoding = _ENCODING.search(message, at, end)
    is_encoded = encoding is not None and encoding[2][: encoding[1][0]].strip().lower() not in (b"", b"identity")
    return length if length > bound or is_encoded or not is_known else 0


def _nothing() -> None:
    pass


class LongCalls:
    """The process that answers long calls, and those of them that go on. For one server."""

    def __init__(self, settings: Settings, service: Service) -> None:
        # Here, and not at the first long call: others would wait for it.
        from .h2.passing import Link
        from .workers import WorkerProcess

        self._link_of, self._process_of = Link, WorkerProcess
        self._settings = settings
        self._service = service
        self._budget = service.budget
        self._process: WorkerProcess | None = None
        self._link: Link | None = None
        self._keeping: set[asyncio.Task[None]] = set()
        self._not_before = 0.0
        self._waits_until = 0.0
        self._unheard = 0
        """Bytes that Envoy may hold of bodies for calls of which nothing has come back."""
        self._past = ""
        """What the ended ones had counted."""
        self._over = False
        self.flush: Callable[[], None] = _nothing
        """Set by whoever has the calls' connections, before the first of them: writes what was said to them."""

    @property
    def pid(self) -> int:
        """Of the process; 0 if there is none."""
        return self._process.pid if self._process is not None else 0

    def length(self, message: bytes) -> int:
        """The length of the body behind *message*, as ``long_body`` has it: 0 if it is to be answered here."""
        return long_body(message, self._settings.long_body_bytes)

    def has_room(self, length: int) -> bool:
        """Whether Envoy may hold one more body of that length. What is too long alone the other process says so."""
        more = COPIES * length
        return more > self._budget.most_carried or self._budget.can_carry(self._unheard + more)

    def begin(self, role: str, message: bytes, length: int, outlet: Outlet) -> PassedOn | None:
        """Pass on the call of *outlet*, whose first *message* has come, with a body of that *length* behind it;
        ``None``: it is to be answered here."""
        if self._link is None or not self._link.takes:
            if self._process is not None and not self._process.drained:
                # It has ended, and we are about to hear of it; or its connection has.
                self._process.drain()
                return None
            if self._over or asyncio.get_running_loop().time() < self._not_before:
                return None
            self._start()
        elif (
            self._process is not None
            and not self._process.listening
            and asyncio.get_running_loop().time() > self._waits_until
        ):
            return None
        assert self._link is not None and self._process is not None
        if not self._process.listening:
            outlet.send(delayed(PATIENCE_SECONDS).encoded())
        # What Envoy holds of it the other process counts, from its first answer on.
        self._unheard += COPIES * length
        return self._link.begin(role, message, outlet, lambda: self._heard(length))

    def _heard(self, length: int) -> None:
        self._unheard -= COPIES * length

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._waits_until = loop.time() + START_SECONDS
        ours, theirs = socket.socketpair()
        shared = Ledger.shared_file()
        self._budget.share(Ledger(shared, 0))
        memory.keep_less()
        beside = theirs.fileno(), shared
        self._link = self._link_of(loop.time, self.flush, loop.call_soon)
        self._process = self._process_of(of_long_calls(self._settings), beside)
        task = loop.create_task(self._keep(self._process, self._link, ours, beside, theirs))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _keep(
        self, process: WorkerProcess, link: Link, ours: socket.socket, beside: tuple[int, int], theirs: socket.socket
    ) -> None:
        """Connect and run *process* to its end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        running = loop.create_task(process.run(lambda: None))
        try:
            await process.started.wait()
            theirs.close()
            os.close(beside[1])
            await loop.create_unix_connection(lambda: link, sock=ours)
            status = await running
        except Exception:
            log.exception("the process for long calls cannot be started")
            status = -1
            running.cancel()
        if status:
            log.warning("the process for long calls (pid %d) ended with status %d", process.pid, status)
            self._not_before = max(self._not_before, began + STABLE_SECONDS)
        link.lost()
        self._bury(process)

    def _bury(self, process: WorkerProcess) -> None:
        from ..telemetry.summed import summed

        self._past = summed([self._past, process.page], gauges=False)
        process.page = ""
        if self._process is process:
            self._process = self._link = None
            self._budget.ledger = None

    # ---- what is seen of it

    async def page(self, own: str) -> str:
        """The metrics of both: of this process its *own*."""
        if self._process is not None:
            await asyncio.wait([asyncio.ensure_future(self._process.refresh())], timeout=ASK_SECONDS)
        return self.last_page(own)

    def last_page(self, own: str) -> str:
        """The same, with what the other told last."""
        from ..telemetry.summed import summed

        pages = [page for page in (self._past, self._process.page if self._process is not None else "") if page]
        return summed([own, *pages]) if pages else own

    async def shown(self, what: str) -> dict[str, Any]:
        """What the other shows of *what*, as ``worker`` has it; empty if it does not."""
        if self._process is None:
            return {}
        try:
            return await asyncio.wait_for(self._process.show(what), LOOK_SECONDS)
        except TimeoutError:
            return {}

    # ---- what it is told

    def reopen(self) -> None:
        """Have both open their files of records anew."""
        self._service.reopen()
        if self._process is not None:
            self._process.reopen()

    async def reload(self, settings: Settings) -> None:
        """Have it go on with *settings*; if it cannot, another takes its place."""
        self._settings = settings
        process, link = self._process, self._link
        if process is None or link is None:
            return
        if not process.listening or await process.reload(of_long_calls(settings)):
            link.takes = False
            process.drain()

    async def close(self) -> None:
        """End it. No call is open any more, or none that is waited for."""
        self._over = True
        if self._link is not None:
            self._link.close()
        if self._process is not None:
            self._process.drain()
        if self._keeping:
            await asyncio.wait(self._keeping)


class BothShown:
    """What *service* shows, and the process that has its long calls."""

    def __init__(self, service: Service, long_calls: LongCalls | None) -> None:
        self._service = service
        self._long_calls = long_calls

    async def page(self, of_transport: Mapping[str, int | Mapping[str, int]]) -> str:
        """The metrics."""
        own = self._service.page(of_transport)
        return own if self._long_calls is None else await self._long_calls.page(own)

    async def cursor(self) -> str:
        """Where the last exchanges are."""
        return joined([{"cursor": self._service.cursor}, await self._elsewhere("cursor")])

    async def exchanges(self, asked: Look) -> bytes:
        """The last exchanges, as JSON."""
        own = await asyncio.to_thread(self._service.exchanges(asked))
        told = await self._elsewhere(f"exchanges {msgspec.json.encode(asked).decode()}")
        return msgspec.json.encode(one_look([msgspec.json.decode(own), told])) if told else own

    async def exchange(self, process: int, number: int) -> bytes:
        """All that is kept of one exchange, as JSON; ``null`` where there is none."""
        if process == os.getpid():
            return await asyncio.to_thread(self._service.exchange(number))
        is_there = self._long_calls is not None and process == self._long_calls.pid
        told = await self._elsewhere(f"exchange {process} {number}") if is_there else None
        return msgspec.json.encode(told or None)

    async def config(self) -> bytes:
        """The settings, and the routes that are compiled, as JSON."""
        own = await asyncio.to_thread(self._service.config)
        told = await self._elsewhere("config")
        return msgspec.json.encode(one_config([msgspec.json.decode(own), told])) if told else own

    async def _elsewhere(self, what: str) -> dict[str, Any]:
        return await self._long_calls.shown(what) if self._long_calls is not None else {}


def long_calls_of(settings: Settings, service: Service) -> LongCalls | None:
    """Who answers long calls, by the settings; ``None``: the process itself."""
    if not settings.long_body_bytes or settings.transport != "h2":
        return None
    return LongCalls(settings, service)


def of_long_calls(settings: Settings) -> Settings:
    """*settings* for the process that answers them: a part of the memory stays here."""
    limits = settings.limits
    return dataclasses.replace(
        settings,
        listen=BESIDE,
        workers=1,
        drain_delay_seconds=0.0,
        long_body_bytes=0,
        max_held_bytes=settings.max_held_bytes - settings.max_held_bytes // HELD_SHARE,
        limits=dataclasses.replace(
            limits, max_decoded_bytes=limits.max_decoded_bytes - limits.max_decoded_bytes // SHORT_SHARE
        ),
    )


BESIDE = "beside:0"
"""What such a process says of where it listens: nowhere but on its socket."""
