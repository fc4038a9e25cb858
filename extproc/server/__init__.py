"""Carries Envoy's messages to exchanges and their answers back; health; drain.

``service`` is what a transport sees of the rest; ``grpcio`` and ``h2`` are the transports.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import Protocol

from ..settings import Settings
from ..telemetry.admin import Admin
from .service import Service

__all__ = ["Service", "Transport", "serve"]


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


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT, then drain; the exit status. Prints one line for each address it listens on to
    standard error. Raises CapabilityError, and OSError if an address cannot be had."""
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    service = Service(settings)
    try:
        import uvloop
    except ImportError:
        asyncio.run(_run(settings, service))
    else:
        uvloop.run(_run(settings, service))
    return 0


async def _run(settings: Settings, service: Service) -> None:
    transport = _transport(settings, service)
    if (metrics := service.metrics) is None:
        await run(transport, settings)
        return
    draining = asyncio.Event()
    admin = Admin(lambda: metrics.text(service.open_sessions, transport.counts()), lambda: not draining.is_set())
    print(f"extproc admin on {await admin.start(settings.admin)}", file=sys.stderr, flush=True)
    try:
        await run(transport, settings, draining)
    finally:
        admin.close()


def _transport(settings: Settings, service: Service) -> Transport:
    if settings.transport == "h2":
        from .h2.transport import H2Server

        return H2Server(settings, service)
    from .grpcio import GrpcioServer

    return GrpcioServer(settings, service)


async def run(transport: Transport, settings: Settings, draining: asyncio.Event | None = None) -> None:
    """Serve with *transport* until a signal, then drain. A second signal ends the wait. *draining* is set by the first.
    """
    asked, insisted = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (insisted if asked.is_set() else asked).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    for address in await transport.start():
        print(f"extproc listens on {address}", file=sys.stderr, flush=True)
    await asked.wait()
    if draining is not None:
        draining.set()
    transport.stop_advertising()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(insisted.wait(), settings.drain_delay_seconds)
    drained = asyncio.ensure_future(transport.drain(settings.drain_seconds))
    waiting = asyncio.ensure_future(insisted.wait())
    await asyncio.wait({drained, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not drained.done():
        await transport.drain(0)
    await drained
