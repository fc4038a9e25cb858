"""One connection of the asyncio side. Compiled, as what it calls is: asyncio and uvloop ask a protocol for its methods,
not for its class, so it derives from none of theirs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from .session import TURN_CALLS, Session

if TYPE_CHECKING:
    from .shell import H2Listener

WRITE_BUFFER: Final = 256 * 1024
"""Unsent bytes of one connection at which we stop reading from it."""

LONG_TURN_SECONDS: Final = 0.01
"""How long one turn goes on with long messages: others wait for so long, and for the last of them."""

LINGER_SECONDS: Final = 1.0
"""How long a connection that we ended is still read (and what comes discarded): closing a socket that holds unread
bytes would take our GOAWAY from the peer."""


class H2Protocol:
    """One connection."""

    def __init__(self, owner: H2Listener) -> None:
        self._owner = owner
        self._loop = owner.loop
        self._transport: asyncio.Transport
        self._session: Session | None = None
        self._paused = False
        """The socket takes no more."""
        self._waiting = False
        """What came waits for its turn."""
        self._reading = True
        self._active_at = 0.0
        self._closing = False
        self._unsent = 0
        self._moved_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        owner = self._owner
        self._transport = cast(asyncio.Transport, transport)
        if len(owner.connections) >= owner.max_connections:
            owner.counters.met("max_connections")
            idle = owner.least_active()
            if idle is None:
                self._transport.abort()
                return
            idle.abort()
            # It is told later that it is lost, and another may come before.
            owner.lost(idle)
        self._active_at = self._loop.time()
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._session = Session(
            owner.methods, owner.limits, owner.counters, self._loop.time(), owner.cache, owner.budget
        )
        owner.counters.connections += 1
        owner.made(self)
        if owner.draining:
            # It was on its way when we stopped to listen.
            self._session.drain(self._loop.time())
        self.flush()

    def data_received(self, data: bytes) -> None:
        if self._session is not None and not self._closing:
            self._active_at = now = self._loop.time()
            session = self._session
            session.receive(data, now)
            if session.more and not session.is_behind and self._owner.is_quiet(now):
                # Only something long waits, and nobody that it could be in the way of.
                self._proceed(session, now)
                self._owner.had_long_turn(now)
            self._flush(now)

    def eof_received(self) -> None:
        """The peer sends no more: it is closed."""

    def _queue_up(self) -> None:
        """Wait for a turn if there is more to do than one turn does; nothing more is read meanwhile, unless all that
        waits is long."""
        session = self._session
        self._waiting = session is not None and session.more and not self._closing and not self._paused
        if self._waiting:
            self._owner.queue(self, is_behind=session is not None and session.is_behind)
        self._read()

    def _read(self) -> None:
        session = self._session
        wanted = not (self._paused or (self._waiting and session is not None and session.is_behind))
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def take_turn(self, *, short: bool = False) -> bool:
        """Go on with what came; *short*: but with nothing long. Whether something long had its turn."""
        session = self._session
        if session is None or self._closing:
            return False
        before = session.long_turns
        self._proceed(session, self._loop.time(), short=short)
        self.flush()
        return session.long_turns != before

    def _proceed(self, session: Session, now: float, *, short: bool = False) -> None:
        """Go on, with several long messages where they are quickly done: what is written at once costs less."""
        session.proceed(now, short=short)
        while not short and session.more and not session.is_behind and self._loop.time() - now < LONG_TURN_SECONDS:
            session.proceed(now)

    @property
    def idle_since(self) -> float | None:
        """When something last came, if no call is open."""
        return self._active_at if self._session is None or self._session.is_idle else None

    def flush(self) -> None:
        """Write what the machine has to say, while the socket takes it."""
        if self._session is not None and not self._closing:
            self._flush(self._loop.time())

    def _flush(self, now: float) -> None:
        session = self._session
        assert session is not None
        while not self._paused and session.has_output and (out := session.output_parts(now)):
            if len(out) == 1:
                self._transport.write(out[0])
            else:
                self._transport.writelines(out)
        if session.over and not self._paused:
            self._closing = True
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._loop.call_later(LINGER_SECONDS, self._transport.abort)
        self._queue_up()

    def pause_writing(self) -> None:
        self._paused = True
        self._moved_at = self._loop.time()
        self._read()

    def resume_writing(self) -> None:
        self._paused = False
        self._read()
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        if self._session is not None:
            self._owner.lost(self)
            self._let_go()

    def _let_go(self) -> None:
        """Close the calls that are left, some at a time."""
        if self._session is not None and not self._session.abandon(TURN_CALLS):
            self._loop.call_soon(self._loop.call_soon, self._let_go)

    def tick(self, now: float) -> None:
        """Once a second."""
        if self._paused:
            self._check_socket(now)
        elif self._session is not None:
            self._session.tick(now)
            self.flush()

    def _check_socket(self, now: float) -> None:
        unsent = self._transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._moved_at = unsent, now
        elif now - self._moved_at >= self._owner.limits.stall_seconds:
            self._owner.counters.met("stall_seconds")
            self._transport.abort()

    def drain(self) -> None:
        """Say goodbye; the connection closes when its last call has ended."""
        if self._session is not None:
            self._session.drain(self._loop.time())
            self.flush()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()
