"""What the soak sends and what it takes for right: exchanges by plan, their scripted upstream, their judge."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from extproc.demo import as_anthropic, as_openai
from extproc.demo.provider import Gate, Received, ScriptedAnswer, json_answer, sse_answer
from tests.support.upstream import chat, chat_stream, events, message, message_events, text_block

PATIENCE_SECONDS = 30.0
"""What no exchange may exceed, whatever happens to it."""

MODELS = {"chat": "claude-haiku-4-5", "messages": "gpt-5"}
"""By the client's API: the model that leads to the other API."""

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}
_MARK = re.compile(rb"soak:(\w+):(\d+):(\d+);")
_STREAM = re.compile(rb'"stream": ?true')


class Violation(Exception):
    """Something that must never be."""


@dataclass(frozen=True)
class Plan:
    """What is to happen to an exchange. ``pieces`` its answer has; ``padding`` bytes its request."""

    name: str
    weight: int
    stream: bool
    pieces: int = 3
    padding: int = 0
    hang_up: int | None = None
    """The client goes away after so many bytes of the body, or after a second without more."""

    slow: bool = False
    """The client reads as slowly as it may."""


PLANS = (
    Plan("whole", 20, False),
    Plan("stream", 25, True, pieces=20),
    Plan("long", 4, True, pieces=400),
    Plan("paced", 12, True, pieces=40),
    Plan("slow", 2, True, pieces=3000, slow=True),
    Plan("big_request", 3, False, padding=1_500_000),
    Plan("big_answer", 2, False, pieces=60_000),
    Plan("hang_up", 8, True, pieces=200, hang_up=2000),
    Plan("stalled", 2, True, pieces=5, hang_up=10_000_000),
    Plan("unread", 2, False, pieces=60_000, hang_up=0),
    Plan("reset", 6, True, pieces=30),
    Plan("reset_whole", 3, False, pieces=30),
    Plan("cut", 6, True, pieces=30),
    Plan("refused", 4, True),
    Plan("broken", 4, False),
)
WHOLE = frozenset({"whole", "stream", "long", "paced", "slow", "big_request", "big_answer"})
ERRORS = {"refused": 429, "broken": 400}


@dataclass(frozen=True)
class Exchange:
    """One request, numbered, and what its answer must say."""

    number: int
    plan: Plan
    api: str

    @property
    def text(self) -> str:
        return "".join(pieces(self.number, self.plan.pieces))

    def body(self) -> bytes:
        content = f"soak:{self.plan.name}:{self.number}:{self.plan.pieces};" + "x" * self.plan.padding
        asked = {"model": MODELS[self.api], "max_tokens": 999, "messages": [{"role": "user", "content": content}]}
        return msgspec.json.encode({**asked, "stream": True} if self.plan.stream else asked)


def pieces(number: int, count: int) -> list[str]:
    """The pieces of an answer's text; each tells whose it is, and where it stands."""
    return [f"<{number}.{place}>" for place in range(count)]


# ---- the upstream


def respond(request: Received) -> ScriptedAnswer:
    """What the scripted upstream answers, of either API."""
    mark = _MARK.search(request.body)
    if mark is None:
        return ScriptedAnswer([b"no mark"], 500)
    plan, number, count = mark[1].decode(), int(mark[2]), int(mark[3])
    chat_api = request.path.endswith("/chat/completions")
    if plan in ERRORS:
        failure = as_openai.failure if chat_api else as_anthropic.failure
        return failure(ERRORS[plan], f"refused {number}")
    said = pieces(number, count)
    if not _STREAM.search(request.body):
        text = "".join(said)
        whole = chat(text) if chat_api else json_answer(message({"type": "text", "text": text}))
        return replace(whole, ending="reset") if plan == "reset_whole" else whole
    ends = plan not in ("cut", "reset", "stalled")
    streamed = (_chat if chat_api else _messages)(said, ends)
    if plan == "stalled":
        return replace(streamed, chunks=[*streamed.chunks, Gate()])
    if plan == "long":
        # Many events in one piece, as a fast model's come; then the rest one by one.
        half = len(streamed.chunks) // 2
        return replace(streamed, chunks=[b"".join(_bytes(streamed)[:half]), *streamed.chunks[half:]])
    if plan == "slow":
        return replace(streamed, chunks=[b"".join(_bytes(streamed))])
    pause = 0.03 if plan in ("paced", "hang_up") else 0.0
    return replace(streamed, pause=pause, ending="reset" if plan == "reset" else "whole")


def _bytes(answer: ScriptedAnswer) -> list[bytes]:
    return [chunk for chunk in answer.chunks if isinstance(chunk, bytes)]


def _chat(said: list[str], ends: bool) -> ScriptedAnswer:
    return chat_stream(*({"content": each} for each in said), finish="stop" if ends else None, done=ends)


def _messages(said: list[str], ends: bool) -> ScriptedAnswer:
    return sse_answer(events(*message_events(text_block(*said), stop="end_turn" if ends else None)))


# ---- the client


