"""Attacks that any client can make, through an Envoy with the shipped configuration, and a witness beside it."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection as Line
from pathlib import Path
from typing import Any

import zstandard

from extproc.demo.processes import Envoy, Sidecar
from extproc.demo.provider import Received, ScriptedAnswer, ScriptedProvider, json_answer, sse_answer
from extproc.reference import config
from tests.support import placements
from tests.support.raw import not_reading
from tests.support.upstream import chat, events, message

from .attacks import HI, MAX_BYTES, MIB, SET, Attack, Told, at_once, cpu_seconds, peak
from .others import Others

ROOT = Path(__file__).parent.parent.parent

ENVOY_BYTES = 1024 * MIB
"""The limit of Envoy's container in the manifests."""
MESSAGES, CHAT, RESPONSES = "/v1/messages", "/v1/chat/completions", "/v1/responses"
HEAD = f"POST {MESSAGES} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def answers(request: Received) -> ScriptedAnswer:
    """Something small; to who asks for ``endless`` a stream that has no end worth waiting for."""
    if b"endless" not in request.body[:2000]:
        return chat("hi")
    (one,) = events({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                     "choices": [{"index": 0, "delta": {"content": "x" * 60_000}, "finish_reason": None}]})  # fmt: skip
    return sse_answer([one] * 500)


def asked(port: int, path: str, body: bytes, headers: dict[str, str] | None = None, patience: float = 30) -> int:
    """The status of one exchange; 0 if the connection broke."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("POST", path, body, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    return 0


def bodies(path: str, body: bytes, clients: int, encoding: str = "") -> Attack:
    """*clients* who ask the same at once."""
    headers = {"content-encoding": encoding} if encoding else {}

    def one(port: int) -> None:
        asked(port, path, body, headers)

    return lambda port: at_once(lambda: one(port), clients)


def in_chunks(body: bytes, clients: int) -> Attack:
    """Bodies whose length nobody knows until they have come."""
    whole = b"".join(b"10000\r\n%s\r\n" % body[at : at + 65536] for at in range(0, len(body) - 65536, 65536))

    def one(port: int) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.settimeout(60)
            connection.sendall(f"{HEAD}transfer-encoding: chunked\r\n\r\n".encode() + whole + b"0\r\n\r\n")
            connection.recv(65536)

    return lambda port: at_once(lambda: one(port), clients)


def half_bodies(clients: int, size: int, seconds: float) -> Attack:
    """Bodies of which half comes, and then nothing."""

    def one(port: int) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(f"{HEAD}content-length: {size}\r\n\r\n".encode() + bytes(size // 2))
            time.sleep(seconds)

    return lambda port: at_once(lambda: one(port), clients)


def unread(clients: int, seconds: float) -> Attack:
    """Long streams that nobody reads."""
    body = HI % (b"endless", b',"stream":true')

    def one(port: int) -> None:
        with contextlib.suppress(OSError), not_reading(port, body):
            time.sleep(seconds)

    return lambda port: at_once(lambda: one(port), clients)


def many_small(clients: int, each: int) -> Attack:
    """Requests of the Responses API whose tools and instructions the answer repeats."""
    tools = [{"type": "function", "name": f"f{i}", "parameters": {"type": "object"}} for i in range(2000)]
    body = json.dumps({"model": BY_CHAT, "input": "hi", "store": False, "tools": tools}).encode()

    def one(port: int) -> None:
        for _ in range(each):
            asked(port, RESPONSES, body)

    return lambda port: at_once(lambda: one(port), clients)


def reversed_results(count: int) -> bytes:
    calls = [{"type": "tool_use", "id": f"t{i}", "name": "f", "input": {}} for i in range(count)]
    results = [{"type": "tool_result", "tool_use_id": f"t{i}", "content": "r"} for i in reversed(range(count))]
    asked, answer = {"role": "user", "content": "hi"}, {"role": "assistant", "content": calls}
    said: list[Any] = [asked, answer, {"role": "user", "content": results}]
    return json.dumps({"model": "gpt-5", "max_tokens": 9, "messages": said}).encode()


def long_names(clients: int, each: int, size: int) -> Attack:
    """Names of headers and of the query's parameters, all long and none like another."""
    body = HI % (b"hi", b"")

    def one(port: int) -> None:
        for _ in range(each):
            name = uuid.uuid4().hex * (size // 64)
            asked(port, f"{MESSAGES}?{name}=1", body, {f"x-{name}": "1"})

    return lambda port: at_once(lambda: one(port), clients)


def waiting_heads(clients: int, size: int, seconds: float) -> Attack:
    """Long headers of requests whose bodies do not come."""
    head = f"{HEAD}content-length: 10\r\nx-long: {'x' * size}\r\n\r\n".encode()

    def attack(port: int) -> None:
        held = []
        for _ in range(clients):
            with contextlib.suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", port), 10))
                held[-1].settimeout(2)
                held[-1].sendall(head)
        time.sleep(seconds)
        for each in held:
            each.close()

    return attack


def bomb(size: int) -> bytes:
    return HI % (b"x" * size, b"")


SECONDS = 5.0
BY_CHAT = "gpt-5-by-chat"
"""A model that the Chat API is spoken with, whatever the client speaks."""
KEYS = {**SET, "OPENAI_API_KEY": "key-of-openai", "ANTHROPIC_API_KEY": "key-of-anthropic"}
WHO = "x-who"
THEIRS = HI.replace(b'"m"', b'"claude-haiku-4-5"') % (b"hi", b"")
HI = HI.replace(b'"m"', b'"gpt-5"')
ATTACKS: dict[str, Callable[[], Attack]] = {
    "30 MB of text, 8 clients": lambda: bodies(MESSAGES, bomb(30_000_000), 8),
    "60 MB of [], 8 clients": lambda: bodies(MESSAGES, HI % (b"hi", b',"metadata":[' + b"[]," * 20_000_000 + b"1]"), 8),
    "12 MB of escapes, 4 clients": lambda: bodies(MESSAGES, HI % (b"\\ud83d\\ude00" * 1_000_000, b""), 4),
    "50,000 results in reverse": lambda: bodies(MESSAGES, reversed_results(50_000), 2),
    "deep nesting, 8 clients": lambda: bodies(CHAT, HI % (b"hi", b',"x":' + b"[" * 2_000_000 + b"]" * 2_000_000), 8),
    "gzip bombs, 20 clients": lambda: bodies(MESSAGES, gzip.compress(bomb(60_000_000)), 20, "gzip"),
    "zstd bombs, 20 clients": lambda: bodies(MESSAGES, zstandard.compress(bomb(200_000_000)), 20, "zstd"),
    "60 MB in chunks, 30 clients": lambda: in_chunks(bomb(60_000_000), 30),
    "half bodies of 40 MB, 30 clients": lambda: half_bodies(30, 40_000_000, SECONDS),
    "unread streams of 30 MB, 40": lambda: unread(40, SECONDS),
    "the same, without upstream filters": lambda: unread(40, SECONDS),
    "tools that answers repeat, 16 x 20": lambda: many_small(16, 20),
    "names of 50 KB, 8 x 200": lambda: long_names(8, 200, 50_000),
    "heads of 50 KB that wait, 1000": lambda: waiting_heads(1000, 50_000, SECONDS),
}
BOUNDED = ("the same, without upstream filters",)
"""Those on a configuration that bounds unread answers apart from requests."""


class Noop(Sidecar):
    """In a sidecar's place, lets everything pass."""

    def command(self) -> list[str]:
        return [sys.executable, str(ROOT / "bench" / "noop.py"), "h2", self.address]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT)}


