"""Exchanges that have ended, for spans of them."""

from __future__ import annotations

from typing import Any

import msgspec

from extproc.credentials.masking import mask_of
from extproc.llm import events as e
from extproc.llm.events import Usage
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.payloads import Payloads
from extproc.telemetry.traceparent import Traced

TRACED = Traced("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "00f067aa0ba902b8", 1)
BEGAN = Began("translator", 1_800_000_000.25, "id-1", "POST", "/v1/messages", "anthropic_messages")
DONE = Outcome(
    "translator", Ending.COMPLETE, 2, "anthropic_messages", "openai_chat", "gemini", "chat", "my-route", "best",
    "gpt-5.4-mini", "gpt-5.4-mini-2026-03-17", stream=True, stream_asked=True, tool_calls=1, status=200,
    finish="tool_call", usage=Usage(23, 8, 5, 2, 3), cost_usd=0.00012,
    losses=("top_k:dropped", "messages[0].content[1]:rewritten"), request_losses=1, seconds=1.5, sent_seconds=0.1,
    first_content_seconds=0.25, waits=(("credential", 0.125),), trace=TRACED,
)  # fmt: skip

ASKED: dict[str, Any] = {
    "model": "best",
    "max_tokens": 99,
    "system": "Be brief.",
    "tools": [{"name": "get_weather", "description": "of a city", "input_schema": {"type": "object"}}],
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "Rome?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGFsbG8="}},
            {"type": "image", "source": {"type": "url", "url": "https://x.example/y.png"}},
        ]},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Rome", "key": "secret-of-mine"}}
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sunny"},
                                     {"type": "text", "text": "and Oslo?"}]},
    ],
}  # fmt: skip
ANSWERED: list[e.ResponseEvent] = [
    e.ResponseStarted("r1", "m"),
    e.ThinkingStarted(0),
    e.ThinkingDelta(0, "hm"),
    e.BlockEnded(0),
    e.TextStarted(1),
    e.TextDelta(1, "Let me "),
    e.TextDelta(1, "see, key-of-openai."),
    e.BlockEnded(1),
    e.ToolCallStarted(2, "t2", "get_weather"),
    e.ToolInputDelta(2, '{"city": "Os'),
    e.ToolInputDelta(2, 'lo", "pass'),
    e.ToolInputDelta(2, 'word": "hidden"}'),
    e.BlockEnded(2),
    e.OpaqueStarted(3, "anthropic_messages", {"type": "server_tool_use"}),
    e.BlockEnded(3),
    e.ResponseEnded(e.StopReason.TOOL_CALL),
]


def content(asked: Any = None, bound: int = 64 * 1024, redact: tuple[str, ...] = ()) -> Payloads:
    """What is kept of an exchange: *asked*, and the answer above."""
    made = Payloads(bound, mask_of, redact)
    made.hide(("key-of-openai", "secret-of-mine"))
    made.asked(asked if isinstance(asked, bytes) else msgspec.json.encode(ASKED if asked is None else asked))
    for event in ANSWERED:
        made.heard(event)
    return made