@dataclass(frozen=True)
class Got:
    """What came back. ``whole``: the transfer ended as HTTP wants it."""

    status: int
    body: bytes
    whole: bool


async def ask(port: int, exchange: Exchange) -> Got | None:
    """One exchange over a connection of its own; None if the client hung up, as planned. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        # A slow reader has a small buffer, so that the others on its way feel it.
        limit = 4096 if exchange.plan.slow else 1024 * 1024
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
        try:
            body = exchange.body()
            head = f"POST {PATHS[exchange.api]} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
            return await _answer(reader, exchange.plan)
        except (ConnectionError, asyncio.IncompleteReadError):
            return Got(0, b"", False)
        finally:
            writer.transport.abort()


async def _answer(reader: asyncio.StreamReader, plan: Plan) -> Got | None:
    if plan.hang_up == 0:
        await asyncio.sleep(0.05)
        return None
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    raw = bytearray()
    try:
        while True:
            patience = 1.0 if plan.hang_up else PATIENCE_SECONDS
            async with asyncio.timeout(patience):
                piece = await reader.read(4096 if plan.slow else 65536)
            if not piece:
                break
            raw += piece
            if plan.hang_up and len(raw) >= plan.hang_up:
                return None
            if plan.slow:
                await asyncio.sleep(0.01)
    except TimeoutError:
        if plan.hang_up:
            return None
        raise
    except ConnectionError:
        return Got(int(head[9:12]), bytes(raw), False)
    if b"transfer-encoding: chunked" in head:
        body, whole = dechunked(bytes(raw))
    else:
        length = re.search(rb"content-length: *(\d+)", head)
        body, whole = bytes(raw), length is not None and int(length[1]) == len(raw)
    return Got(int(head[9:12]), body, whole)


def dechunked(raw: bytes) -> tuple[bytes, bool]:
    """The body in HTTP chunks, and whether its end is there."""
    body, position = bytearray(), 0
    while (end := raw.find(b"\r\n", position)) >= 0:
        size = int(raw[position:end].split(b";")[0], 16)
        if size == 0:
            return bytes(body), raw.endswith(b"\r\n\r\n")
        body += raw[end + 2 : end + 2 + size]
        position = end + 4 + size
    return bytes(body), False


# ---- the judge


def judge(exchange: Exchange, got: Got | None, excused: bool) -> str:
    """What became of an exchange, in a word. *excused*: the sidecar's connection was cut meanwhile, so it may have
    failed, as long as it says so. Raises Violation."""
    plan = exchange.plan
    if got is None:
        return "hung up"
    says, finished = said(exchange, got)
    complete = got.whole and got.status == 200 and finished
    if complete:
        if plan.name not in WHOLE and plan.hang_up is None:
            raise Violation("an answer that its upstream never ended looks complete")
        if says != exchange.text:
            raise Violation(f"a complete answer is wrong: {says[:200]!r}")
        return "right"
    if not exchange.text.startswith(says):
        raise Violation(f"the beginning of an answer is wrong: {says[:200]!r}")
    if got.status == ERRORS.get(plan.name) and got.whole and b"refused %d" % exchange.number in got.body:
        return "refused"
    if plan.name in WHOLE or plan.name in ERRORS:
        if not excused:
            raise Violation(f"failed with {got.status}, {'whole' if got.whole else 'broken'}: {got.body[-300:]!r}")
        return "excused"
    return "broken"


def said(exchange: Exchange, got: Got) -> tuple[str, bool]:
    """The text of an answer, and whether the answer says of itself that it is complete."""
    if got.status != 200:
        return "", False
    chat_api = exchange.api == "chat"
    if not exchange.plan.stream:
        try:
            value: Any = msgspec.json.decode(got.body)
        except msgspec.DecodeError:
            return "", False
        if "error" in value:
            return "", False
        if chat_api:
            choice = value["choices"][0]
            return choice["message"]["content"], choice["finish_reason"] == "stop"
        return value["content"][0]["text"], value["stop_reason"] == "end_turn"
    return _streamed_chat(got.body) if chat_api else _streamed_messages(got.body)


def _streamed_chat(body: bytes) -> tuple[str, bool]:
    text, stopped = "", False
    for event in _events(body):
        for choice in event.get("choices", ()):
            text += choice["delta"].get("content") or ""
            stopped = stopped or choice["finish_reason"] == "stop"
    return text, stopped and body.endswith(b"data: [DONE]\n\n")


def _streamed_messages(body: bytes) -> tuple[str, bool]:
    text, stopped, kind = "", False, ""
    for event in _events(body):
        kind = event["type"]
        if kind == "content_block_delta":
            text += event["delta"].get("text", "")
        stopped = stopped or (kind == "message_delta" and event["delta"]["stop_reason"] == "end_turn")
    return text, stopped and kind == "message_stop"


def _events(body: bytes) -> Iterator[Any]:
    for block in body.split(b"\n\n")[:-1]:
        data = block.rpartition(b"data: ")[2]
        if data and data != b"[DONE]" and not block.startswith(b":"):
            yield msgspec.json.decode(data)
