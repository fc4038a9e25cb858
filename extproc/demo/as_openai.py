"""The scripted provider's OpenAI side: Chat Completions, whole and streamed, and behind its path Responses."""

from __future__ import annotations

from typing import Any

import msgspec

from . import as_responses
from .provider import Received, ScriptedAnswer, json_answer, sse_answer
from .script import Said, decide, pieces, words

_encode = msgspec.json.encode
CREATED = 1_790_000_000
HEADERS = (("x-request-id", "req_demo"), ("openai-processing-ms", "7"))


def answer(request: Received, *, pause: float = 0.0) -> ScriptedAnswer:
    """The answer to a *request*; *pause* seconds between the events of a stream."""
    path = request.path.partition("?")[0]
    if path.endswith("/responses"):
        return as_responses.answer(request, pause=pause)
    if path.endswith("/responses/input_tokens"):
        return as_responses.counted(request)
    try:
        body = request.json()
        said = decide(*_asked(body))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        return failure(400, f"the scripted provider cannot read this: {error!r}")
    if not body.get("stream"):
        return json_answer(_whole(body, said), headers=HEADERS)
    usage = bool((body.get("stream_options") or {}).get("include_usage"))
    events = [_event(chunk) for chunk in _chunks(body, said, usage)]
    return sse_answer([*events, b"data: [DONE]\n\n"], headers=HEADERS, pause=pause)


def failure(status: int, message: str, kind: str = "invalid_request_error", code: str | None = None) -> ScriptedAnswer:
    """An error in OpenAI's shape."""
    return json_answer({"error": {"message": message, "type": kind, "param": None, "code": code}}, status)


def _asked(body: dict[str, Any]) -> tuple[str, list[str], list[str], str | None]:
    """The question, the tools offered, the results since the last turn of the model, and the tool it must call."""
    messages = body["messages"]
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.insert(0, _text(message["content"]))
    said = (words(_text(m["content"])) for m in reversed(messages) if m["role"] == "user")
    question = next(filter(None, said), "")
    tools = [tool["function"]["name"] for tool in body.get("tools") or [] if tool["type"] == "function"]
    choice = body.get("tool_choice")
    forced = choice["function"]["name"] if isinstance(choice, dict) else tools[0] if choice == "required" else None
    return question, [] if choice == "none" else tools, results, forced


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", f"[{part['type']}]") for part in content or [])


def _calls(said: Said) -> list[dict[str, Any]]:
    return [
        {"id": f"call_demo{n}", "type": "function", "function": {"name": name, "arguments": _encode(given).decode()}}
        for n, name, given in said.calls
    ]


def _usage(body: dict[str, Any], said: Said) -> dict[str, Any]:
    asked = len(_encode(body)) // 4
    return {
        "prompt_tokens": asked,
        "completion_tokens": said.tokens,
        "total_tokens": asked + said.tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    }


def _base(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-demo", "object": kind, "created": CREATED, "model": body["model"]}


def _whole(body: dict[str, Any], said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None, "refusal": None}
    if said.calls:
        message["tool_calls"] = _calls(said)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(said)}
    return {**_base(body, "chat.completion"), "choices": [choice], "usage": _usage(body, said)}


def _chunks(body: dict[str, Any], said: Said, usage: bool) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "" if said.text else None, "refusal": None}]
    deltas += [{"content": piece} for piece in pieces(said.text)]
    for index, call in enumerate(_calls(said)):
        arguments = call["function"]["arguments"]
        deltas.append({"tool_calls": [{"index": index, **call, "function": {**call["function"], "arguments": ""}}]})
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces(arguments)]
    base = _base(body, "chat.completion.chunk")
    ends = [None] * len(deltas) + [_reason(said)]
    chunks = [
        {**base, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}]}
        for delta, end in zip([*deltas, {}], ends, strict=True)
    ]
    if usage:
        chunks.append({**base, "choices": [], "usage": _usage(body, said)})
    return chunks


def _reason(said: Said) -> str:
    return "tool_calls" if said.calls else "stop"


def _event(value: Any) -> bytes:
    return b"data: " + _encode(value) + b"\n\n"
