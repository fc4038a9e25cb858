"""An ext_proc client that replays recorded exchanges on one connection, as one Envoy worker does.

A plain socket and frames written by hand: it has to cost less than the server that it measures. ``closed`` keeps a
number of exchanges in flight; ``Paced`` holds streams open and sends each event when it is due, whether or not the one
before has been answered.
"""

from __future__ import annotations

import math
import random
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Sequence

from hpack import Decoder

from extproc.server.h2 import frames
from extproc.server.h2.heads import EMPTY_TABLE
from extproc.server.h2.messages import PREFIX_BYTES, length_at
from machine import Wrong
from record import DELAYED, Script, Step

READ = 2**18
WINDOW = 2**28
"""What deploy/envoy.yaml lets the sidecar send."""
PATIENCE = 30.0
"""Seconds without a byte after which a server is given up."""
BODY = 0x22
"""The first byte of an answer to a piece of a response's body."""
_HEAD = frames.HEAD


class Exchange:
    """One exchange that is under way."""

    __slots__ = ("at", "began", "done", "key", "missing", "open", "sent", "sids", "steps")

    def __init__(self, steps: Sequence[Step], now: float) -> None:
        self.steps = steps
        self.at = 0
        """The step that is to be answered."""
        self.sids: list[int] = []
        self.missing = [0, 0]
        """Bytes that are still to come of the answer on each slot."""
        self.open = 0
        self.began = now
        self.done = False
        self.sent: deque[float] = deque()
        """When the paced events went out that have no answer yet."""
        self.key = -1


