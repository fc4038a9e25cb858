"""What the core costs, without Envoy and without gRPC: microseconds of CPU per stream event and per request.

    python bench/core.py

Best of several runs in one process: for comparing one version with the next on one quiet machine, not for quoting.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import payloads
from extproc import Translation

EVENTS = 3000


def chat_chunks() -> Iterator[bytes]:
    head = {"id": "chatcmpl-9xK2", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5.2"}
    for n in range(EVENTS):
        choice = {"index": 0, "delta": {"content": f" word{n}"}, "logprobs": None, "finish_reason": None}
        chunk = head | {"service_tier": "default", "system_fingerprint": "fp_4", "choices": [choice], "usage": None}
        yield b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def messages_events() -> Iterator[bytes]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "usage": {}}
    block = {"type": "text", "text": ""}
    yield event("message_start", message=message)
    yield event("content_block_start", index=0, content_block=block)
    for n in range(EVENTS):
        yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": f" word{n}"})


def event(kind: str, **members: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members}, separators=(',', ':'))}\n\n".encode()


def best(work: Callable[[], int], runs: int = 15) -> float:
    """Microseconds per item of the fastest run."""
    costs = []
    for _ in range(runs):
        begin = time.process_time_ns()
        items = work()
        costs.append((time.process_time_ns() - begin) / items / 1000)
    return min(costs)


def stream(client: str, upstream: str, chunks: list[bytes]) -> int:
    t = Translation(client, upstream, now=0)
    asked = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    t.request(json.dumps(asked).encode())
    t.response_head(200, [("content-type", "text/event-stream")])
    for chunk in chunks:
        t.response_body(chunk)
    return len(chunks)


def request(body: bytes) -> int:
    for _ in range(50):
        Translation("anthropic_messages", "openai_chat", now=0).request(body)
    return 50


def main() -> None:
    chat, messages, body = list(chat_chunks()), list(messages_events()), payloads.agent("gpt-4o")
    there, back = ("anthropic_messages", "openai_chat"), ("openai_chat", "anthropic_messages")
    rows = {
        "stream, Chat upstream to a Messages client, per event": lambda: stream(*there, chat),
        "stream, Messages upstream to a Chat client, per event": lambda: stream(*back, messages),
        f"request of {len(body) // 1000} KB, Messages to Chat": lambda: request(body),
    }
    for name, work in rows.items():
        print(f"{name:56} {best(work):8.2f} us")


if __name__ == "__main__":
    main()
