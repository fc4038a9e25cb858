"""Servers on one's own machine that close each connection after one answer, as llama.cpp's does after a stream."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from extproc.demo.processes import Envoy
from extproc.reference import config as envoy_config
from tests.support import placements
from tests.support.gateway import Backends, Gateway
from tests.support.upstream import chat_stream

EXAMPLE = Path(__file__).parents[2] / "examples" / "claude-code-vllm" / "envoy.yaml"


class ClosesAfterOne:
    """Answers one request a connection, announces nothing, and closes when the next one begins: the moment at which a
    client that believes in the connection loses its request."""

    def __enter__(self) -> ClosesAfterOne:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            got = b""
            while b"\r\n\r\n" not in got:
                got += connection.recv(65536)
            head, _, body = got.partition(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", head.lower())
            while found and len(body) < int(found[1]):
                body += connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            for chunk in chat_stream({"content": "hi"}).chunks:
                assert isinstance(chunk, bytes)
                connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            connection.sendall(b"0\r\n\r\n")
            connection.recv(1)


def configured(shared: Backends, port: int, *, careful: bool) -> dict[str, Any]:
    config = envoy_config.load(EXAMPLE)
    assert shared.sidecar.socket
    made = envoy_config.rewrite(config, sidecar=shared.sidecar.socket, upstreams={"127.0.0.1": ("127.0.0.1", port)})
    if not careful:
        del placements.http_options(placements.clusters(made)["vllm"])["common_http_protocol_options"]
    return made


@pytest.mark.rows("F15")
@pytest.mark.parametrize("careful", [True, False])
def test_every_request_is_answered_where_a_connection_is_used_once(
    shared: Backends, tmp_path: Path, careful: bool
) -> None:
    with ClosesAfterOne() as server, Envoy(tmp_path, configured(shared, server.port, careful=careful)) as envoy:
        gateway = Gateway("listener", envoy, shared, tmp_path)
        seen = Counter(gateway.messages("m", stream=True).status for _ in range(12))
    if careful:
        assert seen == {200: 12} and server.connections == 12
    else:
        assert seen[200] < 12, "else the setting would not be needed"
