"""Clients that keep asking, and a count of what they saw."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

Seen = Literal["complete", "refused", "broken", "wrong"]
"""complete: status 200, the whole text, and the API's own end; refused: an error status; broken: no answer, or one that
was cut, and that the client can tell to be cut; wrong: an answer that looks whole and is not."""

ANSWER = "The sky is blue."
"""How every answer of the scripted provider to a plain question ends."""


@dataclass(frozen=True)
class Ask:
    """One of the four kinds of exchange."""

    path: str
    model: str
    stream: bool

    def body(self) -> bytes:
        messages = [{"role": "user", "content": "What colour is the sky?"}]
        return json.dumps({"model": self.model, "max_tokens": 99, "stream": self.stream, "messages": messages}).encode()


ASKS = [
    Ask(path, model, stream)
    for stream in (False, True)
    for path, model in (("/v1/messages", "gpt-5"), ("/v1/chat/completions", "claude-haiku-4-5"))
]


@dataclass
class Load:
    """What clients have seen, by the second since the load began and in whole."""

    began: float = field(default_factory=time.monotonic)
    seen: Counter[Seen] = field(default_factory=Counter)
    since: list[tuple[float, Seen]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Each client finishes its exchange and asks no more."""
        self._over.set()

    def ask(self, port: int, number: int) -> None:
        """Ask one thing after the other until ``stop``, beginning with kind *number*."""
        while not self._over.is_set():
            self.add(*exchange(port, ASKS[number % len(ASKS)]))
            number += 1
            # A refusal is at once: without a rest the clients would only count those.
            self._over.wait(0.01)

    def add(self, status: int, seen: Seen) -> None:
        with self._lock:
            self.seen[seen] += 1
            self.statuses[status] += 1
            self.since.append((time.monotonic(), seen))

    def after(self, moment: float) -> Counter[Seen]:
        """What was seen since *moment* of ``time.monotonic``."""
        with self._lock:
            return Counter(seen for when, seen in self.since if when >= moment)

    def hurt(self) -> float:
        """Seconds between the first and the last exchange that was not complete."""
        moments = [when for when, seen in self.since if seen != "complete"]
        return max(moments) - min(moments) if moments else 0.0

    def __str__(self) -> str:
        kinds: tuple[Seen, ...] = ("complete", "refused", "broken", "wrong")
        counts = ", ".join(f"{self.seen[kind]} {kind}" for kind in kinds)
        return f"{self.seen.total()} exchanges: {counts}; not complete within {self.hurt():.1f} s of each other"


def exchange(port: int, ask: Ask, seconds: float = 30) -> tuple[int, Seen]:
    """One exchange: the status (0: none came), and what it was."""
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)) as connection:
            connection.request("POST", ask.path, ask.body(), {"content-type": "application/json"})
            response = connection.getresponse()
            body = response.read()
    except (OSError, http.client.HTTPException):
        return 0, "broken"
    if response.status != 200:
        return response.status, "refused"
    return 200, judge(ask, body)


def judge(ask: Ask, body: bytes) -> Seen:
    """What an answer of status 200, cleanly ended, was."""
    if not ask.stream:
        return "complete" if _text(json.loads(body)).endswith(ANSWER) else "wrong"
    events = [line.removeprefix("data: ") for line in body.decode().splitlines() if line.startswith("data: ")]
    values = [json.loads(event) for event in events if event != "[DONE]"]
    if any("error" in value for value in values):
        # The API's own error event: the client knows.
        return "broken"
    text = "".join(_piece(value) for value in values)
    ended = events[-1:] == ["[DONE]"] or any(value.get("type") == "message_stop" for value in values)
    return "complete" if ended and text.endswith(ANSWER) else "wrong"


def _text(value: Any) -> str:
    if "choices" in value:
        return str(value["choices"][0]["message"]["content"])
    return "".join(block.get("text", "") for block in value.get("content", []))


def _piece(value: Any) -> str:
    if "choices" in value:
        return "".join(choice["delta"].get("content") or "" for choice in value["choices"])
    return str(value.get("delta", {}).get("text", ""))


@contextmanager
def load(port: int, clients: int = 4) -> Iterator[Load]:
    """Clients that ask one thing after the other, for as long as the block lasts; then each finishes its exchange."""
    made = Load()
    threads = [threading.Thread(target=made.ask, args=(port, number)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        made.stop()
        for thread in threads:
            thread.join()
