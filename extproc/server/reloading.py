"""Other settings for a server that runs: read anew on a signal, checked as a whole, and only then used.

No stream is touched. An exchange that goes on keeps what it began with; the next one has the new.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..capabilities import CapabilityError
from ..settings import LIVE, REPLACED, SettingError, Settings, doubts, reloaded
from . import processlog
from .service import Service

if TYPE_CHECKING:
    from .long_calls import LongCalls

log = logging.getLogger(__name__)

ReadAnew = Callable[[], Settings]
"""Reads flags, environment and file anew. Raises SettingError."""
HANGUP = frozenset({LIVE})
"""What a process takes that goes on."""
REPLACE = frozenset({LIVE, REPLACED})
"""What one takes that is started for another."""


def read_anew(now: Settings, read: ReadAnew, signals: frozenset[str] = HANGUP) -> Settings | None:
    """What *now* becomes by what can be read now, as far as a running server takes it on *signals*; ``None``, with the
    reason logged, where that cannot be read."""
    try:
        wanted = read()
    except SettingError as error:
        refused(str(error))
        return None
    made, others = reloaded(now, wanted, signals)
    if others:
        from_when = "the next start" if signals == REPLACE or now.workers == 1 else "SIGUSR2 or the next start"
        log.warning("changed, and of effect from %s: %s", from_when, ", ".join(others))
    for doubt in doubts(made, os.environ):
        log.warning("%s", doubt)
    return made


def refused(why: str) -> None:
    """Log that everything stays as it was."""
    log.error("not reloaded: %s", why)


async def adopted(service: Service, settings: Settings) -> str:
    """Have *service* go on with *settings*; empty, or why it goes on with what it has."""
    try:
        prepared = await asyncio.to_thread(service.prepare, settings)
    except (CapabilityError, SettingError, OSError) as error:
        return str(error)
    except Exception as error:
        log.exception("a bug in reading settings anew")
        return repr(error)
    before = service.adopt(prepared)
    processlog.set_level(settings.log_level)
    await asyncio.to_thread(service.retire, before)
    return ""


async def reload_when(asked: asyncio.Event, reload: Callable[[], Awaitable[None]]) -> None:
    """*reload* each time that it is *asked*, one after the other; a question that comes meanwhile is one more."""
    while True:
        await asked.wait()
        asked.clear()
        try:
            await reload()
        except Exception:
            # The next one may be better.
            log.exception("a bug in reloading: nothing has changed")


class Alone:
    """The reload of a process that serves alone."""

    def __init__(
        self, service: Service, settings: Settings, read: ReadAnew, long_calls: LongCalls | None = None
    ) -> None:
        self._service = service
        self._long_calls = long_calls
        self._settings = settings
        self._read = read

    async def reload(self) -> None:
        settings = await asyncio.to_thread(read_anew, self._settings, self._read)
        if settings is None:
            return
        if why := await adopted(self._service, settings):
            refused(why)
            return
        self._settings = settings
        if self._long_calls is not None:
            await self._long_calls.reload(settings)
        log.info("reloaded")
