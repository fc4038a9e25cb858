"""One stream of ``Process`` as a gRPC call: what a session answers, and what becomes of it where it waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..service import MessageSession, NotAMessage, TooMuchHeld
from .messages import CallFailed, InParts, Status
from .session import Answerer, Outlet

if TYPE_CHECKING:
    from ..effects import Effects
    from .shell import H2Listener

log = logging.getLogger(__name__)


class ProcessCall(Answerer):
    """One stream; it alone knows both what a session and what a gRPC call fails with."""

    __slots__ = ("_effects", "_listener", "_outlet", "_session", "_waiting")

    def __init__(self, session: MessageSession, outlet: Outlet, listener: H2Listener, effects: Effects) -> None:
        self._session = session
        self._outlet = outlet
        self._listener = listener
        self._effects = effects
        self._waiting: asyncio.Task[None] | None = None

    @property
    def is_slow(self) -> bool:
        return self._session.is_slow

    def receive(self, message: bytes) -> Sequence[InParts]:
        return self._answers(message, [])

    def receive_parts(self, parts: list[bytes]) -> Sequence[InParts]:
        return self._answers(b"", parts)

    def _answers(self, message: bytes, parts: list[bytes]) -> Sequence[InParts]:
        """To *parts*, if there are any, else to *message*."""
        try:
            answers = self._session.receive_parts(parts) if parts else self._session.receive(message)
        except NotAMessage as error:
            raise CallFailed(Status.INTERNAL, str(error)) from None
        except TooMuchHeld as too_much:
            raise CallFailed(Status.RESOURCE_EXHAUSTED, str(too_much)) from None
        if self._session.asks is not None and self._waiting is None:
            self._outlet.stay()
            self._waiting = self._listener.loop.create_task(self._wait())
        return answers

    def expect(self, size: int) -> Sequence[InParts]:
        return self._session.expect(size)

    def refuse(self, *, too_large: bool) -> Sequence[InParts]:
        return self._session.refuse(too_large=too_large)

    async def _wait(self) -> None:
        """Have carried out what the session asks, until it asks no more."""
        session, outlet = self._session, self._outlet
        try:
            while (ask := session.asks) is not None:
                result = await self._effects.run(ask)
                for answer in session.resume(ask, result):
                    outlet.send(answer)
                self._listener.flush()
            self._waiting = None
            outlet.settle()
        except NotAMessage as error:
            outlet.end(Status.INTERNAL, str(error))
        except Exception:
            log.exception("a bug in a stream's handler")
            outlet.end(Status.INTERNAL, "internal error")
        self._listener.flush()

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._session.close()
