"""What of a request or an answer is compared: the same thing, read on both sides of a gateway, as plain values.

Each function takes what a dialect's own parser has read, and gives a value that is equal on both sides if, and only if,
what it is named after came through. Empty (``None``, ``[]``, ``""``) means that it is not there at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..llm.fold import Folded, TextBlock, ThinkingBlock, ToolCallBlock
from ..llm.request import Audio, Block, Document, Image, Message, Request, Text, Thinking, ToolCall, ToolResult

_decode = msgspec.json.Decoder().decode


def blocks(request: Request, *, system: bool = False) -> Iterator[Block]:
    """All blocks of all messages in order, those within tool results after their result."""
    for message in [*request.system, *request.messages] if system else request.messages:
        yield from _of(message.content)


def _of(content: str | list[Block]) -> Iterator[Block]:
    for block in [Text(content)] if isinstance(content, str) else content:
        yield block
        if isinstance(block, ToolResult):
            yield from _of(block.content)


def texts(messages: list[Message], *roles: str) -> str:
    """What is said by *roles*, as one text: APIs differ in how they part it."""
    said = [block.text for m in messages if m.role in roles for block in _of(m.content) if isinstance(block, Text)]
    return "\n".join(said)


def user_text(request: Request) -> str:
    return texts(request.messages, "user")


def system_text(request: Request) -> str:
    return texts(request.system, "system") + texts(request.messages, "system")


def images(request: Request) -> list[tuple[str, str]]:
    """Kind and data of each image that stands in what the user says."""
    return [(b.source.kind, b.source.data) for m in request.messages for b in m.content if isinstance(b, Image)]


def documents(request: Request) -> list[tuple[str, str]]:
    return [(b.source.kind, b.source.data) for b in blocks(request) if isinstance(b, Document) and b.source]


def tools(request: Request) -> list[tuple[str, str | None, Any]]:
    """Name, description and, of each property, its type and whether it is required."""
    return [(tool.name, tool.description, _shape(tool.schema)) for tool in request.tools]


def _shape(schema: dict[str, Any] | None) -> Any:
    """A schema without what APIs add to it or leave out of it: the letter case of types, closed objects."""
    if schema is None:
        return None
    inside = {name: str(_shape(p) or p.get("type")).lower() for name, p in schema.get("properties", {}).items()}
    return sorted(inside.items()) and (sorted(inside.items()), sorted(schema.get("required", [])))


def tool_choice(request: Request) -> tuple[str | None, list[str]]:
    choice = request.tool_choice
    one = choice.mode == "required" and len(choice.names) == 1
    return ("tool" if one else choice.mode, choice.names)


def one_call(request: Request) -> bool:
    return request.tool_choice.parallel is False


def calls(request: Request) -> list[tuple[str, Any]]:
    """Name and input of each call in the history."""
    found = [block for block in blocks(request) if isinstance(block, ToolCall)]
    return [(call.name, call.input if call.input is not None else _decode(call.arguments or "{}")) for call in found]


def results(request: Request) -> list[tuple[str, str]]:
    """For each result the name of the tool that was called, and its text."""
    names = {block.id: block.name for block in blocks(request) if isinstance(block, ToolCall)}
    found = [block for block in blocks(request) if isinstance(block, ToolResult)]
    return [(names.get(r.id, "?"), "\n".join(b.text for b in _of(r.content) if isinstance(b, Text))) for r in found]


def result_images(request: Request) -> list[str]:
    found = [block for block in blocks(request) if isinstance(block, ToolResult)]
    return [b.source.data for r in found for b in _of(r.content) if isinstance(b, Image)]


def failed_results(request: Request) -> list[bool]:
    return [bool(block.is_error) for block in blocks(request) if isinstance(block, ToolResult)]


def signatures(request: Request) -> list[tuple[str, str]]:
    """Thinking of earlier turns with what proves it, or sealed; and what proves the thinking that led to a call."""
    found = list(blocks(request))
    thoughts = [b for b in found if isinstance(b, Thinking)]
    proofs = [(b.text, b.signature) if b.signature else ("", b.encrypted or "") for b in thoughts]
    return proofs + [(b.name, b.signature) for b in found if isinstance(b, ToolCall) and b.signature]


def schema(request: Request) -> Any:
    return _shape(request.output.schema) if request.output else None


def json_asked(request: Request) -> bool:
    return request.output is not None


def cache_markers(request: Request) -> int:
    return sum(getattr(block, "cache", None) is not None for block in blocks(request, system=True))


def effort(request: Request) -> str | None:
    """How much is to be thought, in three steps: some APIs count tokens."""
    asked = request.reasoning
    if asked.budget is not None:
        return "low" if asked.budget < 4096 else "medium" if asked.budget < 16384 else "high"
    return asked.effort


def sampling(request: Request) -> list[Any]:
    return [request.sampling.temperature, request.sampling.top_p]


def max_tokens(request: Request) -> int | None:
    return request.sampling.max_tokens


def stop(request: Request) -> list[str]:
    return request.sampling.stop


def seed(request: Request) -> int | None:
    return request.sampling.seed


def searches(request: Request) -> bool:
    return any(tool.kind == "web_search" for tool in request.tools)


def audio(request: Request) -> list[tuple[str, str]]:
    return [(b.format, b.data) for b in blocks(request) if isinstance(b, Audio)]


def names_user(request: Request) -> bool:
    """The upstream can tell users apart: it may know them by a hash."""
    return request.user_id is not None


# ---- answers


def answer_text(answer: Folded) -> str:
    return "".join(block.text for block in answer.blocks if isinstance(block, TextBlock))


def thinking(answer: Folded) -> str:
    return "".join(block.text for block in answer.blocks if isinstance(block, ThinkingBlock))


def made_calls(answer: Folded) -> list[tuple[str, Any]]:
    return [(block.name, _decode(block.input or "{}")) for block in answer.blocks if isinstance(block, ToolCallBlock)]


def citations(answer: Folded) -> list[str]:
    return [c.url for block in answer.blocks if isinstance(block, TextBlock) for c in block.citations]


def usage(answer: Folded) -> tuple[int | None, int | None]:
    return answer.usage.input_tokens, answer.usage.output_tokens


def cache_usage(answer: Folded) -> tuple[int | None, int | None]:
    return answer.usage.cache_read_tokens, answer.usage.cache_write_tokens or None


def reasoning_usage(answer: Folded) -> int | None:
    return answer.usage.reasoning_tokens or None


def stop_reason(answer: Folded) -> str:
    return answer.ended.stop.value if answer.ended else ""


def failure(answer: Folded) -> str:
    return answer.failed.kind.value if answer.failed else ""


def is_failed(answer: Folded) -> bool:
    return answer.failed is not None
