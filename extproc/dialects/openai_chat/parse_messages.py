"""A Chat request's messages, read.

Calls without results and results without calls are read as they stand: they are what an interrupted turn leaves in a
history, and whoever writes them for an upstream knows what it takes in their place.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ...llm import marker
from ...llm.failures import ProtocolError
from ...llm.fields import Fields, json_type
from ...llm.request import Block, CacheMarker, Document, Image, Message, Text, Thinking, ToolCall, ToolResult
from ..base import encode
from ..shared.open_calls import OpenCalls
from ..shared.openai import cache_marker
from . import thoughts
from .parse_parts import content, parts
from .signatures import take_signature
from .vocabulary import CLAUDE

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def read_messages(values: list[Any]) -> tuple[list[Message], list[Message]]:
    """The leading system and developer messages, and the others. Raises ProtocolError."""
    if not values:
        raise ProtocolError("messages", "at least one message is required")
    reader = _Reader()
    messages = [reader.message(value, i) for i, value in enumerate(values)]
    leading = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    return messages[:leading], messages[leading:]


def read_system(value: Any) -> Message:
    """A system prompt where Anthropic's API has it, of clients that had Claude in mind. Raises ProtocolError."""
    return Message("system", value if type(value) is str else parts(value, "system", "system"), "system")


class _Reader:
    def __init__(self) -> None:
        self._open = OpenCalls()
        """By ("id", id), those without an id by "none" too, and by ("name", name)."""
        self._speaker = ""

    def message(self, value: Any, index: int) -> Message:
        fields = Fields(value, f"messages[{index}]")
        role = fields.take("role", str)
        before, self._speaker = self._speaker, role
        if role == "assistant" and before != "assistant":
            # What was not answered by now never will be, and ids may count anew.
            self._open = OpenCalls()
        match role:
            case "system" | "developer":
                return self._plain(fields, "system")
            case "user":
                return self._plain(fields, "user")
            case "assistant":
                thinking = [] if thoughts.MEMBERS.isdisjoint(value) else _thinking(fields)
                return self._assistant(fields, index, thinking)
            case "tool" | "function":
                return self._tool(fields, legacy=role == "function")
        raise ProtocolError(fields.at("role"), f"expected one of {', '.join(_ROLES)}, got {role!r}")

    def _plain(self, fields: Fields, role: Any) -> Message:
        if "content" not in fields:
            raise ProtocolError(fields.at("content"), "is missing")
        said = _with_cache(content(fields, role), cache_marker(fields), fields.path)
        if type(said) is list:
            said = [self._paired(block) if type(block) is ToolResult else block for block in said]
        return Message(role, said, fields.path, fields.maybe("name", str), fields.rest())

    # ---- the assistant

    def _assistant(self, fields: Fields, index: int, thinking: list[Thinking]) -> Message:
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
        said, thinking = _once(said, calls, thinking)
        if not calls:
            said = _with_cache(said, cache, fields.path)
        elif cache is not None:
            calls[-1] = replace(calls[-1], cache=calls[-1].cache or cache)
        if thinking or calls:
            texts = [Text(said, fields.path)] if said and isinstance(said, str) else said or ()
            said = [*thinking, *texts, *calls]
        if type(said) is list:
            for block in said:
                if type(block) is ToolCall:
                    self._opened(block)
        return Message("assistant", said, fields.path, name, fields.rest())

    def _calls(self, fields: Fields, index: int) -> list[ToolCall]:
        at = fields.at("tool_calls")
        calls = [_call(value, f"{at}[{i}]") for i, value in enumerate(fields.take("tool_calls", list, []))]
        if "function_call" in fields:
            function = Fields(fields.any("function_call"), fields.at("function_call"))
            name, arguments = function.take("name", str), _arguments(function)
            calls.append(ToolCall(f"fc_{index}", name, arguments, at=function.path, extra=function.rest()))
        return calls

    def _opened(self, call: ToolCall) -> None:
        keys: list[Any] = [("id", call.id), ("name", call.name)]
        self._open.add(call, *keys, *(() if call.id else ("none",)))

    # ---- tools

    def _tool(self, fields: Fields, *, legacy: bool) -> Message:
        id_, name = marker.unsealed_id(fields.maybe("tool_call_id", str) or "")[0], fields.maybe("name", str)
        call = self._answered(id_, name if legacy else None)
        said, cache = content(fields, "tool"), cache_marker(fields)
        result = ToolResult(
            call.id if call is not None else id_, said, fields.maybe("is_error", bool), fields.path, cache
        )
        # The name of the tool says nothing new, where its call is known.
        known = legacy or (call is not None and name == call.name)
        return Message("tool", [result], fields.path, None if known else name, fields.rest())

    def _answered(self, id_: str, name: str | None) -> ToolCall | None:
        """The call that is answered: the one of that id; without ids, the next (of that name)."""
        found: ToolCall | None
        if id_:
            found = self._open.take(("id", id_))
            return found if found is not None else self._open.take("none")
        found = self._open.take(("name", name)) if name is not None else self._open.take_first()
        return found

    def _paired(self, result: ToolResult) -> ToolResult:
        call = self._answered(result.id, None)
        return result if call is None or call.id == result.id else replace(result, id=call.id)


