"""A scripted provider's Bedrock side: Converse and InvokeModel (for Claude), each whole and as an AWS event stream."""

from __future__ import annotations

import base64
from dataclasses import replace
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

import msgspec

from extproc.demo.provider import Received, ScriptedAnswer, json_answer
from extproc.demo.script import Said, decide, pieces
from extproc.framing.eventstream import encode, encode_headers

from . import as_claude

_encode = msgspec.json.encode
REQUEST_ID = (("x-amzn-requestid", "req-aws"),)
_EVENT_STREAM = (("content-type", "application/vnd.amazon.eventstream"), *REQUEST_ID)
SIGNATURE = "EqQB+/=="
"""On the reasoning before calls; a request whose history has lost it is refused."""

Json = dict[str, Any]
_VERSIONS = ("bedrock-2023-05-31", "2026-10-21")


def answer(request: Received) -> ScriptedAnswer:
    """The answer to a *request* of Bedrock's runtime."""
    model, _, operation = request.path.removeprefix("/model/").rpartition("/")
    body = request.json()
    if operation.startswith("invoke"):
        return _invoked(request, body, unquote(model), streamed=operation != "invoke")
    problem = _problem(body)
    if problem:
        return failure(400, "ValidationException", problem)
    said = decide(*_asked(body))
    if operation == "converse-stream":
        return stream(*_events(said))
    output = {"message": {"role": "assistant", "content": _blocks(said)}}
    return json_answer({"output": output, "stopReason": _reason(said), **_metadata()}, headers=REQUEST_ID)


def failure(status: int, exception: str, message: str) -> ScriptedAnswer:
    """An exception before the answer."""
    return json_answer({"message": message}, status, (("x-amzn-errortype", f"{exception}:http://docs/"), *REQUEST_ID))


def stream(*messages: tuple[str, Json], ending: Any = "whole") -> ScriptedAnswer:
    """An event stream of (event's type, payload); the type of an exception ends with "Exception"."""
    return ScriptedAnswer(
        [frame(name, payload) for name, payload in messages], 200, _EVENT_STREAM, stream=True, ending=ending
    )


def frame(name: str, payload: Json) -> bytes:
    kind = "exception" if name.endswith("Exception") else "event"
    headers = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    return encode(encode_headers(headers), _encode(payload))


def chunk(data: bytes) -> tuple[str, Json]:
    """An event of InvokeModelWithResponseStream."""
    return "chunk", {"bytes": base64.b64encode(data).decode(), "p": "abcd"}


def _invoked(request: Received, body: Json, model: str, *, streamed: bool) -> ScriptedAnswer:
    """InvokeModel: as Anthropic answers, in Bedrock's envelope."""
    if "model" in body or "stream" in body or body.get("anthropic_version") not in _VERSIONS:
        return failure(400, "ValidationException", "extraneous key")
    told = replace(request, body=_encode({**body, "model": model, "stream": streamed}))
    given = as_claude.answer(told)
    if not streamed:
        return replace(given, headers=(("content-type", "application/json"), *REQUEST_ID))
    data = [part.partition(b"data: ")[2].strip() for part in given.chunks if isinstance(part, bytes)]
    return stream(*map(chunk, data))


def _problem(body: Json) -> str | None:
    """What Bedrock itself refuses."""
    turns = [turn["role"] for turn in body["messages"]]
    if turns[0] != "user" or any(a == b for a, b in pairwise(turns)):
        return "A conversation must alternate between user and assistant roles."
    blocks = [block for turn in body["messages"] for block in turn["content"]]
    if any("toolUse" in block or "toolResult" in block for block in blocks) and "toolConfig" not in body:
        return "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    texts = [block["reasoningContent"]["reasoningText"] for block in blocks if "reasoningContent" in block]
    if any(text.get("signature") != SIGNATURE for text in texts):
        return "Invalid `signature` in `thinking` block"
    return None


def _asked(body: Json) -> tuple[str, list[str], list[str], str | None]:
    """The question, the tools offered, the results since the last turn of the model, the one it must call."""
    users = [turn["content"] for turn in body["messages"] if turn["role"] == "user"]
    results = [_said(block["toolResult"]["content"]) for block in users[-1] if "toolResult" in block]
    question = next((text for text in map(_said, reversed(users)) if text), "")
    config = body.get("toolConfig", {})
    names = [tool["toolSpec"]["name"] for tool in config.get("tools", []) if "toolSpec" in tool]
    choice = config.get("toolChoice", {})
    forced = choice["tool"]["name"] if "tool" in choice else names[0] if "any" in choice else None
    return question, names, results, forced


def _said(blocks: list[Json]) -> str:
    return " ".join(block["text"] if "text" in block else str(block["json"]) for block in blocks
                    if "text" in block or "json" in block)  # fmt: skip


def _blocks(said: Said) -> list[Json]:
    text = [{"text": said.text}] if said.text else []
    calls = [
        {"toolUse": {"toolUseId": f"tooluse_demo{n}", "name": name, "input": given}} for n, name, given in said.calls
    ]
    thought = {"reasoningText": {"text": "Let me look.", "signature": SIGNATURE}}
    return [*([{"reasoningContent": thought}] if calls else []), *text, *calls]


def _reason(said: Said) -> str:
    return "tool_use" if said.calls else "end_turn"


def _metadata() -> Json:
    usage = {"inputTokens": 11, "outputTokens": 7, "totalTokens": 21, "cacheReadInputTokens": 3}
    return {"usage": usage, "metrics": {"latencyMs": 100}}


def _events(said: Said) -> list[tuple[str, Json]]:
    events: list[tuple[str, Json]] = [("messageStart", {"role": "assistant", "p": "abc"})]
    for index, block in enumerate(_blocks(said)):
        at = {"contentBlockIndex": index}
        deltas: list[Json]
        if "toolUse" in block:
            start = {name: block["toolUse"][name] for name in ("toolUseId", "name")}
            events.append(("contentBlockStart", {**at, "start": {"toolUse": start}}))
            text = _encode(block["toolUse"]["input"]).decode()
            deltas = [{"toolUse": {"input": piece}} for piece in pieces(text)]
        elif "reasoningContent" in block:
            thought = block["reasoningContent"]["reasoningText"]
            deltas = [{"reasoningContent": {name: thought[name]}} for name in ("text", "signature")]
        else:
            deltas = [{"text": piece} for piece in pieces(block["text"])]
        events += [("contentBlockDelta", {**at, "delta": delta, "p": "abcdef"}) for delta in deltas]
        events.append(("contentBlockStop", at))
    return [*events, ("messageStop", {"stopReason": _reason(said)}), ("metadata", _metadata())]
