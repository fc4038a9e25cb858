"""The scripted provider's Anthropic side: Messages, whole and streamed."""

from __future__ import annotations

from typing import Any

import msgspec

from .provider import Received, ScriptedAnswer, json_answer, sse_answer
from .script import Said, decide, pieces, words

_encode = msgspec.json.encode
HEADERS = (("request-id", "req_demo"),)


def answer(request: Received, *, pause: float = 0.0) -> ScriptedAnswer:
    """The answer to a Messages *request*; *pause* seconds between the events of a stream."""
    try:
        body = request.json()
        said = decide(*_asked(body))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        return failure(400, f"the scripted provider cannot read this: {error!r}")
    if not body.get("stream"):
        return json_answer(_whole(body, said), headers=HEADERS)
    return sse_answer([_event(x) for x in _events(body, said)], headers=HEADERS, pause=pause)


def counted(request: Received) -> ScriptedAnswer:
    """How many tokens the *request* has."""
    return json_answer({"input_tokens": len(request.body) // 4}, headers=HEADERS)


def failure(status: int, message: str, kind: str = "invalid_request_error") -> ScriptedAnswer:
    """An error in Anthropic's shape."""
    return json_answer({"type": "error", "error": {"type": kind, "message": message}}, status, HEADERS)


def _asked(body: dict[str, Any]) -> tuple[str, list[str], list[str], str | None]:
    """The question, the tools offered, the results since the last turn of the model, and the tool it must call."""
    users = [message["content"] for message in body["messages"] if message["role"] == "user"]
    last = users[-1] if users and body["messages"][-1]["role"] == "user" else ""
    blocks = last if isinstance(last, list) else []
    results = [_text(block.get("content") or "") for block in blocks if block["type"] == "tool_result"]
    question = next(filter(None, (words(_text(content)) for content in reversed(users))), "")
    tools = [tool["name"] for tool in body.get("tools") or []]
    choice = body.get("tool_choice") or {}
    forced = choice.get("name") or (tools[0] if choice.get("type") == "any" else None)
    return question, [] if choice.get("type") == "none" else tools, results, forced


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(block["text"] for block in content if block["type"] == "text")


def _blocks(said: Said) -> list[dict[str, Any]]:
    text = [{"type": "text", "text": said.text}] if said.text else []
    calls = [{"type": "tool_use", "id": f"toolu_demo{n}", "name": name, "input": it} for n, name, it in said.calls]
    return [*text, *calls]


def _usage(body: dict[str, Any], tokens: int) -> dict[str, Any]:
    asked = len(_encode(body)) // 4
    cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {"input_tokens": asked, **cache, "output_tokens": tokens, "service_tier": "standard"}


def _message(body: dict[str, Any], tokens: int) -> dict[str, Any]:
    return {
        "id": "msg_demo",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(body, tokens),
    }


def _whole(body: dict[str, Any], said: Said) -> dict[str, Any]:
    return {**_message(body, said.tokens), "content": _blocks(said), "stop_reason": _reason(said)}


def _events(body: dict[str, Any], said: Said) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"type": "message_start", "message": _message(body, 1)}, {"type": "ping"}]
    for index, block in enumerate(_blocks(said)):
        start: dict[str, Any]
        if block["type"] == "text":
            start, member, kind, text = {"type": "text", "text": ""}, "text", "text_delta", block["text"]
        else:
            start, member, kind = {**block, "input": {}}, "partial_json", "input_json_delta"
            text = _encode(block["input"]).decode()
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [
            {"type": "content_block_delta", "index": index, "delta": {"type": kind, member: piece}}
            for piece in pieces(text)
        ]
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": _reason(said), "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": said.tokens}})
    events.append({"type": "message_stop"})
    return events


def _reason(said: Said) -> str:
    return "tool_use" if said.calls else "end_turn"


def _event(value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), _encode(value))
