"""Carries Envoy's messages to an Exchange and its answers back; health; drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys

from .. import capabilities
from ..exchange import Context
from ..settings import Settings


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT, then drain; the exit status. Raises CapabilityError, and OSError if the address
    cannot be had."""
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    context = Context(settings.limits, capabilities.load(settings.capabilities or None))
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    asyncio.run(_run(settings, context))
    return 0


async def _run(settings: Settings, context: Context) -> None:
    from .grpcio import GrpcioServer

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = GrpcioServer(settings, context)
    for address in await server.start():
        print(f"extproc listens on {address}", file=sys.stderr, flush=True)
    await stop.wait()
    await server.drain(settings.drain_seconds)