def _once(
    said: str | list[Block], calls: list[ToolCall], thinking: list[Thinking]
) -> tuple[str | list[Block], list[Thinking]]:
    """*said* and *thinking* without what is said in both forms, parts and members: some clients keep both. The calls of
    the members win, and of the thinking the one that is signed."""
    if type(said) is not list or not (calls or thinking):
        return said, thinking
    own = [block for block in said if type(block) is Thinking]
    if any(block.signer for block in own) and not any(block.signer for block in thinking):
        thinking = []
    ids = {call.id for call in calls}
    kept = [
        block
        for block in said
        if not ((type(block) is ToolCall and block.id in ids) or (type(block) is Thinking and thinking))
    ]
    return kept, thinking


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
    if value == []:
        return ""  # PHP's empty map
    raise ProtocolError(function.at("arguments"), f"expected a string, got {json_type(value)}")


def _with_cache(said: str | list[Block], cache: CacheMarker | None, at: str) -> str | list[Block]:
    """A message's own cache marker stands for one on its last part."""
    if cache is None or not said:
        return said
    if isinstance(said, str):
        return [Text(said, at, cache)]
    last = said[-1]
    if isinstance(last, Text | Image | Document | ToolCall | ToolResult):
        return [*said[:-1], replace(last, cache=last.cache or cache)]
    return said


# ---- thinking of earlier turns (OpenRouter, "Preserving reasoning"; LiteLLM, "Reasoning content"; DeepSeek, vLLM)


def _thinking(fields: Fields) -> list[Thinking]:
    """Thinking, from the first place that holds any: from the most to the least faithful."""
    details = _details(fields.lenient("reasoning_details", list, []), fields.at("reasoning_details"))
    blocks = _claude_blocks(fields.lenient("thinking_blocks", list, []), fields.at("thinking_blocks"))
    nested = fields.lenient("provider_specific_fields", dict, {})
    if not blocks and type(inner := nested.get("thinking_blocks")) is list:
        blocks = _claude_blocks(inner, fields.at("provider_specific_fields.thinking_blocks"))
    plain: list[Thinking] = []
    signature = ""
    for name in thoughts.SIGNATURES:
        signature = fields.lenient(name, str, "") or signature
    for name in thoughts.PLAIN:
        value = fields.any(name)
        if value and not plain and (text := thoughts.text_of({"text": value})):
            own = value.get("signature") if type(value) is dict else signature
            plain += _claude_blocks([{"type": "thinking", "thinking": text, "signature": own}], fields.at(name))
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
        elif type(text) is str and text:
            out.append(Thinking(text, at=at))
    return out
