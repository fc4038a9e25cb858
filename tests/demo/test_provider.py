"""The scripted provider as an HTTP server."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest

from extproc.demo import as_anthropic, as_openai
from extproc.demo.provider import Gate, ScriptedAnswer, ScriptedProvider, json_answer, sse_answer


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(lambda request: json_answer({"path": request.path})) as made:
        yield made


def ask(
    provider: ScriptedProvider, method: str = "POST", path: str = "/x", body: Any = b"{}"
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=5)
    connection.request(method, path, body, encode_chunked=not isinstance(body, bytes | None))
    return connection.getresponse()


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


WEATHER = "Paris and Oslo?"
CHAT_TOOL = {"type": "function", "function": {"name": "get_weather"}}


@pytest.mark.parametrize("stream", [False, True])
def test_openai_calls_a_tool_that_reads_and_no_other(provider: ScriptedProvider, stream: bool) -> None:
    provider.respond = as_openai.answer
    for name, called in (("get_weather", True), ("delete_everything", False)):
        tool = {"type": "function", "function": {"name": name}}
        asked = {"model": "m", "messages": [{"role": "user", "content": WEATHER}], "tools": [tool]}
        assert ('"finish_reason":"tool_calls"' in said(provider, asked, stream)) is called


@pytest.mark.parametrize(
    ("respond", "asked"),
    [
        (as_openai.answer, {"messages": [{"role": "user", "content": WEATHER}], "tools": [CHAT_TOOL]}),
        (as_anthropic.answer, {"messages": [{"role": "user", "content": WEATHER}], "tools": [{"name": "get_weather"}]}),
    ],
)
def test_one_call_for_each_city(provider: ScriptedProvider, respond: Any, asked: dict[str, Any]) -> None:
    provider.respond = respond
    text = said(provider, {"model": "m", **asked}, False)
    assert text.count("get_weather") == 2 and "Paris" in text and "Oslo" in text


def test_a_request_that_it_cannot_read_is_refused(provider: ScriptedProvider) -> None:
    for respond in (as_openai.answer, as_anthropic.answer):
        provider.respond = respond
        assert ask(provider, body=b"[]").status == 400


def said(provider: ScriptedProvider, body: dict[str, Any], stream: bool) -> str:
    return ask(provider, body=msgspec.json.encode({**body, "stream": stream})).read().decode()
