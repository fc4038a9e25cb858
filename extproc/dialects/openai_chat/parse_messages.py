"""A Chat request's messages, read, and checked as the API checks them: each call is answered, once, before the
assistant speaks again."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...llm import marker
from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.request import Block, CacheMarker, Document, Image, Message, Text, Thinking, ToolCall, ToolResult
from ..base import encode
from ..shared.openai import cache_marker
from .parse_parts import content
from .signatures import take_signature
from .vocabulary import CLAUDE

_THINKING_MEMBERS = frozenset(
    {"provider_specific_fields", "reasoning", "reasoning_content", "reasoning_details", "thinking_blocks"}
)
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def read_messages(values: list[Any]) -> tuple[list[Message], list[Message]]:
    """The leading system and developer messages, and the others. Raises ProtocolError."""
    if not values:
        raise ProtocolError("messages", "at least one message is required")
    reader = _Reader()
    messages = [reader.message(value, i) for i, value in enumerate(values)]
    reader.end()
    leading = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    return messages[:leading], messages[leading:]


class _Reader:
    def __init__(self) -> None:
        self._open: list[ToolCall] = []
        self._answered: set[str] = set()

    def message(self, value: Any, index: int) -> Message:
        fields = Fields(value, f"messages[{index}]")
        role = fields.take("role", str)
        match role:
            case "system" | "developer":
                return self._plain(fields, "system")
            case "user":
                return self._plain(fields, "user")
            case "assistant":
                thinking = [] if _THINKING_MEMBERS.isdisjoint(value) else _thinking(fields)
                return self._assistant(fields, index, thinking)
            case "tool" | "function":
                return self._tool(fields, legacy=role == "function")
        raise ProtocolError(fields.at("role"), f"expected one of {', '.join(_ROLES)}, got {role!r}")

    def end(self) -> None:
        if self._open:
            raise ProtocolError(self._open[0].at, "the tool call has no result")

    def _plain(self, fields: Fields, role: Any) -> Message:
        if "content" not in fields:
            raise ProtocolError(fields.at("content"), "is missing")
        said = _with_cache(content(fields, role), cache_marker(fields), fields.path)
        return Message(role, said, fields.path, fields.maybe("name", str), fields.rest())

    # ---- the assistant

    def _assistant(self, fields: Fields, index: int, thinking: list[Thinking]) -> Message:
        self.end()
        fields.ignore("annotations")
        said = content(fields, "assistant")
        refusal = fields.maybe("refusal", str)
        calls = self._calls(fields, index) if "tool_calls" in fields or "function_call" in fields else []
        cache, name = cache_marker(fields), fields.maybe("name", str)
        if refusal and (said == "" or said == []):
            said = refusal
        elif refusal:
            before = [Text(said, fields.path)] if isinstance(said, str) else said
            said = [*before, Text(refusal, fields.at("refusal"), refusal=True)]
        said = _with_cache(said, cache, fields.path)
        if thinking or calls:
            texts = [Text(said, fields.path)] if said and isinstance(said, str) else said or ()
            said = [*thinking, *texts, *calls]
        return Message("assistant", said, fields.path, name, fields.rest())

    def _calls(self, fields: Fields, index: int) -> list[ToolCall]:
        at = fields.at("tool_calls")
        calls = [_call(value, f"{at}[{i}]") for i, value in enumerate(fields.take("tool_calls", list, []))]
        if "function_call" in fields:
            function = Fields(fields.any("function_call"), fields.at("function_call"))
            name, arguments = function.take("name", str), _arguments(function)
            calls.append(ToolCall(f"fc_{index}", name, arguments, at=function.path, extra=function.rest()))
        self._open = list(calls)
        self._answered.clear()
        return calls

    # ---- tools

    def _tool(self, fields: Fields, *, legacy: bool) -> Message:
        id_, name = marker.unsealed_id(fields.maybe("tool_call_id", str) or "")[0], fields.maybe("name", str)
        call = self._answers(fields, id_, name if legacy else None)
        said, cache = content(fields, "tool"), cache_marker(fields)
        result = ToolResult(call.id, said, fields.maybe("is_error", bool), fields.path, cache)
        # The name of the tool says nothing new.
        return Message("tool", [result], fields.path, None if legacy or name == call.name else name, fields.rest())

    def _answers(self, fields: Fields, id_: str, name: str | None) -> ToolCall:
        """The call that is answered: the one of that id; without ids, the next."""
        for i, call in enumerate(self._open):
            if (id_ == call.id) if id_ and call.id else (name is None or name == call.name):
                self._answered.add(call.id)
                return self._open.pop(i)
        at = fields.path if not id_ else fields.at("tool_call_id")
        if id_ and id_ in self._answered:
            raise ProtocolError(at, f"the tool call {id_!r} is answered already")
        what = f"no tool call {id_!r}" if id_ else "no unanswered tool call"
        raise ProtocolError(at, f"there is {what} in the assistant's message before it")


def _call(value: Any, at: str) -> ToolCall:
    fields = Fields(value, at)
    kind = fields.take("type", str, "function")
    fields.ignore("index")
    id_, cache = fields.maybe("id", str) or "", cache_marker(fields)
    if kind not in ("function", "custom"):
        raise ProtocolError(f"{at}.type", f"expected function or custom, got {kind!r}")
    inner = Fields(fields.take(kind, dict), fields.at(kind))
    name = inner.take("name", str)
    text = inner.take("input", str, "") if kind == "custom" else _arguments(inner)
    extra = {**(fields.rest() or {}), **(inner.rest() or {})}
    id_, sealed = marker.unsealed_id(id_)
    signature = take_signature(extra) or sealed
    return ToolCall(id_, name, text, kind=kind, at=at, cache=cache, extra=extra or None, signature=signature)  # type: ignore[arg-type]


def _arguments(function: Fields) -> str:
    """The input as text, as it came; some clients send the object."""
    value = function.any("arguments")
    if value is None or type(value) is str:
        return value or ""
    if type(value) is dict:
        return encode(value).decode()
    raise ProtocolError(function.at("arguments"), f"expected a string, got {json_type(value)}")


def _with_cache(said: str | list[Block], cache: CacheMarker | None, at: str) -> str | list[Block]:
    """A message's own cache marker stands for one on its last part."""
    if cache is None or not said:
        return said
    if isinstance(said, str):
        return [Text(said, at, cache)]
    last = said[-1]
    return [*said[:-1], replace(last, cache=cache)] if isinstance(last, Text | Image | Document) else said


