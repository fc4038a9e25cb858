"""A scripted provider: an HTTP/1.1 server on loopback that records each request and answers as it is told.

It stands for OpenAI, Anthropic and whoever else in the demo and in the tests: whole answers, streams with chosen
boundaries and pauses, errors, answers that break off. One event loop in a thread carries thousands of streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

import msgspec

HeaderFields = tuple[tuple[str, str], ...]

MAX_HEAD_BYTES = 256 * 1024
MAX_BODY_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Received:
    """One request as it reached the provider; header names in lower case."""

    method: str
    path: str
    headers: HeaderFields
    body: bytes
    at: float = field(default_factory=time.monotonic)

    def header(self, name: str) -> str | None:
        """The values of *name*, joined with commas; None without one."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Gate(threading.Event):
    """A place in an answer where the provider waits until the gate is set."""


@dataclass(frozen=True)
class ScriptedAnswer:
    """What to answer. More than one chunk, or ``stream``, is sent in HTTP chunks; else with a content-length.

    ``pause`` is waited before each chunk and ``delay`` before the head, in seconds. ``ending``: how the body ends:
    "whole" as HTTP wants it; "reset" with the connection closed before the end is announced. ``trailers`` need HTTP
    chunks.
    """

    chunks: Sequence[bytes | Gate] = ()
    status: int = 200
    headers: HeaderFields = (("content-type", "application/json"),)
    stream: bool = False
    pause: float = 0.0
    delay: float = 0.0
    ending: Literal["whole", "reset"] = "whole"
    trailers: HeaderFields = ()


Respond = Callable[[Received], ScriptedAnswer]


def json_answer(value: Any, status: int = 200, headers: HeaderFields = ()) -> ScriptedAnswer:
    """*value* as a whole JSON answer."""
    return ScriptedAnswer([msgspec.json.encode(value)], status, (("content-type", "application/json"), *headers))


def sse_answer(
    chunks: Sequence[bytes | Gate],
    *,
    headers: HeaderFields = (),
    pause: float = 0.0,
    ending: Literal["whole", "reset"] = "whole",
    trailers: HeaderFields = (),
) -> ScriptedAnswer:
    """*chunks* of an event stream, each written by itself."""
    head = (("content-type", "text/event-stream"), ("cache-control", "no-cache"), *headers)
    return ScriptedAnswer(chunks, 200, head, stream=True, pause=pause, ending=ending, trailers=trailers)


class ScriptedProvider:
    """A provider that runs in a thread of its own between ``start`` and ``stop`` (or in a ``with`` block).

    *respond* is called in that thread with each request. ``received`` keeps the last *keep* requests, ``gone`` counts
    answers whose reader went away before their end.
    """

    def __init__(self, respond: Respond, *, host: str = "127.0.0.1", port: int = 0, keep: int = 10_000) -> None:
        self.respond = respond
        self.host = host
        self.port = port
        self.received: list[Received] = []
        self.gone = 0
        self.open = 0
        self._keep = keep
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="provider", daemon=True)
        self._up = threading.Event()
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: OSError | None = None

    def start(self) -> ScriptedProvider:
        """Listen. Raises OSError when the address cannot be had."""
        self._thread.start()
        self._up.wait()
        if self._failure:
            raise self._failure
        return self

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def __enter__(self) -> ScriptedProvider:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        try:
            server = await asyncio.start_server(
                self._connected, self.host, self.port, limit=MAX_HEAD_BYTES, backlog=4096
            )
        except OSError as error:
            self._failure = error
            self._up.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._stopping.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. False when the connection is done."""
        request = await _read_request(reader)
        if request is None:
            return False
        self.received.append(request)
        del self.received[: -self._keep]
        self.open += 1
        whole = False
        try:
            answer = self.respond(request)
            await _write_answer(answer, request.method, reader, writer)
            whole = True
        finally:
            self.open -= 1
            self.gone += not whole
        return answer.ending == "whole"


async def _read_request(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
    fields = dict(headers)
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunked(reader)
    else:
        body = await reader.readexactly(min(int(fields.get("content-length", "0")), MAX_BODY_BYTES))
    return Received(method, path, headers, body)


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while (await reader.readline()).strip():  # trailers
        pass
    return b"".join(parts)


async def _write_answer(
    answer: ScriptedAnswer, method: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Write *answer*. Raises ConnectionError when the other side closes before its end."""
    await _pause(answer.delay, reader, writer)
    chunked = answer.stream or len(answer.chunks) > 1
    status = f"HTTP/1.1 {answer.status} {_reason(answer.status)}\r\n"
    length = "transfer-encoding: chunked" if chunked else f"content-length: {_promised(answer)}"
    fields = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
    writer.write(f"{status}{fields}{length}\r\n\r\n".encode("latin-1"))
    if method == "HEAD":  # a body would be read as the next answer on this connection
        await writer.drain()
        return
    for chunk in answer.chunks:
        await _pause(answer.pause, reader, writer)
        if isinstance(chunk, Gate):
            while not chunk.is_set():
                await _pause(0.01, reader, writer)
        elif chunk:
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
        await writer.drain()
    if answer.ending == "reset":
        # What is already written must arrive first, so that the break is seen in the middle of the body.
        await writer.drain()
        await _pause(answer.pause, reader, writer)
        return
    if chunked:
        trailers = "".join(f"{name}: {value}\r\n" for name, value in answer.trailers)
        writer.write(f"0\r\n{trailers}\r\n".encode("latin-1"))
    await writer.drain()


def _promised(answer: ScriptedAnswer) -> int:
    # An answer that breaks off has promised more than it sends.
    return sum(len(chunk) for chunk in answer.chunks if isinstance(chunk, bytes)) + (answer.ending == "reset")


async def _pause(seconds: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait, and notice meanwhile that the other side has gone: it has nothing more to send, so any end is its going."""
    if seconds <= 0:
        return
    deadline = asyncio.get_running_loop().time() + seconds
    while (left := deadline - asyncio.get_running_loop().time()) > 0:
        if reader.at_eof() or writer.is_closing():
            raise ConnectionResetError("the reader went away")
        await asyncio.sleep(min(left, 0.05))


def _reason(status: int) -> str:
    with contextlib.suppress(ValueError):
        return HTTPStatus(status).phrase
    return "Status"
