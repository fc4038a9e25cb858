"""Attacks on a sidecar of its own, and a witness that asks it something small all the while."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection as Line
from pathlib import Path

from extproc.demo.processes import Sidecar
from extproc.envoy_api.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from extproc.exchange.incoming import FILTER
from extproc.server.h2 import frames
from extproc.server.h2.heads import EMPTY_TABLE, block
from extproc.server.h2.messages import prefixed
from extproc.server.service import PROCESS
from tests.exchange.conversation import OPENAI, leaf
from tests.support.ports import free_port

from .others import Asked, Others

MIB = 1024 * 1024
MAX_BYTES = 512 * MIB
"""The limit of the container that the manifests ship."""
SECONDS = 3.0
SET = {"KEY": "k"}
HEAD = block(
    (":method", "POST"), (":scheme", "http"), (":path", PROCESS), (":authority", "x"),
    ("content-type", "application/grpc"),
)  # fmt: skip
HELLO = frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 30}) + frames.window_update(0, 1 << 30)
HI = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"%s"}]%s}'
F = frames.frame
Attack = Callable[[int], None]
"""What is done to a port."""
IMMEDIATE = b"\x3a"
"""The first byte of an answer in place of the upstream's."""


@dataclass
class Told:
    seconds: float
    peak_bytes: int
    others: list[Asked]
    """The exchanges that somebody else had meanwhile."""
    is_alive: bool
    most_seconds: float
    envoys_peak_bytes: int = 0
    cpu_seconds: float = 0.0
    """Of the sidecar: what the clock says depends on who else is on the machine."""

    def quantile(self, share: float) -> float:
        took = sorted(each.took for each in self.others) or [float("inf")]
        return took[min(int(len(took) * share), len(took) - 1)]

    @property
    def failed(self) -> int:
        """Of somebody else's exchanges."""
        return sum(not each.is_good for each in self.others)

    @property
    def is_within(self) -> bool:
        within = self.peak_bytes < MAX_BYTES and self.envoys_peak_bytes < 2 * MAX_BYTES
        return self.is_alive and within and self.quantile(1) < self.most_seconds


def opened(stream: int) -> bytes:
    return F(frames.HEADERS, frames.END_HEADERS, stream, (EMPTY_TABLE if stream == 1 else b"") + HEAD)


def exchange(stream: int, body: bytes) -> bytes:
    """All that a stream says before its request is answered."""
    head = ProcessingRequest()
    length = str(len(body)).encode()
    for name, value in ((":method", b"POST"), (":path", b"/v1/messages"), ("content-length", length)):
        head.request_headers.headers.headers.add(key=name, raw_value=value)
    head.attributes[FILTER].update(leaf(OPENAI))
    head.protocol_config.request_body_mode = ProcessingMode.BUFFERED
    whole = ProcessingRequest()
    whole.request_body.body = body
    whole.request_body.end_of_stream = True
    return opened(stream) + data_frames(stream, b"".join(prefixed(each.SerializeToString()) for each in (head, whole)))


def data_frames(stream: int, data: bytes) -> bytes:
    return b"".join(F(frames.DATA, 0, stream, data[at : at + 16384]) for at in range(0, len(data), 16384))


def connected(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), 10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.sendall(HELLO + F(frames.SETTINGS, frames.ACK))
    return made


def heard(connection: socket.socket, until: Callable[[int, int], bool]) -> None:
    """Read frames until one is the one that is waited for, by its kind and stream."""
    reader = frames.FrameReader()
    while received := connection.recv(65536):
        windows = b""
        for kind, flags, stream, payload in reader.cut(received):
            if kind == frames.SETTINGS and not flags & frames.ACK:
                windows += F(frames.SETTINGS, frames.ACK)
            if until(kind, stream) or (kind == frames.HEADERS and flags & frames.END_STREAM and until(-1, stream)):
                return
            if kind == frames.DATA and payload:
                windows += frames.window_update(0, len(payload))
        if windows:
            connection.sendall(windows)
    raise ConnectionError


def others(line: Line) -> Iterator[bool]:
    """One small exchange after another on a connection of their own, at the port that they are told."""
    port = line.recv()
    while True:
        try:
            with connected(port) as connection:
                connection.settimeout(30)
                for stream in range(1, 10_001, 2):
                    connection.sendall(exchange(stream, HI % (b"hi", b"")))
                    heard(connection, lambda kind, on, this=stream: kind in (frames.DATA, -1) and on == this)  # type: ignore[misc]
                    yield True
                    connection.sendall(F(frames.RST_STREAM, 0, stream, bytes(4)))
        except OSError:
            yield False


