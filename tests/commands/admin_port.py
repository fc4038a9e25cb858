"""An admin port with exchanges in it, in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from extproc.captures.members import with_members
from extproc.telemetry.admin import Admin
from extproc.telemetry.ring import Look, Ring


class Shown:
    """What such a port shows: the exchanges of *ring*."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.looks = 0
        self.then: Callable[[], None] = lambda: None
        """Done when somebody waits."""

    async def metrics(self) -> str:
        return ""

    async def config(self) -> str:
        return "{}"

    def unwell(self) -> str:
        return ""

    async def cursor(self) -> str:
        self.then()
        return self.ring.cursor

    async def exchanges(self, asked: Look) -> str:
        self.looks += 1
        return self.ring.look(asked)().decode()

    async def exchange(self, process: int, number: int) -> str:
        one = self.ring.one(number)
        told: Any = None if one is None else with_members(one())
        return msgspec.json.encode(told).decode()


@contextmanager
def admin_port(ring: Ring, token: str = "") -> Iterator[tuple[str, Shown]]:
    """Its address, and what it shows."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    shown = Shown(ring)
    admin = Admin(shown, (lambda: token) if token else None)
    yield asyncio.run_coroutine_threadsafe(admin.start("127.0.0.1:0"), loop).result(10), shown
    asyncio.run_coroutine_threadsafe(_ended(admin), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


async def _ended(admin: Admin) -> None:
    admin.close()
    serving = asyncio.all_tasks() - {asyncio.current_task()}
    for each in serving:
        each.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
