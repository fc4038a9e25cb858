"""The load generator: HTTP/1.1 over prebuilt bytes, in a process of its own.

    python bench/load.py '{"port": 10000, ...}'      prints a line of JSON

``Spec`` says what it is told. Every answer is checked: a status other than 200, or an answer without what a whole one
contains, ends it with a message and without a figure.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from loops import run
from machine import Wrong, percentile
from payloads import TOKEN

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_END = b"0\r\n\r\n"
FEWEST = 5
"""Exchanges that a figure needs."""
PATIENCE = 30.0
"""Seconds to wait for them."""


@dataclass(frozen=True)
class Spec:
    port: int
    path: str
    body: str
    """A file."""
    complete: str
    """What a whole answer contains."""
    headers: dict[str, str] = field(default_factory=dict)
    connections: int = 1
    seconds: float = 1.0
    warm: float = 0.2
    """Seconds before those that count; for paced streams the time over which they are begun."""
    rate: float = 0.0
    """Not 0: each connection holds one stream with so many events a second, which outlasts the run."""
    interval: float = 0.0
    """Not 0: requests begin so many seconds apart, at least."""


class Connection(asyncio.Protocol):
    """One connection, which asks as soon as it is there. *opened*: when it was begun."""

    name: str

    def __init__(self, owner: Load, opened: float) -> None:
        self._owner = owner
        self._transport: asyncio.Transport
        self._began = opened
        self._stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._owner.request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._stopped:
            self._owner.fail(f"{self.name} was closed: {error}")

    def stop(self) -> None:
        self._stopped = True
        self._transport.abort()


class Closed(Connection):
    """A request, its answer, the next request."""

    name = "the connection"

    def __init__(self, owner: Load, opened: float) -> None:
        super().__init__(owner, opened)
        self._held = b""
        self._missing = -1
        self._first = 0.0

    def _ask(self) -> None:
        self._held, self._missing, self._first = b"", -1, 0.0
        self._began = time.perf_counter()
        self._transport.write(self._owner.request)

    def data_received(self, data: bytes) -> None:
        if not self._first and TOKEN in data:
            self._first = time.perf_counter()
        self._held = held = self._held + data if self._held else data
        if self._missing < 0:
            end = held.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            if not held.startswith(b"HTTP/1.1 200"):
                self._owner.fail(held[:300].decode("latin-1"))
                return
            length = _LENGTH.search(held, 0, end)
            self._missing = end + int(length[1]) if length else 0
        if (self._missing and len(held) >= self._missing) or (not self._missing and held.endswith(_END)):
            self._answered(held)

    def _answered(self, held: bytes) -> None:
        now, owner = time.perf_counter(), self._owner
        if owner.complete not in held:
            owner.fail(f"an answer is not whole: {held[-300:].decode('latin-1')}")
            return
        owner.done(now, now - self._began, self._first - self._began if self._first else 0.0)
        if _CLOSE.search(held, 0, held.find(b"\r\n\r\n")):
            self.stop()
            owner.again()
            return
        wait = owner.spec.interval - (now - self._began)
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self._ask)
        else:
            self._ask()


class Stream(Connection):
    """One stream, which is read until the end of the run."""

    name = "a stream"

    def __init__(self, owner: Load, opened: float) -> None:
        super().__init__(owner, opened)
        self._last = 0.0
        self._head = b""

    def data_received(self, data: bytes) -> None:
        now, last = time.perf_counter(), self._last
        if not last:
            self._head += data
            if self._head[:12] not in b"HTTP/1.1 200":
                self._owner.fail(self._head[:300].decode("latin-1"))
            elif TOKEN in self._head:
                self._owner.begun(now - self._began)
                self._last = now
            return
        count = data.count(TOKEN)
        if count:
            self._last = now
            self._owner.events(now, now - last, count)


class Load:
    """Runs one Spec."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.complete = spec.complete.encode()
        body = Path(spec.body).read_bytes()
        fields = {"host": "bench", "content-type": "application/json", "content-length": str(len(body)), **spec.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.request = f"POST {spec.path} HTTP/1.1\r\n{lines}\r\n".encode() + body
        self.latencies = array("d")
        self.firsts = array("d")
        self.gaps = array("d")
        self.together = 0
        """Events that came in one read with the one before them."""
        self.all = 0
        """Exchanges that were finished, those of the warm-up too."""
        self._made: list[Closed | Stream] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._from = self._until = float("inf")
        self._failed: asyncio.Future[None]

    def again(self) -> None:
        """The other side wants a new connection for each request."""
        task = asyncio.get_running_loop().create_task(self._connect(Closed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, kind: type[Closed | Stream]) -> None:
        began, loop = time.perf_counter(), asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: kind(self, began), "127.0.0.1", self.spec.port)
        self._made.append(protocol)

    def fail(self, why: str) -> None:
        if not self._failed.done():
            self._failed.set_exception(Wrong(why))

    def done(self, now: float, seconds: float, first: float) -> None:
        self.all += 1
        if now >= self._until and len(self.latencies) < FEWEST:
            # Large requests on a busy machine.
            self._until = now + 1e-9
        if self._from <= now < self._until:
            self.latencies.append(seconds)
            if first:
                self.firsts.append(first)

    def begun(self, seconds: float) -> None:
        self.firsts.append(seconds)

    def events(self, now: float, gap: float, count: int) -> None:
        if self._from <= now < self._until:
            self.gaps.append(gap)
            self.together += count - 1

    async def run(self) -> dict[str, float]:
        """The figures. Raises Wrong."""
        spec, loop = self.spec, asyncio.get_running_loop()
        self._failed = loop.create_future()
        kind = Stream if spec.rate else Closed
        pause = spec.warm / spec.connections if spec.rate else 0.0
        began = time.perf_counter()
        for number in range(spec.connections):
            await self._connect(kind)
            if (ahead := began + number * pause - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            if self._failed.done():
                break
        # A stream's first moments are not its pace.
        self._from = max(time.perf_counter() + 0.3, began + spec.warm) if spec.rate else began + spec.warm
        self._until = self._from + spec.seconds
        while (left := self._left()) > 0:
            try:
                async with asyncio.timeout(left):
                    await asyncio.shield(self._failed)
            except TimeoutError:
                pass
        for protocol in self._made:
            protocol.stop()
        return self._paced() if spec.rate else self._closed()

    def _left(self) -> float:
        """Seconds until the end; more than asked for, within a bound, while there are too few exchanges."""
        left = self._until - time.perf_counter()
        if left > 0 or self.spec.rate or len(self.latencies) >= FEWEST:
            return left
        return 0.1 if time.perf_counter() < self._from + PATIENCE else 0.0

    def _closed(self) -> dict[str, float]:
        if not self.latencies:
            raise Wrong(f"no exchange was finished in {PATIENCE:.0f} s")
        ordered = sorted(self.latencies)
        return {
            "exchanges": len(ordered),
            "all": self.all,
            "per_second": round(len(ordered) / (self._until - self._from), 1),
            **_milliseconds("", ordered),
            **_milliseconds("first_", sorted(self.firsts)),
        }

    def _paced(self) -> dict[str, float]:
        spec = self.spec
        added = sorted([gap - 1 / spec.rate for gap in self.gaps] + [-1 / spec.rate] * self.together)
        if not added:
            raise Wrong("the streams stood still")
        return {
            "events": len(added),
            "share": round(len(added) / (spec.connections * spec.rate * spec.seconds), 3),
            "together": round(self.together / len(added), 3),
            **_milliseconds("added_", added),
            **_milliseconds("first_", sorted(self.firsts)),
        }


def _milliseconds(prefix: str, ordered: Sequence[float]) -> dict[str, float]:
    if not ordered:
        return {}
    return {
        f"{prefix}p50_ms": round(percentile(ordered, 0.5) * 1e3, 3),
        f"{prefix}p99_ms": round(percentile(ordered, 0.99) * 1e3, 3),
    }


class Generator:
    """A load generator's process. Begins at once; ``result`` waits for it."""

    def __init__(self, spec: Spec) -> None:
        self._child = subprocess.Popen(
            [sys.executable, __file__, json.dumps(asdict(spec))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def result(self) -> dict[str, Any]:
        """The figures. Raises Wrong with what it said."""
        out, said = self._child.communicate()
        if self._child.returncode:
            raise Wrong(said.strip().rpartition("\n")[2] or f"status {self._child.returncode}")
        figures: dict[str, Any] = json.loads(out)
        return figures


async def main(text: str) -> None:
    try:
        print(json.dumps(await Load(Spec(**json.loads(text))).run()))
    except (Wrong, OSError) as error:
        sys.exit(f"wrong: {error!r}")


if __name__ == "__main__":
    run(main(sys.argv[1]))
