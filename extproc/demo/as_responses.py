"""The scripted provider's other OpenAI side: Responses, whole and streamed. Asked to reason, it does, and seals it."""

from __future__ import annotations

from typing import Any

import msgspec

from .provider import Received, ScriptedAnswer, json_answer, sse_answer
from .script import Said, decide, pieces, words

_encode = msgspec.json.encode
CREATED = 1_790_000_000
HEADERS = (("x-request-id", "req_demo"), ("openai-processing-ms", "7"))
THOUGHT = "The user asks; I look."
SEALED = "gAAAAABo-demo_sealed+/reasoning=="
"""What a client must send back to the letter."""


def answer(request: Received, *, pause: float = 0.0) -> ScriptedAnswer:
    """The answer to a Responses *request*; *pause* seconds between the events of a stream."""
    try:
        body = request.json()
        items = _items(body)
        _check(items)
        said = decide(*_asked(body, items))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        return failure(400, f"the scripted provider cannot read this: {error!r}")
    output = _output(body, said)
    if not body.get("stream"):
        return json_answer(_response(body, output, "completed", said.tokens), headers=HEADERS)
    return stream(body, output, said.tokens, pause=pause)


def counted(request: Received) -> ScriptedAnswer:
    """How many tokens the *request* has."""
    return json_answer({"object": "response.input_tokens", "input_tokens": len(request.body) // 4}, headers=HEADERS)


def stream(
    body: dict[str, Any], output: list[dict[str, Any]], tokens: int = 5, *, pause: float = 0.0
) -> ScriptedAnswer:
    """A stream that answers the request *body* with the items of *output*."""
    events = [_event(number, event) for number, event in enumerate(_events(body, output, tokens))]
    return sse_answer(events, headers=HEADERS, pause=pause)


def reasoning(summary: str = "") -> dict[str, Any]:
    """An item of sealed reasoning."""
    said = [{"type": "summary_text", "text": summary}] if summary else []
    return {"id": "rs_demo", "type": "reasoning", "summary": said, "encrypted_content": SEALED}


def message(text: str) -> dict[str, Any]:
    """An item that says *text*."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": "msg_demo", "type": "message", "role": "assistant", "content": [part], "status": "completed"}


def call(number: int, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """An item that calls the function *name*."""
    called = {"call_id": f"call_demo{number}", "name": name, "arguments": _encode(given).decode()}
    return {"id": f"fc_demo{number}", "type": "function_call", **called, "status": "completed"}


def failure(status: int, message: str, kind: str = "invalid_request_error", code: str | None = None) -> ScriptedAnswer:
    """An error in OpenAI's shape."""
    return json_answer({"error": {"message": message, "type": kind, "param": None, "code": code}}, status)


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    given = body["input"]
    return [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given


def _check(items: list[dict[str, Any]]) -> None:
    """As the API does: reasoning that it has not sealed is refused, and a result without its call."""
    called = [item["call_id"] for item in items if item.get("type") in ("function_call", "custom_tool_call")]
    for item in items:
        if item.get("type") == "reasoning" and item.get("encrypted_content") != SEALED:
            raise ValueError("the encrypted content could not be verified")
        if str(item.get("type")).endswith("_call_output") and item["call_id"] not in called:
            raise ValueError(f"no tool call found for {item['call_id']}")


def _asked(body: dict[str, Any], items: list[dict[str, Any]]) -> tuple[str, list[str], list[str], str | None]:
    """The question, the tools offered, the results since the last turn of the model, and the tool it must call."""
    results: list[str] = []
    for item in reversed(items):
        if not str(item.get("type")).endswith("_call_output"):
            break
        results.insert(0, _text(item["output"]))
    said = (words(_text(item["content"])) for item in reversed(items) if item.get("role") == "user")
    question = next(filter(None, said), "")
    tools = [tool["name"] for tool in body.get("tools") or [] if tool["type"] in ("function", "custom")]
    choice = body.get("tool_choice")
    forced = choice["name"] if isinstance(choice, dict) else tools[0] if choice == "required" else None
    return question, [] if choice == "none" else tools, results, forced


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", f"[{part['type']}]") for part in content or [])


def _output(body: dict[str, Any], said: Said) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if wanted := body.get("reasoning"):
        thought = reasoning(THOUGHT if wanted.get("summary") else "")
        if "reasoning.encrypted_content" not in (body.get("include") or ()):
            del thought["encrypted_content"]
        items.append(thought)
    if said.text:
        items.append(message(said.text))
    return items + [call(*each) for each in said.calls]


def _response(body: dict[str, Any], output: list[dict[str, Any]], status: str, tokens: int) -> dict[str, Any]:
    asked, over = len(_encode(body)) // 4, status == "completed"
    usage = {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": asked + tokens,
    }
    return {
        "id": "resp_demo", "object": "response", "created_at": CREATED, "status": status, "error": None,
        "incomplete_details": None, "instructions": body.get("instructions"), "metadata": {}, "model": body["model"],
        "output": output if over else [], "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "temperature": 1.0, "tool_choice": body.get("tool_choice", "auto"), "tools": body.get("tools", []),
        "top_p": 1.0, "store": False, "usage": usage if over else None,
    }  # fmt: skip


def _events(body: dict[str, Any], output: list[dict[str, Any]], tokens: int) -> list[dict[str, Any]]:
    started = _response(body, output, "in_progress", tokens)
    events = [{"type": f"response.{name}", "response": started} for name in ("created", "in_progress")]
    for index, item in enumerate(output):
        place = {"output_index": index, "item_id": item["id"]}
        events += _item_events(item, place)
    return [*events, {"type": "response.completed", "response": _response(body, output, "completed", tokens)}]


def _item_events(item: dict[str, Any], place: dict[str, Any]) -> list[dict[str, Any]]:
    index = {"output_index": place["output_index"]}
    events: list[dict[str, Any]] = []
    match item["type"]:
        case "message":
            begun = {"content": [], "status": "in_progress"}
            (part,) = item["content"]
            at = {**place, "content_index": 0}
            empty = {**part, "text": ""}
            events.append({"type": "response.content_part.added", **at, "part": empty})
            events += [
                {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
                for piece in pieces(part["text"])
            ]
            events.append({"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []})
            events.append({"type": "response.content_part.done", **at, "part": part})
        case "reasoning":
            begun = {"summary": []}
            for n, part in enumerate(item["summary"]):
                at = {**place, "summary_index": n}
                events.append({"type": "response.reasoning_summary_part.added", **at, "part": {**part, "text": ""}})
                events += [
                    {"type": "response.reasoning_summary_text.delta", **at, "delta": piece}
                    for piece in pieces(part["text"])
                ]
                events.append({"type": "response.reasoning_summary_text.done", **at, "text": part["text"]})
                events.append({"type": "response.reasoning_summary_part.done", **at, "part": part})
        case _:
            begun = {"arguments": "", "status": "in_progress"}
            events += [
                {"type": "response.function_call_arguments.delta", **place, "delta": piece}
                for piece in pieces(item["arguments"])
            ]
            done = {"arguments": item["arguments"], "name": item["name"]}
            events.append({"type": "response.function_call_arguments.done", **place, **done})
    added = {"type": "response.output_item.added", **index, "item": {**item, **begun}}
    return [added, *events, {"type": "response.output_item.done", **index, "item": item}]


def _event(number: int, value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), _encode({**value, "sequence_number": number}))