class Client:
    """Exchanges, sent as the windows allow, as Envoy does."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.initial = frames.DEFAULT_WINDOW
        self.windows = {0: frames.DEFAULT_WINDOW}
        self.moved = threading.Condition()
        self.is_over = False
        self.ended = set[int]()
        self.answers = Counter[int]()

    def listen(self) -> None:
        reader = frames.FrameReader()
        with contextlib.suppress(OSError):
            while not self.is_over and (received := self.connection.recv(65536)):
                for each in reader.cut(received):
                    self.take(*each)
        with self.moved:
            self.is_over = True
            self.moved.notify()

    def take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        with self.moved:
            if kind == frames.WINDOW_UPDATE:
                self.windows[stream] = self.windows.get(stream, self.initial) + frames.WORD.unpack(payload)[0]
            elif kind == frames.SETTINGS and not flags & frames.ACK:
                initial = dict(frames.SETTING.iter_unpack(payload)).get(frames.INITIAL_WINDOW_SIZE, self.initial)
                for each in self.windows.keys() - {0}:
                    self.windows[each] += initial - self.initial
                self.initial = initial
            elif kind == frames.DATA:
                self.answers[stream] += 1
                if payload[5:6] == IMMEDIATE:
                    # Envoy ends such a stream.
                    self.ended.add(stream)
            elif kind == frames.RST_STREAM or (kind == frames.HEADERS and flags & frames.END_STREAM):
                self.ended.add(stream)
            self.is_over |= kind == frames.GOAWAY
            self.moved.notify()

    def send(self, wire: bytes) -> None:
        for kind, flags, stream, payload in frames.FrameReader().cut(wire):
            if kind == frames.DATA:
                with self.moved:
                    self.windows.setdefault(stream, self.initial)
                    while min(self.windows[0], self.windows[stream]) < len(payload) and not self.is_gone(stream):
                        if not self.moved.wait(30):
                            return
                    for each in (0, stream):
                        self.windows[each] -= len(payload)
            if self.is_gone(stream):
                return
            self.connection.sendall(F(kind, flags, stream, payload))

    def is_gone(self, stream: int) -> bool:
        return self.is_over or stream in self.ended

    def hear(self, stream: int) -> None:
        """Wait for the whole answer to the body, or the end."""
        with self.moved:
            self.moved.wait_for(lambda: self.is_gone(stream) or self.answers[stream] > 1, 30)


def requests(body: bytes, clients: int) -> Attack:
    """*clients* who send the same request at once, and take what comes."""

    def attack(port: int) -> None:
        wire = exchange(1, body)

        def one() -> None:
            with contextlib.suppress(OSError), connected(port) as connection:
                connection.settimeout(60)
                client = Client(connection)
                threading.Thread(target=client.listen, daemon=True).start()
                client.send(wire)
                client.hear(1)
                client.is_over = True
                # Else it is open as long as somebody listens.
                connection.shutdown(socket.SHUT_RDWR)

        at_once(one, clients)

    return attack


def flood(said: bytes, connections: int = 4) -> Attack:
    """The same bytes over and over; who is cut off comes again."""

    def attack(port: int) -> None:
        end = time.monotonic() + SECONDS

        def one() -> None:
            while time.monotonic() < end:
                with contextlib.suppress(OSError), connected(port) as connection:
                    connection.settimeout(1)
                    connection.sendall(opened(1))
                    while time.monotonic() < end:
                        connection.sendall(said)

        at_once(one, connections)

    return attack


def unfinished(connections: int, size: int) -> Attack:
    """Messages that are begun and never end."""

    def attack(port: int) -> None:
        def one() -> None:
            with contextlib.suppress(OSError), connected(port) as connection:
                connection.settimeout(2)
                connection.sendall(opened(1) + F(frames.DATA, 0, 1, prefixed(bytes(70 * MIB))[:5]))
                for _ in range(size // 16384):
                    connection.sendall(F(frames.DATA, 0, 1, bytes(16384)))
                time.sleep(SECONDS)

        at_once(one, connections)

    return attack


def idle(connections: int) -> Attack:
    def attack(port: int) -> None:
        held = []
        for _ in range(connections):
            with contextlib.suppress(OSError):
                held.append(connected(port))
        time.sleep(SECONDS)
        for each in held:
            each.close()

    return attack


def silent(connections: int, streams: int) -> Attack:
    """Streams on which nothing comes."""
    many = b"".join(opened(stream) for stream in range(1, 2 * streams, 2))

    def attack(port: int) -> None:
        def one() -> None:
            with contextlib.suppress(OSError), connected(port) as connection:
                connection.sendall(many)
                time.sleep(SECONDS)

        at_once(one, connections)

    return attack


def waiting(connections: int, streams: int, size: int, *, routes: bool = False) -> Attack:
    """Streams whose first message is long, each another, and behind which no body comes. *routes*: what is long in it
    is the route's text, else a header."""

    def attack(port: int) -> None:
        def one(which: int) -> None:
            with contextlib.suppress(OSError), connected(port) as connection:
                connection.settimeout(30)
                client = Client(connection)
                threading.Thread(target=client.listen, daemon=True).start()
                for stream in range(1, 2 * streams, 2):
                    text = f"{which}.{stream}." + "x" * size
                    client.send(opened(stream) + first(stream, text if routes else "", "" if routes else text))
                time.sleep(SECONDS)

        numbers = iter(range(connections))
        at_once(lambda: one(next(numbers)), connections)

    return attack