class Client:
    """One connection to *address* (``unix:/path`` or ``host:port``)."""

    def __init__(self, address: str) -> None:
        if address.startswith("unix:"):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            self._socket = socket.create_connection((host, int(port)))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._out: list[bytes] = []
        self._unsent = memoryview(b"")
        self._rest = b""
        self._next_sid = 1
        self._by_sid: dict[int, tuple[Exchange, int]] = {}
        self._window = frames.DEFAULT_WINDOW
        self._stream_window = frames.DEFAULT_WINDOW
        self._windows: dict[int, int] = {}
        self._waiting: dict[int, deque[bytes]] = {}
        """Frames of each stream that wait for a window, in order."""
        self._received = 0
        self._ready = False
        self._decoder = Decoder()
        self._good: set[bytes] = set()
        self.finished = 0
        self.delays = array("d")
        """Seconds from sending a paced event to its answer: what the sidecar adds to it."""
        self._handshake()

    def close(self) -> None:
        self._socket.close()

    # ---- exchanges

    def begin(self, steps: Sequence[Step]) -> Exchange:
        """Start one exchange; it goes on as its answers come."""
        exchange = Exchange(steps, time.perf_counter())
        self.go_on(exchange)
        return exchange

    def go_on(self, exchange: Exchange) -> None:
        """The next step that has an answer, and all before it."""
        steps = exchange.steps
        while exchange.at < len(steps):
            step = steps[exchange.at]
            self._write(exchange, step)
            if step.tag:
                return
            exchange.at += 1
        exchange.done = True
        if not exchange.open:
            self.finished += 1

    def _write(self, exchange: Exchange, step: Step) -> None:
        sids, slot = exchange.sids, step.slot
        if slot == len(sids):
            sid, self._next_sid = self._next_sid, self._next_sid + 2
            sids.append(sid)
            self._by_sid[sid] = exchange, slot
            self._windows[sid] = self._stream_window
            exchange.open += 1
        sid = sids[slot]
        for kind, flags, payload in step.frames:
            if sid == 1 and kind == frames.HEADERS:
                payload = EMPTY_TABLE + payload
            frame = _HEAD.pack(len(payload) << 8 | kind, flags, sid) + payload
            if kind == frames.DATA:
                self.data(sid, frame)
            else:
                self._out.append(frame)
        if step.ends:
            self._forget(sid)

    def data(self, sid: int, frame: bytes) -> None:
        """Send a DATA frame as soon as the windows allow it."""
        size = len(frame) - 9
        if sid in self._waiting or size > self._window or size > self._windows[sid]:
            self._waiting.setdefault(sid, deque()).append(frame)
            return
        self._window -= size
        self._windows[sid] -= size
        self._out.append(frame)

    def _forget(self, sid: int) -> None:
        """The stream is over."""
        held = self._by_sid.pop(sid, None)
        if held is None:
            return
        self._windows.pop(sid, None)
        self._waiting.pop(sid, None)
        exchange = held[0]
        exchange.open -= 1
        if exchange.done and not exchange.open:
            self.finished += 1

    def _advance(self, exchange: Exchange, slot: int, tag: int) -> None:
        """A whole answer has come."""
        step = exchange.steps[exchange.at] if exchange.at < len(exchange.steps) else None
        if tag == DELAYED and step is not None and step.tag != DELAYED:
            return
        if step is None or step.slot != slot or step.tag != tag:
            raise Wrong(f"the answer to {step and step.name} has the first byte {tag:#x}")
        exchange.at += 1
        self.go_on(exchange)

    # ---- the connection

    def _handshake(self) -> None:
        values = {frames.INITIAL_WINDOW_SIZE: WINDOW, frames.HEADER_TABLE_SIZE: 0}
        self._out.append(frames.PREFACE + frames.settings(values) + frames.window_update(0, WINDOW))
        while not self._ready:
            self.wait()

    def wait(self) -> None:
        """Send what is to be sent, and wait until something comes."""
        self.flush()
        self._poll.modify(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        if not self._poll.poll(PATIENCE * 1000):
            raise Wrong(f"nothing came for {PATIENCE:.0f} s; {len(self._by_sid)} streams are open")
        self.read()

    def flush(self) -> None:
        """Send what the socket takes."""
        while self._unsent or self._out:
            if not self._unsent:
                self._unsent = memoryview(b"".join(self._out))
                self._out.clear()
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except BlockingIOError:
                return

    def read(self) -> bool:
        """Handle what has come; False if nothing has."""
        try:
            data = self._socket.recv(READ)
        except BlockingIOError:
            return False
        if not data:
            raise Wrong("the server closed the connection")
        if self._rest:
            data = self._rest + data
        unpack, at, size = _HEAD.unpack_from, 0, len(data)
        while size - at >= 9:
            word, flags, sid = unpack(data, at)
            end = at + 9 + (word >> 8)
            if end > size:
                break
            if word & 0xFF == frames.DATA:
                self._on_data(sid, data, at + 9, end)
            else:
                self._on_frame(word & 0xFF, flags, sid, data[at + 9 : end])
            at = end
        self._rest = data[at:]
        if self._received > WINDOW // 4:
            self._out.append(frames.window_update(0, self._received))
            self._received = 0
        return True

    def _on_data(self, sid: int, data: bytes, at: int, end: int) -> None:
        self._received += end - at
        held = self._by_sid.get(sid)
        if held is None:
            return
        exchange, slot = held
        missing = exchange.missing
        while at < end:
            if not missing[slot]:
                # Both transports give a message's prefix in one piece, with the first byte or without.
                missing[slot] = length_at(data, at) + PREFIX_BYTES
                tag = data[at + PREFIX_BYTES] if end - at > PREFIX_BYTES else 0
                exchange.key = tag or -1
            elif exchange.key < 0:
                exchange.key = data[at]
            taken = min(missing[slot], end - at)
            missing[slot] -= taken
            at += taken
            if not missing[slot]:
                if not exchange.sent:
                    self._advance(exchange, slot, exchange.key)
                elif exchange.key == BODY:
                    self.delays.append(time.perf_counter() - exchange.sent.popleft())
                else:
                    raise Wrong(f"the answer to a paced event has the first byte {exchange.key:#x}")

    def _on_frame(self, kind: int, flags: int, sid: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._grant(sid, frames.WORD.unpack(payload)[0])
        elif kind == frames.HEADERS and flags & frames.END_STREAM:
            self._ended(sid, payload)
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            for name, value in frames.SETTING.iter_unpack(payload):
                if name == frames.INITIAL_WINDOW_SIZE:
                    self._stream_window = value
            self._out.append(frames.frame(frames.SETTINGS, frames.ACK))
            self._ready = True
        elif kind == frames.PING and not flags & frames.ACK:
            self._out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.GOAWAY or (kind == frames.RST_STREAM and sid in self._by_sid):
            raise Wrong(f"the server ended it: frame type {kind}, {payload!r}")

    def _ended(self, sid: int, block: bytes) -> None:
        held = self._by_sid.get(sid)
        if held is None:
            return
        if block not in self._good:
            fields = dict(self._decoder.decode(block, raw=True))
            if fields.get(b"grpc-status") != b"0":
                raise Wrong(f"a stream ended with {fields}")
            self._good.add(block)
        if not held[0].done:
            raise Wrong("the server ended a stream before its exchange was over")
        self._forget(sid)

    def _grant(self, sid: int, increment: int) -> None:
        if sid:
            if sid in self._windows:
                self._windows[sid] += increment
        else:
            self._window += increment
        for waiting in [sid] if sid else list(self._waiting):
            queue = self._waiting.pop(waiting, None)
            while queue:
                frame = queue.popleft()
                self.data(waiting, frame)
                if waiting in self._waiting:
                    self._waiting[waiting] += queue
                    break


def closed(
    client: Client, steps: Sequence[Step], streams: int, *, exchanges: float = math.inf, seconds: float = math.inf
) -> tuple[int, float]:
    """Keep *streams* exchanges in flight until so many have begun, or for so long; all are finished. Returns how many
    there were, and the seconds that they took. Raises Wrong."""
    began = time.perf_counter()
    client.finished = begun = 0
    while begun < exchanges and time.perf_counter() - began < seconds:
        while begun < exchanges and begun - client.finished < streams:
            client.begin(steps)
            begun += 1
        client.wait()
    while client.finished < begun:
        client.wait()
    return begun, time.perf_counter() - began


class Paced:
    """*streams* exchanges that are held open, one event of each every ``1 / rate`` seconds.

    The streams' phases are random: real models do not tick together. The client spins, so that an event leaves when it
    is due; ``late`` says how well that went. The delays are in the client.
    """

    def __init__(self, client: Client, script: Script, streams: int, rate: float = 50.0) -> None:
        self.late = array("d")
        """Seconds by which events left after they were due."""
        self._client = client
        self._script = script
        self._period = 1 / rate
        self._exchanges: list[Exchange] = []
        self._open(streams)
        dice = random.Random(7)
        phases = sorted(dice.random() * self._period for _ in self._exchanges)
        # Each event of a stream is the same: its frame can be built once.
        self._due = list(zip(phases, self._exchanges, map(self._frame, self._exchanges), strict=True))

    def _open(self, streams: int) -> None:
        # As far as the first event; the rest is sent by the clock.
        head = [*self._script.before, Step(self._script.events[0].slot, (), BODY, False, "paced")]
        while len(self._exchanges) < streams:
            some = [self._client.begin(head) for _ in range(min(16, streams - len(self._exchanges)))]
            while any(exchange.at < len(head) - 1 for exchange in some):
                self._client.wait()
            self._exchanges += some

    def _frame(self, exchange: Exchange) -> bytes:
        step = self._script.events[0]
        ((kind, flags, payload),) = step.frames
        return _HEAD.pack(len(payload) << 8 | kind, flags, exchange.sids[step.slot]) + payload

    def run(self, seconds: float, beside: Sequence[Step] = ()) -> int:
        """Send for so long. *beside*: an exchange to be begun each second. Returns how many events were sent."""
        client, clock = self._client, time.perf_counter
        begin, sent, slot = clock() + 0.01, 0, self._script.events[0].slot
        due_beside = begin if beside else math.inf
        for number in range(max(1, round(seconds / self._period))):
            start = begin + number * self._period
            for phase, exchange, frame in self._due:
                due = start + phase
                while (now := clock()) < due:
                    client.flush()
                    client.read()
                exchange.sent.append(now)
                self.late.append(now - due)
                client.data(exchange.sids[slot], frame)
                sent += 1
                if not sent & 31:
                    client.flush()
                    client.read()
            if start >= due_beside:
                client.begin(beside)
                due_beside += 1
        self._settle(clock() + 30)
        return sent

    def _settle(self, until: float) -> None:
        while any(exchange.sent for exchange in self._exchanges):
            if time.perf_counter() > until:
                raise Wrong("answers to paced events are missing")
            self._client.wait()

    def close(self) -> None:
        """End the streams."""
        client = self._client
        client.finished = 0
        for exchange in self._exchanges:
            exchange.steps = self._script.after
            exchange.at = 0
            client.go_on(exchange)
        while client.finished < len(self._exchanges):
            client.wait()