def others(line: Line) -> Iterator[bool]:
    """One small exchange after another, with a provider of their own: they say where it is, and are told where Envoy
    is."""
    answer = json_answer(message({"type": "text", "text": "hi"}))
    with ScriptedProvider(lambda request: answer, keep=1) as provider:
        line.send(provider.port)
        port = line.recv()
        while True:
            yield asked(port, CHAT, THEIRS, {WHO: "others"}, patience=60) == 200


def configured(folder: Path, sidecar: Sidecar, openai: int, anthropic: int, bounded: bool) -> dict[str, Any]:
    """The shipped configuration; *bounded*: without failover, so that unread answers have bounds of their own. For a
    sidecar that does nothing routes are chosen by who asks, and it is sent of an answer what ours asks for."""
    assert sidecar.socket
    upstreams = {"api.openai.com": ("127.0.0.1", openai), "api.anthropic.com": ("127.0.0.1", anthropic)}
    access_log = str(folder / "access.log")
    shipped = placements.bounded(config.reference()) if bounded else config.reference()
    made = config.rewrite(shipped, sidecar=sidecar.socket, upstreams=upstreams, access_log=access_log)
    text = f"{placements.OPENAI}upstream: openai_chat\n"
    placements.add_model(made, BY_CHAT, openai, text)
    if isinstance(sidecar, Noop):
        mode = placements.manager(made)["http_filters"][0]["typed_config"]["processing_mode"]
        mode |= {"response_header_mode": "SEND", "response_body_mode": "STREAMED"}
        theirs, all_else = placements.route(made, "anthropic"), placements.route(made, "openai")
        theirs["match"]["headers"] = [{"name": WHO, "present_match": True}]
        del all_else["match"]["headers"]
        placements.routes(made)[:] = [theirs, all_else]
    return made


def carried_out(folder: Path, name: str, *, noop: bool = False) -> Told:
    """What came of the attack *name* on an Envoy and a sidecar of its own; or, *noop*, on one that does nothing."""
    folder = Path(tempfile.mkdtemp(dir=folder))
    kind = Noop if noop else Sidecar
    with ExitStack() as stack:
        witness = stack.enter_context(Others(others))
        provider = stack.enter_context(ScriptedProvider(answers, keep=1))
        sidecar = stack.enter_context(kind(folder, environ=KEYS))
        envoy = stack.enter_context(
            Envoy(folder, configured(folder, sidecar, provider.port, witness.line.recv(), name in BOUNDED))
        )
        attack = ATTACKS[name]()
        witness.line.send(envoy.port)
        witness.warm()
        began = time.monotonic()
        attack(envoy.port)
        time.sleep(0.5)
        seconds = time.monotonic() - began
        alive = sidecar.alive() and envoy.alive()
        cpu = cpu_seconds(sidecar.pid) if alive else 0.0
        peaks = [peak(each.pid) for each in (sidecar, envoy)] if alive else [0, 0]
        seen = witness.seen(began)
        return Told(seconds, peaks[0], seen, alive, 10.0, peaks[1], cpu)


assert MAX_BYTES < ENVOY_BYTES