# ---- thinking of earlier turns (OpenRouter, "Preserving reasoning"; LiteLLM, "Reasoning content"; DeepSeek, vLLM)


def _thinking(fields: Fields) -> list[Thinking]:
    """Thinking, from the first place that holds any: from the most to the least faithful."""
    details = _details(fields.lenient("reasoning_details", list, []), fields.at("reasoning_details"))
    blocks = _claude_blocks(fields.lenient("thinking_blocks", list, []), fields.at("thinking_blocks"))
    nested = fields.lenient("provider_specific_fields", dict, {})
    if not blocks and type(inner := nested.get("thinking_blocks")) is list:
        blocks = _claude_blocks(inner, fields.at("provider_specific_fields.thinking_blocks"))
    plain: list[Thinking] = []
    for name in ("reasoning_content", "reasoning"):
        text = fields.lenient(name, str, "")
        if text and not plain:
            plain.append(Thinking(text, at=fields.at(name)))
    return details or blocks or plain


def _details(values: list[Any], at: str) -> list[Thinking]:
    out: list[Thinking] = []
    for value in values:
        if type(value) is not dict:
            continue
        format_, index = value.get("format"), value.get("index")
        signature, data = value.get("signature"), value.get("data")
        text = value.get("text") if value.get("type") == "reasoning.text" else value.get("summary")
        block = Thinking(
            text if type(text) is str else "",
            signature if type(signature) is str and signature else None,
            data if type(data) is str and data else None,
            format_ if type(format_) is str else "",
            index if type(index) is int else None,
            at,
        )
        if marker.is_mark(block.signature):
            block = replace(block, signer=marker.SIGNER)
        last = out[-1] if out else None
        if last is not None and _continues(block, last):
            out[-1] = replace(block, text=last.text + block.text, signer=block.signer or last.signer)
        elif block.text or block.signature or block.encrypted:
            out.append(block)
    return out


def _continues(block: Thinking, last: Thinking) -> bool:
    """Clients that collect a stream keep an entry for each of its pieces; the signature comes with the last one."""
    same = block.index is not None and block.index == last.index
    return same and not (last.signature or last.encrypted or block.encrypted)


def _claude_blocks(values: list[Any], at: str) -> list[Thinking]:
    """Claude's own blocks, as LiteLLM hands them to its clients."""
    out = []
    for value in values:
        if type(value) is not dict:
            continue
        text, signature, data = value.get("thinking"), value.get("signature"), value.get("data")
        if value.get("type") == "redacted_thinking" and type(data) is str:
            out.append(Thinking("", None, data, CLAUDE, at=at))
        elif type(text) is str and type(signature) is str and signature:
            signer = marker.SIGNER if marker.is_mark(signature) else CLAUDE
            out.append(Thinking(text, signature, None, signer, at=at))
    return out
