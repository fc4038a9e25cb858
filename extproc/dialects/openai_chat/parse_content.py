"""What a message or a delta of it holds, to events: texts, reasoning, calls. The members are independent of each other:
that text comes does not mean that a call is over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

from ...llm import marker
from ...llm.events import (
    BlockEnded,
    Citation,
    CitationAdded,
    ResponseEvent,
    TextDelta,
    TextStarted,
    ThinkingDelta,
    ThinkingSealed,
    ThinkingStarted,
    ToolCallStarted,
    ToolInputDelta,
)
from ...llm.failures import ErrorKind, ProtocolError
from ...llm.losses import LossReport
from ...settings import Limits
from ..base import ResponseHead, UpstreamCall
from ..shared.fragments import fragment, says_something, string, text_in
from ..shared.openai import ERROR_KINDS
from ..shared.parser import ParserBase
from . import thoughts
from .calls import Calls, StreamedCall
from .signatures import take_signature
from .thinktags import ThinkTags
from .vocabulary import CLAUDE, NAME

_CALL_MEMBERS: Final = frozenset({"custom", "function", "id", "index", "type"})
_KNOWN: Final = frozenset({
    "annotations", "content", "finish_details", "finish_reason", "function_call", "name", "refusal", "role",
    "tool_calls", *thoughts.MEMBERS,
})  # fmt: skip
_LEGACY_ID: Final = "fc_0"
_ARGUMENTS = ("parameters", "input", "args")
_TEXT_TYPES: Final = frozenset({"text", "output_text", "input_text"})


class ContentParser(ParserBase):
    error_kinds: ClassVar[dict[str, ErrorKind]] = ERROR_KINDS

    def __init__(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> None:
        super().__init__(call, head, limits, losses)
        self._text: int | None = None  # the open block of text, of refusal, of thinking
        self._refusal: int | None = None
        self._thinking: int | None = None
        self._text_start = 0  # code points of the joined text before the open block, and in all
        self._text_length = 0
        self._blank: list[str] = []  # blank text that came in the midst of a call
        self._refused: list[str] = []
        self._thoughts: list[str] = []  # of the open block of thinking
        self._thought_index: Any = None
        self._reasoned = False  # reasoning came as a plain member: what details repeat of it is no news
        self._calls = Calls(getattr(call, "tool_names", frozenset()))
        self._legacy: StreamedCall | None = None
        # A signature may come in a delta of its own behind its call, which waits for it: such calls come whole anyway.
        self._signed_calls: bool = getattr(self.call, "signed_calls", False)
        tags: Any = getattr(self.call, "think_tags", False)
        self._tags = ThinkTags(opened=tags == "opened") if tags else None

    def _delta(self, delta: dict[str, Any], *, whole: bool = False) -> Iterator[ResponseEvent]:
        content = delta.get("content")
        if not thoughts.MEMBERS.isdisjoint(delta):
            yield from self._reasoning(delta)
        if type(content) is str:
            if content:
                yield from self._content(content)
        elif content:
            yield from self._content_list(content if type(content) is list else [content])
        refusal = delta.get("refusal")
        if type(refusal) is str and refusal:
            yield from self._refuse(refusal)
        if annotations := delta.get("annotations"):
            yield from self._annotations(annotations)
        if tool_calls := delta.get("tool_calls"):
            yield from self._tool_calls(tool_calls, whole=whole)
        function = delta.get("function_call")
        if type(function) is dict and any(function.values()):
            if self._legacy is None and self._is_told_as_one_of_several(function, whole=whole):
                self.losses.dropped("response.choices[0].message.function_call", "the same call again")
            else:
                if self._legacy is None:
                    self._legacy = self._calls.new()
                yield from self._call(self._legacy, {"function": function}, _LEGACY_ID)
        if not _KNOWN.issuperset(delta):
            self._unread(delta)

    def _is_told_as_one_of_several(self, function: dict[str, Any], *, whole: bool) -> bool:
        """Whether ``tool_calls`` tell what ``function_call`` tells as well, for clients of before 2023."""
        name, text = function.get("name"), fragment(function.get("arguments"))
        alike = [call for call in self._calls.all if not name or call.name == name]
        return any(call.is_told_by(text) for call in alike) if whole else bool(alike)

    def _unread(self, delta: dict[str, Any]) -> None:
        """Members that nobody took, as far as they say something."""
        for name, value in delta.items():
            if name not in _KNOWN and says_something(value):
                self.losses.dropped(f"response.choices[0].message.{name}")

    # ---- texts

    def _content(self, text: str) -> Iterator[ResponseEvent]:
        return self._say(text) if self._tags is None else self._tagged(self._tags, text)

    def _tagged(self, tags: ThinkTags, text: str) -> Iterator[ResponseEvent]:
        for is_thinking, piece in tags.feed(text):
            yield from self._think(piece) if is_thinking else self._say(piece)

    def _content_list(self, items: list[Any]) -> Iterator[ResponseEvent]:
        """Mistral's: texts and thinking, in the order in which they were written."""
        for item in items:
            if type(item) is str:
                item = {"type": "text", "text": item}
            elif type(item) is not dict:
                continue
            kind = item.get("type")
            if (kind is None or kind in _TEXT_TYPES) and ((text := text_in(item)) or not says_something(item)):
                if text:
                    yield from self._content(text)
            elif kind in ("thinking", "reasoning"):
                thought = thoughts.text_of(item)
                if not thought and says_something({name: item[name] for name in item if name != "signature"}):
                    self.losses.dropped("response.choices[0].message.content", "thinking that cannot be read")
                yield from self._think(thought)
                signature = item.get("signature")
                if type(signature) is str and signature:
                    yield from self._sign(signature, CLAUDE, "")
            elif kind == "tool_use":
                # Claude's, beside texts that a gateway has not changed either.
                yield from self._tool_calls([item], whole=True)
            elif kind == "refusal" and type(item.get("refusal")) is str:
                yield from self._refuse(item["refusal"])
            else:
                self.losses.dropped("response.choices[0].message.content", f"a part of type {kind!r}")

    def _say(self, text: str) -> Iterator[ResponseEvent]:
        if self._text is None:
            if not text.strip() and self._calls.unfinished():
                # Nothing but blanks between two fragments of a call: they count if words follow.
                self._blank.append(text)
                return
            yield from self._close_all()
            self._text = self.grammar.next_block
            self._text_start = self._text_length
            yield TextStarted(self._text)
            text, self._blank = "".join([*self._blank, text]), []
        self._text_length += len(text)
        yield TextDelta(self._text, text)

    def _refuse(self, text: str) -> Iterator[ResponseEvent]:
        if not text:
            return
        if self._refusal is None:
            yield from self._close_all()
            self._refusal = self.grammar.next_block
            yield TextStarted(self._refusal, refusal=True)
        self._refused.append(text)
        self.kept.add(len(text))
        yield TextDelta(self._refusal, text)

    def _annotations(self, annotations: Any) -> Iterator[ResponseEvent]:
        for annotation in annotations if type(annotations) is list else ():
            cited = annotation.get("url_citation") if type(annotation) is dict else None
            if type(cited) is not dict or self._text is None or type(cited.get("url")) is not str:
                self.losses.dropped("response.choices[0].message.annotations")
                continue
            title, start, end = cited.get("title"), cited.get("start_index"), cited.get("end_index")
            if type(start) is int and type(end) is int and self._text_start <= start <= end <= self._text_length:
                start, end = start - self._text_start, end - self._text_start
            else:
                start = end = None
            title = title if type(title) is str else None
            citation = Citation("url", NAME, cited["url"], title, None, start, end, annotation)
            yield CitationAdded(self._text, citation)

    # ---- thinking

    def _reasoning(self, delta: dict[str, Any]) -> Iterator[ResponseEvent]:
        """Reasoning comes under several names, and some servers use two of them at once."""
        found = thoughts.read(delta)
        if found is None:
            return
        text, details = found.text, found.details
        if found.opaque:
            self.losses.dropped(f"response.choices[0].message.{found.opaque}", "only its own server can read it")
        for name in found.unread:
            self.losses.dropped(f"response.choices[0].message.provider_specific_fields.{name}")
        if text and not found.leading:
            if not self._reasoned and len(details) > 1 and text == "".join(map(thoughts.text_of, details)):
                # A whole message: the details say which seal belongs to which part of the text.
                text = ""
            else:
                self._reasoned = True
                yield from self._think(text)
        for detail in details:
            yield from self._detail(detail, repeated=self._reasoned)

    def _detail(self, detail: Any, *, repeated: bool) -> Iterator[ResponseEvent]:
        """OpenRouter's and our own, or one of Claude's blocks. *repeated*: their texts have come already."""
        if type(detail) is not dict:
            return
        text, index = thoughts.text_of(detail), detail.get("index")
        if text and not repeated:
            if self._thinking is not None and index != self._thought_index:
                yield from self._close_thinking()
            yield from self._think(text)
            self._thought_index = index
        signer = detail.get("format")
        signer = signer if type(signer) is str else ""
        signature, data = detail.get("signature"), detail.get("data")
        if type(data) is str and data:
            yield from self._redacted(data, signer)
        elif type(signature) is str and signature:
            yield from self._sign(signature, signer, text)

    def _think(self, text: str) -> Iterator[ResponseEvent]:
        if not text:
            return
        if self._thinking is None:
            yield from self._close_all()
            self._thinking = self.grammar.next_block
            self._thoughts.clear()
            yield ThinkingStarted(self._thinking)
        self._thoughts.append(text)
        yield ThinkingDelta(self._thinking, text)

    def _sign(self, signature: str, signer: str, text: str) -> Iterator[ResponseEvent]:
        """A seal ends its block: it is over all of the block's text, and over no other."""
        if self._thinking is None and not text:
            yield from self._close_all()
            self._thinking = self.grammar.next_block
            self._thoughts.clear()
            yield ThinkingStarted(self._thinking)
        if self._thinking is None or (text and text != "".join(self._thoughts)):
            self.losses.dropped("response.choices[0].delta.reasoning_details", "a signature over another text")
            return
        if marker.is_mark(signature):
            signer = marker.SIGNER
        yield ThinkingSealed(self._thinking, signature, signer=signer)
        yield from self._close_thinking()

    def _redacted(self, data: str, signer: str) -> Iterator[ResponseEvent]:
        yield from self._close_all()
        block = self.grammar.next_block
        yield ThinkingStarted(block)
        yield ThinkingSealed(block, encrypted=data, signer=signer)
        yield BlockEnded(block)

    # ---- calls

    def _tool_calls(self, items: Any, *, whole: bool) -> Iterator[ResponseEvent]:
        if type(items) is dict:
            if "function" in items or "custom" in items:
                items = [items]
            elif items and all(type(each) is dict for each in items.values()):
                items = [{"index": index, **each} for index, each in items.items()]
        if type(items) is not list:
            raise ProtocolError("tool_calls", "expected an array")
        for item in _joined(items) if whole else items:
            if type(item) is not dict:
                continue
            inner, id_ = _inner(item), _id_of(item)
            name = inner.get("name")
            name = name if type(name) is str else ""
            if whole:
                yield from self._whole_call(item, id_, _arguments(inner))
            else:
                text = _arguments(inner)
                yield from self._call(self._calls.find(item, id_, name, text), item, id_)

    def _whole_call(self, item: dict[str, Any], id_: str, text: str) -> Iterator[ResponseEvent]:
        """A call of a whole message. One that is told again with its id is one call."""
        known = self._calls.known(id_) if id_ else None
        if known is not None and known.name == _inner(item).get("name") and known.is_told_by(text):
            self.losses.dropped("response.choices[0].message.tool_calls", "the same call again")
            return
        call = self._calls.new()
        yield from self._call(call, item, self._calls.unused(id_, call) if id_ else "")
        yield from self._finish_call(call)

    def _call(self, call: StreamedCall, item: dict[str, Any], id_: str) -> Iterator[ResponseEvent]:
        inner = _inner(item)
        name = inner.get("name")
        if type(name) is str:
            call.name = self._calls.named(call, name)
        call.id = call.id or id_
        if item.get("type") == "custom":
            call.kind = "custom"
        text = fragment(inner.get("input")) if call.kind == "custom" else _arguments(inner)
        if call.closed:
            if text.strip() and not call.is_told_by(text):
                raise ProtocolError("tool_calls", f"input for the call {call.name!r}, which was over")
            return
        self._sign_call(call, take_signature(item))
        if len(item) > len(inner) and call.extra is None:
            call.extra = {k: v for k, v in item.items() if k not in _CALL_MEMBERS and v is not None} or None
        if call.block is not None:
            if text:
                yield ToolInputDelta(call.block, text)
            return
        if text:
            call.parts.append(text)
            self.kept.add(len(text))
            if call.kind == "function":
                call.input.feed(text)
        if not call.name or not (call.id or text) or (not text and self._calls.is_piece(call.name)):
            return
        if not (self._signed_calls and call.signature is None):
            yield from self._start_call(call)

    def _sign_call(self, call: StreamedCall, signature: str | None) -> None:
        if signature is not None and call.block is not None:
            self.losses.dropped("response.choices[0].delta.tool_calls", "a signature that came behind its call")
        elif signature is not None:
            call.signature = signature

    def _start_call(self, call: StreamedCall) -> Iterator[ResponseEvent]:
        yield from self._close_texts()
        if self._signed_calls:
            # Those before it have waited for signatures of their own.
            for earlier in self._calls.before(call):
                yield from self._finish_call(earlier)
        call.block = self.grammar.next_block
        yield ToolCallStarted(call.block, call.id, call.name, call.kind, call.extra, call.signature)
        # What comes of it from here on is kept where it is checked.
        call.input = self.inputs.get(call.block, call.input)
        for part in call.parts:
            yield ToolInputDelta(call.block, part)
        call.parts = []

    def _finish_call(self, call: StreamedCall) -> Iterator[ResponseEvent]:
        if call.closed:
            return
        if call.block is None:
            if not call.name:
                if "".join(call.parts).strip():
                    raise ProtocolError("tool_calls", "a call without a name")
                if call.id:
                    self.losses.dropped("response.choices[0].message.tool_calls", "a call without a name and input")
                call.closed = True
                return
            yield from self._start_call(call)
        call.closed = True
        if call.block is not None:
            yield BlockEnded(call.block)

    # ---- the ends of blocks

    def _close_all(self, *, last: bool = False) -> Iterator[ResponseEvent]:
        """Before a block of text or thinking: those before it are over, but for calls whose input is not whole.
        *last*: nothing more comes."""
        yield from self._close_texts()
        for call in self._calls.going_on():
            if last or call.whole or call.kind == "custom":
                yield from self._finish_call(call)

    def _close_texts(self) -> Iterator[ResponseEvent]:
        for block in (self._text, self._refusal):
            if block is not None:
                yield BlockEnded(block)
        self._text = self._refusal = None
        if self._thinking is not None:
            yield from self._close_thinking()

    def _close_thinking(self) -> Iterator[ResponseEvent]:
        block, self._thinking, self._thought_index = self._thinking, None, None
        if block is not None:
            yield BlockEnded(block)


