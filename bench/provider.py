"""The mock provider: an HTTP/1.1 server with prebuilt answers, in a process of its own. Speaks both APIs, by path.

    python bench/provider.py        prints its port

Nothing is parsed but the length of the body and the model's name (see payloads.py). Paced streams share one clock of a
millisecond; each begins when it is asked, so that many of them are as staggered as their requests were.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Any, cast

import payloads
from loops import run

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_PLAN = re.compile(rb'"model": ?"[a-z]+-(whole|burst|paced|broken)(?:-(\d+)(?:x(\d+))?)?"')
_JSON = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: req_bench\r\n\r\n%b"
_SSE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\nx-request-id: req_bench\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_END = b"0\r\n\r\n"
_UNKNOWN = _JSON % (400, b"Bad Request", 2, b"{}")
_BROKEN = _JSON % (500, b"Internal Server Error", 2, b"{}")


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Answers:
    """Prebuilt bytes for one API."""

    def __init__(self, api: str) -> None:
        self._api = api
        body = payloads.whole(api)
        self.whole = _JSON % (200, b"OK", len(body), body)
        before, deltas, after = payloads.stream(api, payloads.DIFFERENT)
        self.begin = _SSE + b"".join(map(chunked, before))
        self.deltas = [chunked(delta) for delta in deltas]
        self.end = b"".join(map(chunked, after)) + _END
        self._bursts: dict[int, list[bytes]] = {}

    def burst(self, events: int) -> list[bytes]:
        """A stream of *events* deltas that does not pause: the pieces that are written."""
        if events not in self._bursts:
            deltas = self.deltas
            self._bursts[events] = [self.begin, *(deltas[n % len(deltas)] for n in range(events)), self.end]
        return self._bursts[events]


class Paced:
    """A stream that sends one delta each period."""

    __slots__ = ("answers", "due", "left", "transport")

    def __init__(self, answers: Answers, transport: asyncio.Transport, left: int, due: float) -> None:
        self.answers = answers
        self.transport = transport
        self.left = left
        self.due = due

    def step(self) -> bool:
        """Send the next delta; False after the last one."""
        deltas = self.answers.deltas
        self.transport.write(deltas[self.left % len(deltas)])
        self.left -= 1
        if self.left > 0:
            return True
        self.transport.write(self.answers.end)
        return False


class Pacer:
    """The streams of one rate. What began earlier is due earlier: a queue, no heap."""

    TICK = 0.001

    def __init__(self, rate: int) -> None:
        self._period = 1 / rate
        self._queue: deque[Paced] = deque()
        self._loop = asyncio.get_running_loop()
        self._running = False

    def add(self, answers: Answers, transport: asyncio.Transport, events: int) -> None:
        """The first delta goes out at once."""
        stream = Paced(answers, transport, events, self._loop.time() + self._period)
        if not stream.step():
            return
        self._queue.append(stream)
        if not self._running:
            self._running = True
            self._loop.call_later(self.TICK, self._tick)

    def _tick(self) -> None:
        queue, now = self._queue, self._loop.time()
        while queue and queue[0].due <= now:
            stream = queue.popleft()
            if not stream.transport.is_closing() and stream.step():
                stream.due += self._period
                queue.append(stream)
        if queue:
            self._loop.call_later(self.TICK, self._tick)
        else:
            self._running = False


class Connection(asyncio.Protocol):
    """One client, one request at a time."""

    def __init__(self, owner: Provider) -> None:
        self._owner = owner
        self._transport: asyncio.Transport
        self._parts: list[bytes] = []
        self._missing = 0
        self._chunked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        if self._missing > len(data):
            self._missing -= len(data)
            return
        if self._missing or self._chunked:
            self._missing = 0
        else:
            whole = b"".join(self._parts)
            self._parts = [whole]
            end = whole.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            length = _LENGTH.search(whole, 0, end)
            self._chunked = length is None and _CHUNKED.search(whole, 0, end) is not None
            self._missing = max(0, end + int(length[1]) - len(whole)) if length else 0
            if self._missing:
                return
        if self._chunked and not b"".join(self._parts[-2:]).endswith(_END):
            return
        self._answer(b"".join(self._parts))
        self._parts, self._chunked = [], False

    def _answer(self, request: bytes) -> None:
        plan = _PLAN.search(request)
        api = payloads.MESSAGES if request.startswith(b"POST /v1/messages") else payloads.CHAT
        answers = self._owner.answers[api]
        if plan is None:
            self._transport.write(_UNKNOWN)
        elif plan[1] == b"whole":
            self._transport.write(answers.whole)
        elif plan[1] == b"burst":
            self._transport.writelines(answers.burst(int(plan[2])))
        elif plan[1] == b"paced":
            self._transport.write(answers.begin)
            self._owner.pacer(int(plan[3])).add(answers, self._transport, int(plan[2]))
        else:
            self._transport.write(_BROKEN)


class Provider:
    def __init__(self) -> None:
        self.answers = {api: Answers(api) for api in (payloads.CHAT, payloads.MESSAGES)}
        self._pacers: dict[int, Pacer] = {}

    def pacer(self, rate: int) -> Pacer:
        if rate not in self._pacers:
            self._pacers[rate] = Pacer(rate)
        return self._pacers[rate]

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        server: Any = await loop.create_server(lambda: Connection(self), "127.0.0.1", 0, backlog=4096)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()


async def main() -> None:
    await Provider().serve()


if __name__ == "__main__":
    run(main())
