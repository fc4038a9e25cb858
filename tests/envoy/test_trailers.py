"""Answers that end in trailers, which only an HTTP/2 upstream sends through Envoy."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from extproc.demo.processes import Envoy
from tests.support import placements
from tests.support.gateway import PLACEMENTS, Backends, Gateway, configured
from tests.support.upstream import chat, chat_stream

ENDED = chat_stream({"content": "hi"}).chunks
WHOLE = chat("hi").chunks


class TrailingUpstream:
    """An HTTP/2 server whose every answer is *chunks*, then trailers."""

    def __init__(self) -> None:
        self.chunks: Sequence[Any] = ()
        self.content_type = ""
        self.pause = 0.0
        """Seconds before the trailers."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                threading.Thread(target=self._speak, args=(peer,), daemon=True).start()

    def _speak(self, peer: socket.socket) -> None:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http.initiate_connection()
        with peer, contextlib.suppress(OSError):
            peer.sendall(http.data_to_send())
            while data := peer.recv(65536):
                for event in http.receive_data(data):
                    if isinstance(event, h2.events.StreamEnded):
                        self._answer(peer, http, event.stream_id)
                peer.sendall(http.data_to_send())

    def _answer(self, peer: socket.socket, http: h2.connection.H2Connection, stream: int) -> None:
        http.send_headers(stream, [(":status", "200"), ("content-type", self.content_type)])
        for chunk in self.chunks:
            http.send_data(stream, chunk)
        if self.pause:
            peer.sendall(http.data_to_send())
            time.sleep(self.pause)
        http.send_headers(stream, [("x-checksum", "1")], end_stream=True)


@pytest.fixture(scope="module", params=PLACEMENTS)
def trailing(request: pytest.FixtureRequest, shared: Backends) -> Iterator[tuple[Gateway, TrailingUpstream]]:
    upstream = TrailingUpstream()
    folder: Path = shared.new_folder(f"trailers-{request.param}")
    config = configured(shared, request.param, folder / "access.log")
    cluster = placements.clusters(config)["openai"]
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"]["socket_address"]["port_value"] = upstream.port
    placements.http_options(cluster)["explicit_http_config"] = {"http2_protocol_options": {}}
    with Envoy(folder, config) as envoy:
        yield Gateway(request.param, envoy, shared, folder / "access.log"), upstream
    upstream.close()


def test_a_whole_answer(trailing: tuple[Gateway, TrailingUpstream]) -> None:
    gateway, upstream = trailing
    upstream.chunks, upstream.content_type = WHOLE, "application/json"
    reply = gateway.messages("gpt-5")
    assert (reply.status, reply.json["content"]) == (200, [{"type": "text", "text": "hi"}])


def test_a_stream_closed_by_its_own_end(trailing: tuple[Gateway, TrailingUpstream]) -> None:
    gateway, upstream = trailing
    upstream.chunks, upstream.content_type = ENDED, "text/event-stream"
    reply = gateway.messages("gpt-5", stream=True)
    assert reply.status == 200 and not reply.broken
    assert reply.body.rstrip().endswith(b'{"type":"message_stop"}')


def test_a_stream_cut_before_its_end_never_looks_complete(trailing: tuple[Gateway, TrailingUpstream]) -> None:
    gateway, upstream = trailing
    upstream.chunks, upstream.content_type = ENDED[:1], "text/event-stream"
    upstream.pause = 0.3
    try:
        reply = gateway.messages("gpt-5", stream=True)
    finally:
        upstream.pause = 0.0
    assert reply.status == 200 and reply.broken
    assert b"message_stop" not in reply.body


def test_a_stream_cut_before_anything_reached_the_client_is_an_error(
    trailing: tuple[Gateway, TrailingUpstream],
) -> None:
    gateway, upstream = trailing
    upstream.chunks, upstream.content_type = ENDED[:1], "text/event-stream"
    reply = gateway.messages("gpt-5", stream=True)
    assert reply.broken or (reply.status == 502 and reply.json["type"] == "error")
