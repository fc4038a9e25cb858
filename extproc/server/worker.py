"""One of the processes that ``workers`` starts: the server, with its supervisor at the other end of standard input.

Lines come: ``drain``, ``insist``, ``metrics``, ``reopen``, ``show NUMBER WHAT``, ``reload NUMBER [flags]``. Lines of
JSON go: ``{"listening": [...]}`` once, ``{"number": NUMBER, "shown": json}`` and ``{"metrics": page}`` when asked, the
latter at the end too; of a reload ``{"number": NUMBER, "shown": {"refused": why}}``, with an empty reason when it is
done. When the supervisor is gone, however it went, this process drains and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any

import msgspec

from .. import settings as all_settings
from ..capabilities import CapabilityError
from ..settings import SettingError, Settings
from ..telemetry.ring import Look
from .long_calls import NICENESS, BothShown, LongCalls, long_calls_of
from .memory import Ledger
from .reloading import adopted
from .service import Service
from .serving import Stop, Transport, ready, run, run_loop, set_up_log, transport_of

log = logging.getLogger("extproc.server.worker")

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Of a line to the supervisor: a longer one would end all that is heard of a worker."""
ENVELOPE_BYTES = 128
"""Of what stands around what is shown."""
BESIDE = "--beside="
"""The first flag of one that serves at a socket of another process's: the descriptors of that socket, and of the ledger
in which both write what they hold."""
FAILED = 2
"""The status of a process that cannot serve, after its one line of why."""


def main() -> int:
    """Serve until told to end; the exit status. All settings come as flags."""
    flags = sys.argv[1:]
    beside = [int(each) for each in flags.pop(0).removeprefix(BESIDE).split(",")] if flags[0].startswith(BESIDE) else []
    settings = _of_flags(flags)
    # Off standard input: a process that ours starts would hold the supervisor's line open.
    line = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    set_up_log(settings, f"{'long calls' if beside else 'worker'} {os.getpid()}")
    try:
        service = Service(settings)
        connected = None
        if beside:
            os.nice(NICENESS)
            connected = socket.socket(fileno=beside[0])
            service.budget.share(Ledger(beside[1], 1))
        run_loop(_serve(settings, service, line, connected))
    except (CapabilityError, OSError, SettingError) as error:
        print(f"extproc: {error}", file=sys.stderr)
        return FAILED
    return 0


def _of_flags(flags: list[str]) -> Settings:
    parser = argparse.ArgumentParser()
    all_settings.add_arguments(parser)
    return all_settings.from_arguments(parser.parse_args(flags), {})


async def _serve(
    settings: Settings, service: Service, line: socket.socket, connected: socket.socket | None = None
) -> None:
    supervisor = _Supervisor(*await asyncio.open_unix_connection(sock=line))
    stop = Stop(settings.drain_delay_seconds)
    # Some signal each process of a group (systemd): what the supervisor hears too must not count twice.
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.asked.set)
    long_calls = long_calls_of(settings, service)
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGUSR1, service.reopen if long_calls is None else long_calls.reopen
    )
    for number in (signal.SIGHUP, signal.SIGUSR2):
        # Who signals each process of a group means the supervisor, which says it to all.
        asyncio.get_running_loop().add_signal_handler(number, lambda: None)
    transport = transport_of(settings, service, long_calls, connected)
    obeying = asyncio.create_task(supervisor.obey(stop, service, transport, long_calls))
    await ready(service)
    await run(transport, settings, stop, lambda addresses: supervisor.tell(listening=addresses))
    obeying.cancel()
    page = service.page(transport.counts())
    if long_calls is not None:
        await long_calls.close()
        page = long_calls.last_page(page)
    await asyncio.to_thread(service.close)
    await supervisor.part(page)


class _Supervisor:
    """The line to the supervisor."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._looking: set[asyncio.Task[None]] = set()
        self._reloading = asyncio.Lock()

    def tell(self, **message: Any) -> None:
        self._writer.write(msgspec.json.encode(message) + b"\n")

    async def obey(
        self, stop: Stop, service: Service, transport: Transport, long_calls: LongCalls | None = None
    ) -> None:
        """Do what it says until it is gone."""
        while word := await self._word():
            if word == b"metrics":
                page = service.page(transport.counts())
                if long_calls is None:
                    self.tell(metrics=page)
                else:
                    self._beside(self._page(page, long_calls))
            elif word == b"reopen":
                (service if long_calls is None else long_calls).reopen()
            elif word.startswith(b"show "):
                self._beside(self._show(word, service, long_calls))
            elif word.startswith(b"reload "):
                self._beside(self._reload(word, service, long_calls))
            else:
                stop.asked.set()
                if word == b"insist":
                    stop.insisted.set()
        # Its successor may want the addresses: no delay.
        stop.delay = 0.0
        stop.asked.set()

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        looking = asyncio.create_task(work)
        self._looking.add(looking)
        looking.add_done_callback(self._looking.discard)

    async def _page(self, own: str, long_calls: LongCalls) -> None:
        self.tell(metrics=await long_calls.page(own))

    async def _show(self, word: bytes, service: Service, long_calls: LongCalls | None = None) -> None:
        """``show NUMBER WHAT``: ``config``, ``cursor``, ``exchanges JSON`` with what is asked of them, ``exchange
        PROCESS NUMBER``."""
        _, number, what, *asked = word.split(maxsplit=3)
        seen = BothShown(service, long_calls)
        if what == b"cursor":
            self.tell(number=int(number), shown={"cursor": await seen.cursor()})
            return
        if what == b"exchanges":
            shown = await seen.exchanges(msgspec.json.decode(asked[0], type=Look))
        elif what == b"exchange":
            shown = await seen.exchange(*map(int, asked[0].split()))
        else:
            shown = await seen.config()
        if len(shown) > MAX_LINE_BYTES - ENVELOPE_BYTES:
            log.warning(
                "%s %s is longer than can be shown: %d bytes", what.decode(), b" ".join(asked).decode(), len(shown)
            )
            shown = b"null"
        self.tell(number=int(number), shown=msgspec.Raw(shown))

    async def _reload(self, word: bytes, service: Service, long_calls: LongCalls | None = None) -> None:
        """``reload NUMBER FLAGS``, the flags as JSON. One after the other: the last one holds."""
        _, number, flags = word.split(b" ", 2)
        async with self._reloading:
            settings = _of_flags(msgspec.json.decode(flags, type=list[str]))
            why = await adopted(service, settings)
            if long_calls is not None and not why:
                await long_calls.reload(settings)
        self.tell(number=int(number), shown={"refused": why})

    async def _word(self) -> bytes:
        try:
            return (await self._reader.readline()).strip()
        except ConnectionError:
            return b""

    async def part(self, page: str) -> None:
        """Leave the last *page* behind."""
        self.tell(metrics=page)
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            # It went first.
            pass


if __name__ == "__main__":
    sys.exit(main())
