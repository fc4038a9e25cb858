"""Records what Envoy sends to the sidecar during one exchange, frame by frame, to be replayed without Envoy.

A recording is made anew in each run, with the configuration and the sidecar that are being measured: it can not be out
of date.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import payloads
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from extproc.server.h2 import frames
from extproc.server.h2.messages import Inbox
from machine import Wrong
from rig import SHIPPED, Rig

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream, payload."""

EVENTS = 8
"""Deltas of a stream that is recorded; any number of them can be replayed."""


DELAYED = 0x52
"""The first byte of what asks Envoy for patience, and is no answer yet: to the first long request, while the process
starts that takes those, and to what waits for a service."""
MOST_BYTES = 128 * 1024 * 1024
"""Of one message."""


class Step(NamedTuple):
    """One message, or the end, of one stream of an exchange."""

    slot: int
    """Which stream: 0 is the router's, 1 the translator's, where there is one; they begin in that order."""
    frames: tuple[tuple[int, int, bytes], ...]
    """Type, flags, payload of the frames that carry it."""
    tag: int
    """The first byte of the answer, which says its kind; 0: there is no answer."""
    ends: bool
    """The stream is over for the server, too: it was reset."""
    name: str
    """What the message holds, for people and for ``Script``."""


@dataclass(frozen=True)
class Script:
    """An exchange: what comes before the events that repeat, they, what comes after them."""

    before: list[Step]
    events: list[Step] = field(default_factory=list)
    after: list[Step] = field(default_factory=list)

    def steps(self, events: int) -> list[Step]:
        """The exchange with *events* deltas, beside the first one."""
        return [*self.before, *(self.events[n % len(self.events)] for n in range(events)), *self.after]

    def only(self, slot: int) -> Script:
        """The exchange as if there were no other stream."""
        parts = ([step._replace(slot=0) for step in part if step.slot == slot] for part in self._parts())
        return Script(*parts)

    def _parts(self) -> tuple[list[Step], list[Step], list[Step]]:
        return self.before, self.events, self.after


