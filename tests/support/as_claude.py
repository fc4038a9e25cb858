"""A scripted Claude that thinks, if it is asked to, and is as strict with its signatures as the real one; where it is
not asked, it answers as the demo's provider does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from extproc.demo import as_anthropic
from extproc.demo.provider import Received, ScriptedAnswer, json_answer, sse_answer

from .upstream import events, message_events

Json = dict[str, Any]
THOUGHT, SIGNATURE = "Let me look.", "EqQB+/claude=="
_THINKS = ("enabled", "adaptive")


def answer(request: Received) -> ScriptedAnswer:
    """The answer to a Messages *request*."""
    body = request.json()
    thinks = (body.get("thinking") or {}).get("type") in _THINKS
    if problem := _problem(body["messages"], thinks):
        return as_anthropic.failure(400, problem)
    if not thinks:
        return as_anthropic.answer(request)
    whole = as_anthropic.answer(replace(request, body=msgspec.json.encode({**body, "stream": False})))
    if whole.status != 200:
        return whole
    (data,) = whole.chunks
    assert isinstance(data, bytes)
    message: Json = msgspec.json.decode(data)
    if not body.get("stream"):
        thought = {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}
        return json_answer({**message, "content": [thought, *message["content"]]})
    thinking = [
        {"type": "thinking", "thinking": "", "signature": ""},
        *({"type": "thinking_delta", "thinking": piece} for piece in (THOUGHT[:7], THOUGHT[7:])),
        {"type": "signature_delta", "signature": SIGNATURE},
    ]
    told = message_events(thinking, *map(_streamed, message["content"]), stop=message["stop_reason"])
    return sse_answer(events(*told), headers=as_anthropic.HEADERS)


def _problem(messages: list[Json], thinks: bool) -> str:
    """What the API refuses of a history: thinking that it has not signed; calls without the thinking before them, in
    the turn that goes on."""
    turns = [m["content"] for m in messages if m["role"] == "assistant" and isinstance(m["content"], list)]
    thoughts = [block for turn in turns for block in turn if block["type"] == "thinking"]
    if any(block.get("signature") != SIGNATURE for block in thoughts):
        return "Invalid `signature` in `thinking` block"
    last = messages[-1]["content"]
    goes_on = isinstance(last, list) and any(block["type"] == "tool_result" for block in last)
    if thinks and goes_on and turns[-1][0]["type"] not in ("thinking", "redacted_thinking"):
        return "Expected `thinking` or `redacted_thinking`, but found `tool_use`"
    return ""


def _streamed(block: Json) -> list[Json]:
    """A block as its start and what is added to it."""
    if block["type"] == "text":
        return [{"type": "text", "text": ""}, {"type": "text_delta", "text": block["text"]}]
    text = msgspec.json.encode(block["input"]).decode()
    return [{**block, "input": {}}, *({"type": "input_json_delta", "partial_json": x} for x in (text[:5], text[5:]))]