def first(stream: int, route: str, header: str) -> bytes:
    head = ProcessingRequest()
    for name, value in (
        (":method", b"POST"),
        (":path", b"/v1/messages"),
        ("x-long", header.encode()),
        ("content-length", b"10"),
    ):
        head.request_headers.headers.headers.add(key=name, raw_value=value)
    head.attributes[FILTER].update(leaf(f"{OPENAI}\n# {route}" if route else OPENAI))
    head.protocol_config.request_body_mode = ProcessingMode.BUFFERED
    return data_frames(stream, prefixed(head.SerializeToString()))


def at_once(what: Callable[[], None], times: int) -> None:
    threads = [threading.Thread(target=what, daemon=True) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)


SETTINGS = F(frames.SETTINGS, payload=b"".join(frames.SETTING.pack(4, 65535 - n % 2) for n in range(2730)))
ATTACKS: dict[str, tuple[Callable[[], Attack], float]] = {
    # Beside each: seconds that others may wait. One body is handled at once, which takes as long as it takes.
    "30 MB of text, 4 clients": (lambda: requests(HI % (b"x" * 30_000_000, b""), 4), 5.0),
    "60 MB of [], 4 clients": (lambda: requests(HI % (b"hi", b',"metadata":[' + b"[]," * 20_000_000 + b"1]"), 4), 5.0),
    "10 MB of members": (
        lambda: requests(HI % (b"hi", b"," + b",".join(b'"%x":0' % n for n in range(1_000_000))), 2),
        20.0,
    ),
    "12 MB of wide characters": (lambda: requests(HI % (b"\xf0\x9f\x98\x80" * 3_000_000, b""), 4), 5.0),
    "40 messages begun, 60 MB each": (lambda: unfinished(40, 60 * MIB), 2.0),
    "1500 idle connections": (lambda: idle(1500), 1.0),
    "3 x 17000 silent streams": (lambda: silent(3, 17_000), 2.0),
    "4 x 1000 heads of 120 KB": (lambda: waiting(4, 1000, 120_000), 5.0),
    "4 x 1000 routes of 120 KB": (lambda: waiting(4, 1000, 120_000, routes=True), 5.0),
    "DATA of one byte": (lambda: flood(F(frames.DATA, 0, 1, b"\0") * 2000), 1.0),
    "empty messages": (lambda: flood(F(frames.DATA, 0, 1, b"\0\0\0\0\0" * 3276)), 1.0),
    "WINDOW_UPDATE": (lambda: flood(frames.window_update(1, 1) * 2000), 1.0),
    "RST of a stream that is over": (lambda: flood(F(frames.RST_STREAM, 0, 1, bytes(4)) * 2000), 1.0),
    "SETTINGS of 2730 entries": (lambda: flood(SETTINGS), 1.0),
    "PING": (lambda: flood(F(frames.PING, 0, 0, bytes(8)) * 500), 1.0),
}


def family(pid: int) -> list[int]:
    """A process and those that it has started itself: a sidecar's for long calls."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split())]


def cpu_seconds(pid: int) -> float:
    stats = [Path(f"/proc/{each}/stat").read_text("utf-8").rpartition(")")[2].split() for each in family(pid)]
    return sum(int(ticks) for fields in stats for ticks in fields[11:13]) / os.sysconf("SC_CLK_TCK")


def peak(pid: int) -> int:
    """Bytes that a process and its own have had at most: of each, whenever that was."""
    texts = [Path(f"/proc/{each}/status").read_text("utf-8") for each in family(pid)]
    return sum(int(found[1]) * 1024 for text in texts if (found := re.search(r"VmHWM:\s+(\d+)", text)))


def carried_out(folder: Path, name: str) -> Told:
    """What came of the attack *name* on a sidecar of its own."""
    made, most = ATTACKS[name]
    attack = made()
    with Sidecar(folder, address=f"127.0.0.1:{free_port()}", environ=SET) as sidecar, Others(others) as witness:
        port = int(sidecar.address.rpartition(":")[2])
        witness.line.send(port)
        witness.warm()
        began = time.monotonic()
        attack(port)
        time.sleep(0.5)
        seconds = time.monotonic() - began
        alive = sidecar.alive()
        cpu, most_bytes = (cpu_seconds(sidecar.pid), peak(sidecar.pid)) if alive else (0.0, 0)
        seen = witness.seen(began)
        return Told(seconds, most_bytes, seen, sidecar.alive(), most, cpu_seconds=cpu)