def _inner(item: dict[str, Any]) -> dict[str, Any]:
    """What is called, and with what; from some servers beside the call's id."""
    inner = item.get("function")
    if type(inner) is not dict:
        inner = item.get("custom")
    if type(inner) is dict:
        return inner
    return item if "name" in item or "arguments" in item else {}


def _id_of(item: dict[str, Any]) -> str:
    return string(item, "id") or string(item, "call_id") or string(item, "tool_call_id")


def _arguments(inner: dict[str, Any]) -> str:
    """The input, by the name that this API has for it, or by one that other APIs and models' own formats have."""
    value = inner.get("arguments")
    if value is None:
        value = next((inner[name] for name in _ARGUMENTS if inner.get(name) is not None), None)
    return fragment(value)


def _joined(items: list[Any]) -> list[Any]:
    """The calls of a whole message; one that was told in two, its name and its input (SGLang issue 23071), as one."""
    out: list[Any] = []
    for item in items:
        before = out[-1] if out else None
        if type(item) is dict and type(before) is dict and not (_inner(item).get("name") or _id_of(item)):
            text = _arguments(_inner(item))
            if text.strip() and _inner(before).get("name") and not _arguments(_inner(before)).strip():
                out[-1] = {**before, "function": {**_inner(before), "arguments": text}}
                continue
        out.append(item)
    return out
