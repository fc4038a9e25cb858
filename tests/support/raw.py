"""Requests as bytes: what no client's library would send."""

from __future__ import annotations

import re
import socket
from contextlib import closing


def raw(port: int, data: bytes) -> tuple[int, bytes]:
    """The status and the body that come for *data*, as bytes on a connection of its own; status 0: not a byte came."""
    with closing(socket.create_connection(("127.0.0.1", port), 10)) as connection:
        connection.sendall(data)
        got = b""
        while chunk := connection.recv(65536):
            got += chunk
    head, _, body = got.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.\d (\d+)", head)
    return (int(found[1]) if found else 0), body


def not_reading(port: int, body: bytes, times: int = 1) -> socket.socket:
    """A client that asks the Messages API *body*, so many times, and reads nothing of what comes, to be closed by who
    has it."""
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        client.connect(("127.0.0.1", port))
        client.sendall((head.encode() + b"\r\n\r\n" + body) * times)
    except OSError:
        client.close()
        raise
    return client
