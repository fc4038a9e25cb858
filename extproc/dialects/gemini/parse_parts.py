"""A Gemini request's contents and parts, read."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from ...llm.failures import ProtocolError
from ...llm.fields import json_type
from ...llm.request import (
    Audio,
    Block,
    Document,
    Image,
    Message,
    Opaque,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ..base import encode
from ..shared.naming import made_tool_id
from ..shared.open_calls import OpenCalls
from .media import AUDIO_FORMATS, is_googles
from .signatures import is_ours, read_carrier, read_seal
from .words import NAME, SIGNER, STAND_IN, GeminiFields

_ROLES: Final = {"user": "user", "model": "assistant", "function": "user", "": "user"}
_KINDS = ("text", "functionCall", "functionResponse", "inlineData", "fileData")
_ONE_TEXT = ("output", "result")
"""The one member of a result that is a text."""


class Reader:
    """Reads the contents of one request, in their order. Calls may come without ids: then each gets one by its place in
    the conversation, and results answer by name."""

    def __init__(self) -> None:
        self._calls = 0
        self._open = OpenCalls()  # ids, found by themselves and by names

    def messages(self, values: list[Any], at: str) -> list[Message]:
        """Raises ProtocolError."""
        if not values:
            raise ProtocolError(at, "at least one content is required")
        out: list[Message] = []
        for i, value in enumerate(values):
            message = self._message(value, f"{at}[{i}]", goes_on=bool(out) and out[-1].role == "assistant")
            if out and message.role == out[-1].role == "assistant":
                # Clients that collect a stream keep a content for each of its pieces.
                out[-1] = _joined(out[-1], message)
            else:
                out.append(message)
        return out

    def system(self, value: Any, at: str) -> list[Message]:
        """The system instruction: a content, or a text alone. Raises ProtocolError."""
        if value is None or value == "":
            return []
        if type(value) is str:
            return [Message("system", value, at)]
        fields = GeminiFields(value, at)
        fields.ignore("role")
        blocks: list[Block] = []
        for i, part in enumerate(_parts(fields)):
            blocks += self._part(part, f"{fields.at('parts')}[{i}]", "system")
        message = Message("system", blocks, at, extra=fields.left() or None)
        return [message] if blocks or message.extra else []

    def _message(self, value: Any, at: str, *, goes_on: bool) -> Message:
        fields = GeminiFields(value, at)
        named = fields.take("role", str, "")
        role: Any = _ROLES.get(named)
        if role is None:
            raise ProtocolError(fields.at("role"), f"expected user or model, got {named!r}")
        if role == "assistant" and not goes_on:
            self._open = OpenCalls()
        blocks: list[Block] = []
        for i, part in enumerate(_parts(fields)):
            blocks += self._part(part, f"{fields.at('parts')}[{i}]", role)
        extra = fields.left() or None
        only = blocks[0] if len(blocks) == 1 else None
        if type(only) is Text and only.extra is None and named in ("user", "model"):
            return Message(role, only.text, at, extra=extra)
        return Message(role, _settled(blocks), at, extra=extra)

    # ---- parts

    def _part(self, value: Any, at: str, role: str) -> list[Block]:
        """A part is one block, or a text and the signature that stands behind it."""
        if type(value) is str:
            return [Text(value, at)] if value else []
        fields = GeminiFields(value, at)
        kind = next((name for name in _KINDS if name in fields), None)
        if kind is None:
            return self._other(fields, value, at, role)
        if kind == "text":
            return self._text(fields, at, role)
        if kind == "functionCall":
            return self._call(fields, at, role)
        if kind == "functionResponse":
            return [self._result(fields, at, role)]
        fields.ignore("thoughtSignature", "thought")
        return [_medium(fields, kind, at)]

    def _other(self, fields: GeminiFields, value: Any, at: str, role: str) -> list[Block]:
        if role == "system":
            raise ProtocolError(at, "a system instruction holds texts only")
        if "thoughtSignature" in fields:
            signature = fields.take("thoughtSignature", str)
            return [] if is_ours(signature) else [Thinking("", signature, None, SIGNER, at=at)]
        if not value:
            raise ProtocolError(at, "the part is empty")
        if fields.rest() is None:
            return []  # an empty text
        return [Opaque(NAME, {"type": next(iter(value)), **value}, at, essential=role == "user")]

    def _text(self, fields: GeminiFields, at: str, role: str) -> list[Block]:
        text, thought = fields.take("text", str), fields.take("thought", bool, False)
        signature = fields.take("thoughtSignature", str, "") or None
        extra = fields.left() or None
        if thought and role != "assistant":
            raise ProtocolError(at, "only a model's content holds thoughts")
        if thought:
            found = read_seal(signature) if signature else None
            if found is not None:
                return [Thinking(text, found.signature, found.encrypted, found.signer, at=at, extra=extra)]
            own = signature is not None and not is_ours(signature)
            return [Thinking(text, signature if own else None, None, SIGNER if own else "", at=at, extra=extra)]
        blocks: list[Block] = [Text(text, at, extra=extra)] if text else []
        if signature is None or role != "assistant":
            return blocks
        if (found := read_seal(signature)) is not None:
            return [Thinking("", found.signature, found.encrypted, found.signer, at=at), *blocks]
        return blocks if is_ours(signature) else [*blocks, Thinking("", signature, None, SIGNER, at=at)]

    def _call(self, fields: GeminiFields, at: str, role: str) -> list[Block]:
        if role != "assistant":
            raise ProtocolError(at, "a functionCall can only be in a model's content")
        call = GeminiFields(fields.take("functionCall", dict), fields.at("functionCall"))
        signature = fields.take("thoughtSignature", str, "") or None
        fields.ignore("thought")
        self._calls += 1
        name = call.take("name", str)
        id_ = call.take("id", str, "") or made_tool_id("", self._calls, "call_")
        self._open.add(id_, ("id", id_), ("name", name))
        thoughts = list[Block]()
        if signature is not None and is_ours(signature):
            thoughts += read_carrier(signature, at)
            signature = None
        if signature == STAND_IN:
            signature = None
        input_ = call.take("args", dict, {})
        extra = {**fields.left(), **call.left()} or None
        return [*thoughts, ToolCall(id_, name, input=input_, at=at, extra=extra, signature=signature)]

    def _result(self, fields: GeminiFields, at: str, role: str) -> ToolResult:
        if role != "user":
            raise ProtocolError(at, "a functionResponse can only be in a user's content")
        result = GeminiFields(fields.take("functionResponse", dict), fields.at("functionResponse"))
        name, id_ = result.take("name", str, ""), result.take("id", str, "")
        result.ignore("willContinue", "scheduling")
        fields.ignore("thoughtSignature")
        response = result.take("response", dict, {})
        text, is_error = _said(response)
        parts: list[Block] = []
        for i, part in enumerate(result.take("parts", list, [])):
            inner = GeminiFields(part, f"{result.at('parts')}[{i}]")
            kind = next((each for each in ("inlineData", "fileData") if each in inner), None)
            if kind is None:
                raise ProtocolError(inner.path, "expected inlineData or fileData")
            parts.append(_medium(inner, kind, inner.path))
        content: str | list[Block] = [*([Text(text, at)] if text else []), *parts] if parts else text
        extra = {**fields.left(), **result.left()}
        return ToolResult(self._answers(id_, name, at), content, is_error, at, extra=extra or None)

    def _answers(self, id_: str, name: str, at: str) -> str:
        """The id of the call that is answered: by its id, else the first of that name, else the first."""
        answered: str | None = (
            self._open.take(("id", id_)) or self._open.take(("name", name)) or self._open.take_first()
        )
        if answered is None:
            # Its call is not in the history any more: an id that no call has.
            self._calls += 1
            return made_tool_id(f"none.{at}", self._calls, "call_")
        return answered


def _parts(fields: GeminiFields) -> list[Any]:
    parts = fields.any("parts")
    if type(parts) is dict:
        return [parts]  # the API takes one part alone as well
    if parts is None:
        return []
    if type(parts) is not list:
        raise ProtocolError(fields.at("parts"), f"expected an array, got {json_type(parts)}")
    return parts


def _joined(first: Message, second: Message) -> Message:
    """Two contents of one turn as one; of a text that came in pieces the whole."""
    blocks: list[Block] = [Text(first.content, first.at)] if isinstance(first.content, str) else list(first.content)
    more: list[Block] = [Text(second.content, second.at)] if isinstance(second.content, str) else second.content
    for block in more:
        last = blocks[-1] if blocks else None
        if type(block) is Text and type(last) is Text and not block.extra and not last.extra:
            blocks[-1] = Text(last.text + block.text, last.at)
        else:
            blocks.append(block)
    extra = {**(first.extra or {}), **(second.extra or {})} or None
    return Message("assistant", _settled(blocks), first.at, extra=extra)


def _settled(blocks: list[Block]) -> list[Block]:
    """Thoughts whole where they came in pieces, the seal with the last; those that came both by themselves and with a
    call behind them, once."""
    seen: set[str] = set()
    out: list[Block] = []
    for block in blocks:
        if type(block) is Thinking:
            seal = block.signature or block.encrypted
            if seal in seen:
                continue
            if seal is not None:
                seen.add(seal)
            last = out[-1] if out else None
            if type(last) is Thinking and not (last.signature or last.encrypted):
                out[-1] = replace(block, text=last.text + block.text, at=last.at)
                continue
        out.append(block)
    return out


def _said(response: dict[str, Any]) -> tuple[str, bool | None]:
    """A result as text, and whether it is an error: the API's own names say so."""
    if len(response) == 1:
        name, value = next(iter(response.items()))
        if name == "error":
            return (value if type(value) is str else encode(value).decode()), True
        if name in _ONE_TEXT and type(value) is str:
            return value, None
    return (encode(response).decode() if response else ""), None


def _medium(fields: GeminiFields, kind: str, at: str) -> Block:
    inner = GeminiFields(fields.take(kind, dict), fields.at(kind))
    media_type = inner.take("mimeType", str, "").lower()
    title = inner.take("displayName", str, "") or None
    if kind == "inlineData":
        data = inner.take("data", str)
        data = data.translate(_FROM_URL) if "-" in data or "_" in data else data
        source = Source("base64", data, media_type or None)
    else:
        uri = inner.take("fileUri", str)
        googles = is_googles(uri)
        source = Source("file" if googles else "url", uri, media_type or None, NAME if googles else "")
    extra = {**fields.left(), **inner.left()} or None
    if media_type.startswith("image/"):
        return Image(source, at, extra=extra)
    if kind == "inlineData" and media_type.startswith("audio/"):
        known = AUDIO_FORMATS.get(media_type, media_type.partition("/")[2])
        return Audio(source.data, known, at)
    return Document(source, at=at, title=title, extra=extra)


_FROM_URL: Final = str.maketrans("-_", "+/")
