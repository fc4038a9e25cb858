"""The scripted provider as an HTTP server."""

from __future__ import annotations

import http.client
import socket
import time
from contextlib import closing

import pytest

from extproc.demo.provider import Gate, ScriptedAnswer, ScriptedProvider, sse_answer

from .asking import ask
from .asking import provider as provider


@pytest.mark.rows("B39")
def test_records_what_it_receives(provider: ScriptedProvider) -> None:
    response = ask(provider, "POST", "/a?b=c", b'{"d": 1}')
    assert (response.status, response.read()) == (200, b'{"path":"/a?b=c"}')
    seen = provider.received[0]
    assert (seen.method, seen.path, seen.json()) == ("POST", "/a?b=c", {"d": 1})
    assert seen.header("content-length") == "8" and seen.header("nothing") is None


def test_reads_chunked_bodies(provider: ScriptedProvider) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=5)
    with closing(connection):
        connection.request("POST", "/", iter([b"ab", b"c"]), {"transfer-encoding": "chunked"}, encode_chunked=True)
        connection.getresponse().read()
    assert provider.received[0].body == b"abc"


def test_keeps_the_connection(provider: ScriptedProvider) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=5)
    with closing(connection):
        for _ in range(2):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b'{"path":"/"}'
            assert connection.sock is not None


@pytest.mark.parametrize("answer", [ScriptedAnswer([b"body"]), sse_answer([b"data: 1\n\n"])])
def test_an_answer_to_head_has_no_body(provider: ScriptedProvider, answer: ScriptedAnswer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=5)
    with closing(connection):
        provider.respond = lambda request: answer if request.method == "HEAD" else ScriptedAnswer([b"next"])
        connection.request("HEAD", "/")
        connection.getresponse().read()
        connection.request("DELETE", "/")
        assert connection.getresponse().read() == b"next"


def test_streams_by_its_own_boundaries(provider: ScriptedProvider) -> None:
    gate = Gate()
    provider.respond = lambda request: sse_answer([b"data: 1\n\n", gate, b"data: 2\n\n"])
    response = ask(provider)
    assert response.read1() == b"data: 1\n\n"
    gate.set()
    assert response.read() == b"data: 2\n\n"


@pytest.mark.parametrize(
    "answer", [sse_answer([b"data: 1\n\n"], ending="reset"), ScriptedAnswer([b"x"], ending="reset")]
)
def test_breaks_off(provider: ScriptedProvider, answer: ScriptedAnswer) -> None:
    provider.respond = lambda request: answer
    with pytest.raises(http.client.IncompleteRead):
        ask(provider).read()


def test_counts_readers_that_go_away(provider: ScriptedProvider) -> None:
    provider.respond = lambda request: sse_answer([b"data: 1\n\n", Gate()])
    raw = socket.create_connection(("127.0.0.1", provider.port))
    raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert raw.recv(4096)
    raw.close()
    until = time.monotonic() + 5
    while not provider.gone and time.monotonic() < until:
        time.sleep(0.01)
    assert (provider.gone, provider.open) == (1, 0)


def test_a_taken_port_is_said_at_once(provider: ScriptedProvider) -> None:
    with pytest.raises(OSError, match="in use"):
        ScriptedProvider(provider.respond, port=provider.port).start()