class Tee:
    """A Unix socket before another one. ``connections`` holds what passed in both directions, True from the client."""

    def __init__(self, behind: str, path: Path) -> None:
        self.path = str(path)
        self.connections: list[list[tuple[bool, Frame]]] = []
        self._behind = behind
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._ends: list[socket.socket] = [self._listener]
        self._start(self._accept)

    def close(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _start(self, work: object, *args: object) -> None:
        threading.Thread(target=work, args=args, daemon=True).start()  # type: ignore[arg-type]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._behind)
                self._ends += [client, server]
                log: list[tuple[bool, Frame]] = []
                self.connections.append(log)
                self._start(self._pump, client, server, True, log)
                self._start(self._pump, server, client, False, log)

    def _pump(self, source: socket.socket, sink: socket.socket, client: bool, log: list[tuple[bool, Frame]]) -> None:
        reader, skip = frames.FrameReader(), len(frames.PREFACE) if client else 0
        with contextlib.suppress(OSError):
            while data := source.recv(2**18):
                # Written down first: what it causes must not be seen before it.
                with self._lock:
                    log += [(client, frame) for frame in reader.cut(data[skip:])]
                skip = max(0, skip - len(data))
                sink.sendall(data)


def record(
    rig: Rig, direction: payloads.Direction, bodies: dict[str, bytes], layout: str = SHIPPED
) -> dict[str, Script]:
    """What Envoy, configured as deploy/envoy.yaml has it, sends for each of *bodies*."""
    sidecar = rig.sidecar("h2")
    assert sidecar.socket is not None
    tee = Tee(sidecar.socket, rig.folder() / "tee.sock")
    envoy = rig.envoy(tee.path, layout=layout)
    try:
        # The first exchange of a connection has other header blocks than all that follow.
        _ask(envoy.port, direction, bodies[next(iter(bodies))])
        scripts = {}
        for name, body in bodies.items():
            marks = [len(log) for log in tee.connections]
            _ask(envoy.port, direction, body)
            scripts[name] = _script(_recorded(tee, marks))
        return scripts
    finally:
        envoy.stop()
        tee.close()
        sidecar.stop()


def _ask(port: int, direction: payloads.Direction, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", direction.client, body, {"content-type": "application/json", "authorization": "k"})
        response = connection.getresponse()
        said = response.read()
    stream = response.headers["content-type"].startswith("text/event-stream")
    if response.status != 200 or payloads.complete(direction.client, stream) not in said:
        raise Wrong(f"the exchange to be recorded went wrong: {response.status} {said[:300]!r}")


def _recorded(tee: Tee, marks: list[int]) -> list[tuple[bool, Frame]]:
    """What passed since *marks* on the connection that the exchange used, its streams' ends included."""
    until = time.monotonic() + 5
    while True:
        logs = [log[mark:] for log, mark in zip(tee.connections, marks, strict=False)]
        busiest = max(logs, key=lambda log: sum(frame[0] == frames.DATA for _, frame in log))
        begun = {stream for client, (kind, _, stream, _) in busiest if client and kind == frames.HEADERS}
        ended = {frame[2] for client, frame in busiest if client and _ends(frame)}
        if begun and begun <= ended:
            return busiest
        if time.monotonic() > until:
            raise Wrong("Envoy did not end the streams of an exchange")
        time.sleep(0.01)


def _ends(frame: Frame) -> bool:
    kind, flags = frame[:2]
    return kind == frames.RST_STREAM or (kind in (frames.HEADERS, frames.DATA) and bool(flags & frames.END_STREAM))


def _script(log: list[tuple[bool, Frame]]) -> Script:
    tags = _tags([frame for client, frame in log if not client])
    slots: dict[int, int] = {}
    held: dict[int, list[tuple[int, int, bytes]]] = defaultdict(list)
    steps: list[Step] = []
    for client, (kind, flags, stream, payload) in log:
        if not client or kind not in (frames.HEADERS, frames.DATA, frames.RST_STREAM):
            continue
        if kind == frames.HEADERS:
            slots[stream] = len(slots)
        if stream not in slots:
            continue  # the end of the exchange before
        held[stream].append((kind, flags, payload))
        name = _message(held[stream])
        if not name and not _ends((kind, flags, stream, payload)):
            continue
        tag = tags[stream].pop(0) if name else 0
        steps.append(Step(slots[stream], tuple(held.pop(stream)), tag, kind == frames.RST_STREAM, name))
    return _cut(steps)


def _cut(steps: list[Step]) -> Script:
    tokens = [at for at, step in enumerate(steps) if payloads.TOKEN in step.frames[-1][2]]
    if len(tokens) < EVENTS:
        return Script(steps)
    # The first delta is answered with more than the others: the model is known, the client's block begins. The last one
    # comes together with the stream's end.
    first, last = tokens[1], tokens[-1]
    return Script(steps[:first], steps[first:last], steps[last:])


def _message(held: list[tuple[int, int, bytes]]) -> str:
    """What the message in *held* holds; empty while it is not whole."""
    inbox = _inbox()
    for kind, _, payload in held:
        if kind == frames.DATA:
            inbox.feed(payload)
    message = inbox.next()
    return "" if message is None else str(ProcessingRequest.FromString(message).WhichOneof("request"))


def _tags(answers: list[Frame]) -> dict[int, list[int]]:
    """The first bytes of the answers of each stream."""
    inboxes: dict[int, Inbox] = defaultdict(_inbox)
    tags: dict[int, list[int]] = defaultdict(list)
    for kind, _, stream, payload in answers:
        if kind == frames.DATA:
            inboxes[stream].feed(payload)
            while (message := inboxes[stream].next()) is not None:
                if message[0] != DELAYED:
                    tags[stream].append(message[0])
    return tags


def _inbox() -> Inbox:
    return Inbox(MOST_BYTES, "")
