"""Runs a transport in this process, from its start until it has drained."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from ..effects import Ask
from ..settings import SettingError, Settings, doubts
from ..telemetry.ring import Look
from . import memory, processlog
from .records import secret
from .service import Service

if TYPE_CHECKING:
    import socket

    from ..telemetry.admin import Pages
    from .long_calls import BothShown, LongCalls

log = logging.getLogger(__name__)


class Transport(Protocol):
    """Carries the messages of each stream to a session of its own."""

    async def start(self) -> list[str]:
        """Listen; returns the addresses, with the real port where 0 was asked. Raises OSError."""
        ...

    def counts(self) -> dict[str, int | dict[str, int]]:
        """What the transport counts, by name; where it counts by a name of its own, by that."""
        ...

    def stop_advertising(self) -> None:
        """Say NOT_SERVING to who asks for health; streams are still taken."""
        ...

    async def drain(self, seconds: float) -> None:
        """No new streams; those that are open may finish, for so long, and are failed then."""
        ...


class Stop:
    """How a server is told to end: *asked*, it finishes what is open; *insisted*, it does not wait any more."""

    def __init__(self, delay: float) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()
        self.delay = delay
        """Seconds for which new streams are still taken, so that who balances them can look elsewhere."""

    def on_signal(self) -> None:
        """Ask; insist when asked already."""
        (self.insisted if self.asked.is_set() else self.asked).set()


def serve(settings: Settings, read: Callable[[], Settings] | None = None) -> int:
    """Run until SIGTERM or SIGINT, then drain; the exit status. Prints one line for each address it listens on to
    standard error. *read* gives the settings anew on SIGHUP; without it they stay what they are. Raises SettingError,
    CapabilityError, and OSError if an address cannot be had."""
    if settings.wants_tls:
        _need_grpc("TLS")
        from .tls import identity

        # Said before a worker or a port is there.
        identity(settings)
    for doubt in doubts(settings, os.environ):
        print(f"extproc: warning: {doubt}", file=sys.stderr, flush=True)
    if settings.workers > 1:
        from .workers import supervise

        return supervise(settings, read or (lambda: settings))
    set_up_log(settings)
    run_loop(_alone(settings, Service(settings), read or (lambda: settings)))
    return 0


def set_up_log(settings: Settings, who: str = "") -> None:
    """Log to standard error; each line names *who* if it is given."""
    logging.basicConfig(handlers=[processlog.handler(settings.log_format, who)])
    processlog.set_level(settings.log_level)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run *main* on the fastest loop there is."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def announce(addresses: list[str], settings: Settings) -> None:
    """Say where the process listens."""
    for address in addresses:
        print(f"extproc listens on {address}", file=sys.stderr, flush=True)
    if not settings.secrets:
        log.warning("any route may name secrets that look like keys: say which, by --secrets (EXTPROC_SECRETS)")


@contextlib.asynccontextmanager
async def admin_port(settings: Settings, pages: Pages) -> AsyncIterator[None]:
    """Answer operators where *settings* say; if they do not, nobody. Raises OSError, SettingError."""
    if not settings.admin:
        yield
        return
    from ..telemetry.admin import Admin

    token = settings.admin_token and secret("--admin-token", settings.admin_token, os.environ)
    admin = Admin(pages, token.reveal if token else None)
    print(f"extproc admin on {await admin.start(settings.admin)}", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        admin.close()


async def _alone(settings: Settings, service: Service, read: Callable[[], Settings]) -> None:
    from .long_calls import BothShown, long_calls_of
    from .reloading import Alone, reload_when

    long_calls = long_calls_of(settings, service)
    transport = transport_of(settings, service, long_calls)
    stop, hangup = Stop(settings.drain_delay_seconds), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.on_signal)
    loop.add_signal_handler(signal.SIGUSR1, service.reopen if long_calls is None else long_calls.reopen)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    loop.add_signal_handler(signal.SIGUSR2, log.warning, "no workers here that could be replaced: SIGHUP reloads")

    pages = _Pages(service, transport, stop, BothShown(service, long_calls))
    async with admin_port(settings, pages):
        await ready(service)
        pages.started = True
        reloading = asyncio.create_task(reload_when(hangup, Alone(service, settings, read, long_calls).reload))
        await run(transport, settings, stop, lambda addresses: announce(addresses, settings))
        reloading.cancel()
        if long_calls is not None:
            await long_calls.close()
        await asyncio.to_thread(service.close)


class _Pages:
    """Those of a process that serves alone."""

    def __init__(self, service: Service, transport: Transport, stop: Stop, seen: BothShown) -> None:
        self._service = service
        self._transport = transport
        self._stop = stop
        self._seen = seen
        self.started = False

    async def metrics(self) -> str:
        return await self._seen.page(self._transport.counts())

    async def cursor(self) -> str:
        return await self._seen.cursor()

    async def exchanges(self, asked: Look) -> str:
        return (await self._seen.exchanges(asked)).decode()

    async def exchange(self, process: int, number: int) -> str:
        return (await self._seen.exchange(process, number)).decode()

    async def config(self) -> str:
        return (await self._seen.config()).decode()

    def unwell(self) -> str:
        return "draining" if self._stop.asked.is_set() else "" if self.started else "starting"


async def ready(service: Service) -> None:
    """Wait, within a bound, for what *service* needs before its first stream."""
    if (effect := service.ahead()) is not None:
        await service.effects.run(Ask(effect, 0, effect.seconds))


def transport_of(
    settings: Settings,
    service: Service,
    long_calls: LongCalls | None = None,
    connected: socket.socket | None = None,
) -> Transport:
    """The transport that *settings* name. *long_calls*: who takes some of its calls; *connected*: where it serves in
    place of addresses. Raises SettingError."""
    if settings.transport == "h2":
        from .h2.transport import H2Server

        return H2Server(settings, service, long_calls, connected)
    _need_grpc("--transport grpcio")
    from .grpcio import GrpcioServer

    return GrpcioServer(settings, service)


def _need_grpc(what: str) -> None:
    """Raise SettingError unless gRPC's own library is there, which only this needs."""
    if importlib.util.find_spec("grpc") is None:
        raise SettingError(f"{what} needs gRPC's own library: pip install 'extproc-llm[grpcio]'")


async def run(transport: Transport, settings: Settings, stop: Stop, listening: Callable[[list[str]], None]) -> None:
    """Serve with *transport* until *stop* asks, then drain. *listening* is told the addresses. Raises OSError."""
    memory.settle()
    listening(await transport.start())
    giving_back = asyncio.create_task(memory.give_back())
    await stop.asked.wait()
    giving_back.cancel()
    transport.stop_advertising()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.insisted.wait(), stop.delay)
    drained = asyncio.ensure_future(transport.drain(settings.drain_seconds))
    waiting = asyncio.ensure_future(stop.insisted.wait())
    await asyncio.wait({drained, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not drained.done():
        await transport.drain(0)
    await drained
