"""What was asked and answered, as OpenTelemetry's conventions for generative AI have messages in a span (the JSON
schemas of ``gen_ai.input.messages`` and ``gen_ai.output.messages``, 1.38): roles with parts, whatever API came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .. import dialects
from ..dialects.base import ClientCall
from ..llm.failures import ProtocolError, Unsupported
from ..llm.fold import Folded, OpaqueBlock, TextBlock, ThinkingBlock, ToolCallBlock
from ..llm.losses import LossReport
from ..llm.request import (
    Audio,
    Block,
    Document,
    Image,
    Message,
    Opaque,
    Request,
    SearchResult,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolReference,
    ToolResult,
)
from ..telemetry.outcome import Began, Outcome
from ..telemetry.payloads import MASK, Payloads

OMITTED = "extproc.content.omitted"
"""Says why a part of the content is not there."""
_ANSWERING = frozenset(
    {"choices", "message", "delta", "content", "text", "refusal", "reasoning", "reasoning_content", "reasoning_details",
     "response", "output", "output_text", "item", "part", "summary", "content_block", "thinking", "candidates", "parts",
     "contentBlock", "reasoningContent", "reasoningText"}
)  # fmt: skip
"""Members under which the APIs have what a model says, or what holds that: which of them one text was, nobody knows
any more."""
_CALLING = frozenset(
    {"tool_calls", "function", "arguments", "input", "partial_json", "functionCall", "args", "toolUse", "start"}
)
"""The same of what a model gives to tools."""
Parts = list[dict[str, Any]]

_encode = msgspec.json.Encoder().encode
_FINISH = {"end": "stop", "max_tokens": "length", "tool_call": "tool_call", "refusal": "content_filter"}
"""The conventions' words for why an answer ended."""


def attributes_of(began: Began, outcome: Outcome, content: Payloads) -> dict[str, str]:
    """Attributes of a span with *content*, each JSON as text. What cannot be shown is said."""
    made: dict[str, Any] = {}
    omitted: list[str] = []
    body = content.asking()
    if body is None:
        omitted.append("the request is longer than --records-payload-bytes")
    elif body:
        request = _request(began, outcome, body)
        if request is None:
            omitted.append("the request cannot be read")
        else:
            made |= _asked(request)
    answer, cut = content.answer()
    if answer.blocks and content.redacts(_ANSWERING):
        omitted.append("of the answer logging.redact names a part")
    elif answer.blocks:
        message = {"role": "assistant", "parts": _answered(answer, given=not content.redacts(_CALLING))}
        made["gen_ai.output.messages"] = [{**message, "finish_reason": _finish(outcome)}]
    if cut:
        omitted.append("the answer's end is more than --records-payload-bytes allow")
    told: dict[str, str] = {}
    for name, value in made.items():
        try:
            told[name] = _encode(content.fit(value)).decode()
        except RecursionError:
            omitted.append(f"{name} is nested too deep")
    return {**told, OMITTED: "; ".join(omitted)} if omitted else told


def _finish(outcome: Outcome) -> str:
    return _FINISH.get(outcome.finish, outcome.finish) or "error"


def _request(began: Began, outcome: Outcome, body: bytes) -> Request | None:
    try:
        dialect = dialects.get(outcome.client)
        return dialect.parse_request(ClientCall(began.method, began.path, [], body), LossReport())
    except (ProtocolError, Unsupported, dialects.UnknownDialect):
        return None


def _asked(request: Request) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if system := [part for message in request.system for part in _parts(message.content)]:
        made["gen_ai.system_instructions"] = system
    made["gen_ai.input.messages"] = [each for message in request.messages for each in _messages(message)]
    if request.tools:
        made["gen_ai.tool.definitions"] = [_tool(tool) for tool in request.tools]
    return made


def _tool(tool: Tool) -> dict[str, Any]:
    kind = tool.kind if tool.kind in ("function", "custom") else "extension"
    told = {"type": kind, "name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {name: value for name, value in told.items() if value is not None}


def _messages(message: Message) -> Iterable[dict[str, Any]]:
    """*message*, with the results of tools as messages of their own: the role says who speaks."""
    blocks: list[Block] = [Text(message.content)] if isinstance(message.content, str) else message.content
    results = [block for block in blocks if isinstance(block, ToolResult)]
    others = [block for block in blocks if not isinstance(block, ToolResult)]
    if results:
        yield {"role": "tool", "parts": _parts(results)}
    if others or not results:
        yield {"role": message.role, "parts": _parts(others)}


def _parts(content: str | Iterable[Block]) -> Parts:
    return [{"type": "text", "content": content}] if isinstance(content, str) else [_part(block) for block in content]


def _part(block: Block) -> dict[str, Any]:
    match block:
        case Text():
            return {"type": "text", "content": block.text}
        case Thinking():
            return {"type": "reasoning", "content": block.text}
        case ToolCall():
            given = block.input if block.input is not None else _decoded(block.arguments or "")
            return {"type": "tool_call", "id": block.id, "name": block.name, "arguments": given}
        case ToolResult():
            said = block.content if isinstance(block.content, str) else _parts(block.content)
            return {"type": "tool_call_response", "id": block.id, "response": said}
        case Image():
            return _media("image", block.source.kind, block.source.data, block.source.media_type)
        case Audio():
            return _media("audio", "base64", block.data, f"audio/{block.format}")
        case Document() if block.source is not None:
            return _media("document", block.source.kind, block.source.data, block.source.media_type)
        case Document():
            return {"type": "document", "parts": _parts(block.blocks or [])}
        case SearchResult():
            return {"type": "search_result", "uri": block.source, "title": block.title, "parts": _parts(block.content)}
        case ToolReference():
            return {"type": "tool_reference", "name": block.name}
        case Opaque():
            return {"type": str(block.content.get("type", "opaque"))}
        case _:
            return {"type": "tool_change"}


def _media(modality: str, kind: str, data: str, media_type: str | None) -> dict[str, Any]:
    """Where it is; of what stands in the request itself how much it is: a trace is no place for it."""
    said = {"modality": modality, **({"mime_type": media_type} if media_type else {})}
    match kind:
        case "url":
            return {"type": "uri", **said, "uri": data}
        case "file":
            return {"type": "file", **said, "file_id": data}
        case "text":
            return {"type": "text", "content": data}
        case _:
            return {"type": "blob", **said, "base64_length": len(data)}


def _answered(answer: Folded, *, given: bool) -> Parts:
    """*given*: with what it gives to tools."""
    parts: Parts = []
    for block in answer.blocks:
        match block:
            case TextBlock():
                parts.append({"type": "text", "content": block.text})
            case ThinkingBlock():
                parts.append({"type": "reasoning", "content": block.text})
            case ToolCallBlock():
                said = MASK if not given else block.input if block.kind == "custom" else _decoded(block.input)
                parts.append({"type": "tool_call", "id": block.id, "name": block.name, "arguments": said})
            case OpaqueBlock():
                parts.append({"type": str(block.content.get("type", "opaque"))})
    return parts


def _decoded(text: str) -> Any:
    """The input of a tool, as it is meant; a text that is no JSON, cut off for one, as it is."""
    try:
        return msgspec.json.decode(text) if text else {}
    except (msgspec.DecodeError, RecursionError):
        return text
