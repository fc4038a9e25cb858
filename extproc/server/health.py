"""Asks a running server how it is, as the health checks of Envoy and Kubernetes do (``grpc.health.v1.Health``): one
call over HTTP/2, with the frames of our own server, so that no gRPC library need be there."""

from __future__ import annotations

import socket
import time

from hpack import Decoder, HPACKError

from ..envoy_api.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from .h2 import frames
from .h2.heads import block
from .h2.messages import PREFIX_BYTES, Status, prefixed

CHECK = "/grpc.health.v1.Health/Check"
MAX_ANSWER_BYTES = 64 * 1024
"""What is read at most: an answer is some dozens of bytes."""
_ANY = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
"""Where a server that listens on all addresses is asked."""


def check(address: str, seconds: float) -> str:
    """What the sidecar at *address* (``host:port`` or ``unix:/path``) says of itself: ``SERVING``, or why that is not
    so in one line. Waits *seconds* at most."""
    end = time.monotonic() + seconds
    try:
        with _connected(target(address), seconds) as connection:
            connection.sendall(_question())
            return _Answer().read(connection, end)
    except TimeoutError:
        return f"DEADLINE_EXCEEDED: no answer in {seconds:g} seconds"
    except (OSError, ValueError, HPACKError, frames.ConnectionFault) as error:
        return f"UNAVAILABLE: {error}"


def target(listening: str) -> str:
    """Where to call a server that was told to listen on *listening*."""
    if listening.startswith("unix:"):
        return listening
    host, _, port = listening.rpartition(":")
    return f"{_ANY.get(host, host)}:{port}"


def _connected(address: str, seconds: float) -> socket.socket:
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), seconds)
    path = address.removeprefix("unix:")
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(seconds)
    try:
        connection.connect(path[2:] if path.startswith("///") else path)
    except OSError:
        connection.close()
        raise
    return connection


def _question() -> bytes:
    head = block(
        (":method", "POST"), (":scheme", "http"), (":path", CHECK), (":authority", "localhost"),
        ("content-type", "application/grpc"), ("te", "trailers"),
    )  # fmt: skip
    message = prefixed(HealthCheckRequest().SerializeToString())
    return b"".join(
        (
            frames.PREFACE,
            frames.settings({frames.HEADER_TABLE_SIZE: 0}),
            frames.frame(frames.HEADERS, frames.END_HEADERS, 1, head),
            frames.frame(frames.DATA, frames.END_STREAM, 1, message),
        )
    )


class _Answer:
    """What comes back, until the call has ended."""

    def __init__(self) -> None:
        self._reader = frames.FrameReader()
        self._decoder = Decoder()
        self._data = b""
        self._fields: dict[str, str] = {}
        self._is_over = False

    def read(self, connection: socket.socket, end: float) -> str:
        size = 0
        while not self._is_over:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            received = connection.recv(16 * 1024)
            size += len(received)
            if not received or size > MAX_ANSWER_BYTES:
                raise ValueError("the connection was closed" if not received else "too long an answer")
            for kind, flags, stream, payload in self._reader.cut(received):
                if kind == frames.SETTINGS and not flags & frames.ACK:
                    connection.sendall(frames.frame(frames.SETTINGS, frames.ACK))
                elif not self._is_over:
                    self._take(kind, flags, stream, payload)
        return self._meaning()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == frames.GOAWAY:
            raise ValueError("the server is going away")
        if stream != 1:
            return
        if kind == frames.RST_STREAM:
            raise ValueError("the call was reset")
        if kind == frames.DATA:
            self._data += frames.unpadded(payload) if flags & frames.PADDED else payload
        elif kind == frames.HEADERS:
            for name, value in self._decoder.decode(payload):
                self._fields[str(name)] = str(value)
        if kind in (frames.DATA, frames.HEADERS):
            self._is_over = bool(flags & frames.END_STREAM)

    def _meaning(self) -> str:
        status = self._fields.get("grpc-status", "")
        if status != "0":
            known = {str(int(each)): each.name for each in Status}
            return f"{known.get(status, 'UNKNOWN')}: {self._fields.get('grpc-message', '')}"
        answer = HealthCheckResponse.FromString(self._data[PREFIX_BYTES:])
        return str(HealthCheckResponse.ServingStatus.Name(answer.status))
