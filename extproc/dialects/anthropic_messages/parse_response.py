"""A Messages upstream's answer, streamed or whole.

The stream: ``message_start (ping | block)* message_delta+ message_stop``, a block being ``content_block_start
content_block_delta* content_block_stop``; an ``error`` may come anywhere (Anthropic, "Streaming Messages"). Events,
deltas and blocks that are not known must be passed over.

Repaired, because servers of other makers do it: a missing or a second message_start, a text or thinking delta without a
block's start, gaps in the indexes, a missing content_block_stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Final

from ...llm import marker
from ...llm.events import (
    BlockEnded,
    Citation,
    CitationAdded,
    Extra,
    KeepAlive,
    OpaqueDelta,
    OpaqueStarted,
    ResponseEnded,
    ResponseEvent,
    ResponseFailed,
    ResponseStarted,
    StopReason,
    TextDelta,
    TextStarted,
    ThinkingDelta,
    ThinkingSealed,
    ThinkingStarted,
    ToolCallStarted,
    ToolInputDelta,
    Usage,
)
from ...llm.failures import ErrorKind, ProtocolError
from ...llm.losses import LossReport
from ...settings import Limits
from ..base import ResponseHead, UpstreamCall, encode
from ..shared.alike import Alike
from ..shared.counts import added, whole
from ..shared.errors import is_bare_error
from ..shared.fragments import fragment, place, says_something, several, string, text_in, unread
from ..shared.parser import ParserBase, named
from ..shared.reading import decode
from .vocabulary import ERROR_KINDS, NAME, SIGNER, STOP_REASONS

_TEXT, _THINKING, _TOOL, _OPAQUE = range(4)
_NO_EXTRA: Final = frozenset(
    {"type", "role", "content", "id", "model", "usage", "stop_reason", "stop_sequence", "stop_details"}
)


_OF_TEXT: Final = frozenset({"type", "text", "content", "value", "output_text", "citations"})
_OF_THINKING: Final = frozenset({"type", "thinking", "signature"})
_OF_TOOL: Final = frozenset({"type", "id", "name", "input", "arguments", "parameters", "caller", "cache_control"})
_OF_EMPTY: Final = frozenset({"type", "citations"})


_DELTA: Final = b"content_block_delta"
"""The name of by far the most events."""
_PLAIN: Final[dict[int, tuple[str, str]]] = {
    _TEXT: ("text_delta", "text"),
    _THINKING: ("thinking_delta", "thinking"),
    _TOOL: ("input_json_delta", "partial_json"),
}
"""Of which type a block's deltas are, and in which member their text stands."""


class _Block:
    """An open block: our number for it, its kind, and a tool's input as its start gave it, until more of it came."""

    __slots__ = ("alike", "input", "kind", "number")

    def __init__(self, number: int, kind: int, input_: Any = None) -> None:
        self.number = number
        self.kind = kind
        self.input = input_
        self.alike = Alike()

    def more(self, text: str) -> tuple[ResponseEvent]:
        """What *text* of a delta says."""
        number, kind = self.number, self.kind
        if kind == _TEXT:
            return (TextDelta(number, text),)
        return (ThinkingDelta(number, text) if kind == _THINKING else ToolInputDelta(number, text),)

    def text_of(self, message: dict[str, Any]) -> str | None:
        """The text of a delta that plainly goes on with this block."""
        delta, plain = message.get("delta"), _PLAIN.get(self.kind)
        if message.get("type") != "content_block_delta" or type(delta) is not dict or plain is None:
            return None
        text = delta.get(plain[1])
        return text if delta.get("type") == plain[0] and type(text) is str else None

    def read(self, data: bytes) -> str | None:
        try:
            message = decode(data, "")
        except ProtocolError:
            return None
        return self.text_of(message) if type(message) is dict else None


class MessagesParser(ParserBase):
    error_kinds: ClassVar[dict[str, ErrorKind]] = ERROR_KINDS
    event_names: ClassVar[tuple[bytes, ...]] = (b"message", b"content_block", b"error")

    def __init__(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> None:
        super().__init__(call, head, limits, losses)
        self._blocks: dict[int, _Block] = {}  # by the upstream's index
        self._count = 0
        self._started = False
        self._usage: dict[str, int] = {}
        self._tier: str | None = None
        self._stop: str | None = None
        self._stop_sequence: str | None = None
        self._details: dict[str, Any] = {}
        self._extra: Extra = {}
        self._signer = call.undo.signer or SIGNER
        self._last: _Block | None = None  # of which the last delta was, while it is open

    # ---- streamed

    def on_item(self, item: Any, *, last: bool) -> Iterable[ResponseEvent]:
        data: bytes = item.data
        if item.event != _DELTA or not data.startswith(b"{") or self.is_heavy(data):
            return super().on_item(item, last=last)
        block = self._last
        if block is not None and (text := block.alike.text(data)):
            return block.more(text)
        message = self.decode_message(data, item.event, last=last)
        if message is None:
            return ()
        block = self._block_of(message)
        if block is None or not (text := block.text_of(message)):
            return self.on_message(named(message, item.event))
        block.alike.learn(data, text, block.read)
        block.input = None
        self._last = block
        return block.more(text)

    def _block_of(self, message: Any) -> _Block | None:
        """The open block that a message goes on with, where it plainly says so."""
        index = message.get("index") if type(message) is dict else None
        return self._blocks.get(index) if type(index) is int else None

    def on_message(self, message: Any) -> Iterator[ResponseEvent]:
        if type(message) is not dict:
            raise ProtocolError("event", "expected an object")
        kind = message.get("type")
        if kind == "content_block_delta":
            return self._on_delta(message)
        handler = _HANDLERS.get(kind) if type(kind) is str else None
        if handler is not None:
            return handler(self, message)
        if self.is_error(message):
            return self._on_error(message)
        if kind == "message" and not self._started:
            # A whole answer, in place of a stream of it.
            return self.on_whole(message)
        return iter(())

    def is_error(self, body: dict[str, Any]) -> bool:
        if super().is_error(body):
            return not body.get("content")
        return "type" not in body and not body.get("content") and is_bare_error(body)

    def on_close(self) -> Iterator[ResponseEvent]:
        if self._stop is None:
            yield from super().on_close()
        else:
            yield from self._end()

    def _on_start(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        if not self._started:
            message = _object(event.get("message"))
            self._started = True
            yield self._started_event(message)
            # Some servers start with a message that is not empty.
            for block in _list(message.get("content")):
                yield from self._whole_block(block)

    def _on_block_start(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        yield from self._ensure_started()
        content = _object(event.get("content_block"))
        index = self._index(event)
        for other, block in list(self._blocks.items()):
            # Calls may be open side by side, at servers that run them so; text and thinking are over.
            if other == index or block.kind in (_TEXT, _THINKING):
                yield from self._end_block(other)
        if content.get("type") or says_something(content):
            yield from self._open(index, content)

    def _on_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        delta = event.get("delta")
        if type(delta) is not dict:
            raise ProtocolError("content_block_delta.delta", "expected an object")
        index = place(event.get("index"))
        block = self._blocks.get(index) if index is not None else None
        if block is None:
            index = self._index(event)
            if index not in self._blocks:
                yield from self._repair_start(index, delta)
            block = self._blocks.get(index)
            if block is None:
                self._unknown(self._count, delta)
                return
        kind = delta.get("type")
        if kind not in _DELTAS:
            kind = _DELTA_OF.get(_kind_of(delta), kind)
        if block.kind == _OPAQUE:
            yield OpaqueDelta(block.number, delta)
        elif kind == "text_delta":
            if text := self._said(block.number, delta.get("text")):
                yield TextDelta(block.number, text)
        elif kind == "input_json_delta":
            if text := fragment(delta.get("partial_json", delta.get("input"))):
                block.input = None
                yield ToolInputDelta(block.number, text)
        elif kind == "thinking_delta":
            if text := self._said(block.number, delta.get("thinking")):
                yield ThinkingDelta(block.number, text)
        elif kind == "signature_delta":
            yield from self._sealed(block.number, delta.get("signature"))
        elif kind == "citations_delta":
            yield from _cited(block.number, [delta.get("citation")])
        else:
            self._unknown(block.number, delta)

    def _unknown(self, number: int, delta: dict[str, Any]) -> None:
        if says_something(delta):
            self.losses.dropped(f"response.content[{number}]", f"a delta of type {delta.get('type')!r}")

    def _on_block_stop(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._end_block(self._index(event))

    def _on_message_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        yield from self._ensure_started()
        delta = _object(event.get("delta"))
        self._note_end(delta)
        self._note_usage(delta.get("usage"))
        self._note_usage(event.get("usage"))
        others = {**event, **delta}
        for name in ("delta", "type", "usage"):
            others.pop(name, None)
        self._note_extra(others)

    def _on_message_stop(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        yield from self._ensure_started()
        self._note_usage(event.get("usage"))
        yield from self._end()

    def _on_error(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        yield self.failure_of(event)

    def _on_ping(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        yield KeepAlive()

    def _ensure_started(self) -> Iterator[ResponseEvent]:
        if not self._started:
            self._started = True
            yield ResponseStarted("", self.call.request.model)

    def _index(self, event: dict[str, Any]) -> int:
        """The block's index; without one, the block that is open, or the next."""
        index = place(event.get("index"))
        if index is not None:
            return index
        return next(reversed(self._blocks), self._count)

    def _repair_start(self, index: int, delta: dict[str, Any]) -> Iterator[ResponseEvent]:
        kind = {"text_delta": "text", "thinking_delta": "thinking"}.get(str(delta.get("type")))
        if delta.get("type") not in _DELTAS and _kind_of(delta) in ("text", "thinking"):
            kind = _kind_of(delta)
        if kind is not None:
            yield from self._ensure_started()
            yield from self._open(index, {"type": kind})
        elif delta.get("type") == "input_json_delta" and delta.get("partial_json"):
            raise ProtocolError("content_block_delta", f"tool input for block {index}, which has not started")

    def _end_block(self, index: int) -> Iterator[ResponseEvent]:
        self._last = None
        block = self._blocks.pop(index, None)
        if block is not None:
            if block.input is not None:
                yield ToolInputDelta(block.number, _input_text(block.input))
            yield BlockEnded(block.number)

    # ---- whole

    def on_whole(self, body: dict[str, Any]) -> Iterator[ResponseEvent]:
        content = several(body.get("content"))
        if content is not None and type(content) is not list:
            raise ProtocolError("content", "expected an array")
        if content is None and body.get("type") != "message":
            raise ProtocolError("body", "this is no message")
        self._started = True
        self._note_end(body)
        yield self._started_event(body)
        for block in content or ():
            yield from self._whole_block(block)
        yield from self._end()

    def _whole_block(self, content: Any) -> Iterator[ResponseEvent]:
        index = self._count
        content = {"type": "text", "text": content} if type(content) is str else _object(content)
        if not (says_something(content) or content.get("type")):
            return
        yield from self._open(index, content)
        yield from self._end_block(index)

    # ---- shared

    def _started_event(self, message: dict[str, Any]) -> ResponseStarted:
        self._note_usage(message.get("usage"))
        extra = unread(message, _NO_EXTRA)
        return ResponseStarted(string(message, "id"), string(message, "model"), self._total(), extra=extra)

    def _open(self, index: int, content: dict[str, Any]) -> Iterator[ResponseEvent]:
        """A block's start with whatever it already holds."""
        if content.get("type") == "tool_use" and not says_something(content):
            return  # what a Go server writes for no call at all
        number = self._count
        self._count += 1
        self._last = None
        kind = content.get("type") or _kind_of(content) or ("tool_use" if string(content, "name") else "")
        if kind in ("text", "output_text"):
            self._blocks[index] = _Block(number, _TEXT)
            yield TextStarted(number)
            text = text_in(content)
            self.losses.extra(f"response.content[{number}]", unread(content, _OF_TEXT if text else _OF_EMPTY))
            if text:
                yield TextDelta(number, text)
            yield from _cited(number, _list(content.get("citations")))
        elif kind == "thinking":
            self._blocks[index] = _Block(number, _THINKING)
            yield ThinkingStarted(number)
            self.losses.extra(f"response.content[{number}]", unread(content, _OF_THINKING))
            if text := self._said(number, content.get("thinking")):
                yield ThinkingDelta(number, text)
            yield from self._sealed(number, content.get("signature"))
        elif kind == "redacted_thinking":
            self._blocks[index] = _Block(number, _THINKING)
            yield ThinkingStarted(number)
            yield ThinkingSealed(number, encrypted=string(content, "data"), signer=self._signer)
        elif kind == "tool_use":
            given = next((content[name] for name in _INPUTS if content.get(name) is not None), None)
            self._blocks[index] = _Block(number, _TOOL, {} if given is None else given)
            self.losses.extra(f"response.content[{number}]", unread(content, _OF_TOOL))
            yield ToolCallStarted(number, string(content, "id"), string(content, "name"))
        else:
            self._blocks[index] = _Block(number, _OPAQUE)
            yield OpaqueStarted(number, NAME, content)

    def _said(self, number: int, value: Any) -> str:
        """The text that stands where one belongs, as it is or in some other form."""
        text = text_in(value)
        if not text and says_something(value):
            self.losses.dropped(f"response.content[{number}]")
        return text

    def _sealed(self, number: int, signature: Any) -> Iterator[ResponseEvent]:
        if type(signature) is str and signature:
            signer = marker.SIGNER if marker.is_mark(signature) else self._signer
            yield ThinkingSealed(number, signature, signer=signer)

    def _end(self) -> Iterator[ResponseEvent]:
        for index in list(self._blocks):
            yield from self._end_block(index)
        stop: StopReason | ResponseFailed = StopReason.END
        if self._stop is not None:
            stop = self.read_stop(self._stop, STOP_REASONS, "response.stop_reason")
        if isinstance(stop, ResponseFailed):
            yield stop
            return
        explanation = self._details.get("explanation")
        if self._details.get("category") is not None:
            self._extra["stop_details"] = self._details
        yield ResponseEnded(
            stop,
            self._total(),
            self._stop_sequence,
            self._stop,
            explanation if type(explanation) is str else None,
            self._tier,
            self._extra or None,
        )

    def _note_end(self, members: dict[str, Any]) -> None:
        stop, sequence = members.get("stop_reason"), members.get("stop_sequence")
        if type(stop) is str and stop:
            self._stop = stop
        if type(sequence) is str:
            self._stop_sequence = sequence
        self._details |= _object(members.get("stop_details"))

    def _note_extra(self, members: dict[str, Any]) -> None:
        for name, value in members.items():
            if name not in _NO_EXTRA and name != "index" and value is not None:
                self._extra[name] = value

    def _note_usage(self, usage: Any) -> None:
        """Counts are of the whole so far: a later one replaces an earlier one, zero too (a compaction makes the input
        smaller), an absent one keeps it, as in the official SDK."""
        if type(usage) is not dict:
            return
        counts = {**usage, **_object(usage.get("output_tokens_details"))}
        for name, value in counts.items():
            if (number := whole(value)) is not None:
                self._usage[_COUNTS.get(name, name)] = number
        written = added(usage.get("cache_creation"))
        if written and not whole(usage.get("cache_creation_input_tokens")):
            self._usage["cache_creation_input_tokens"] = written
        tier = usage.get("service_tier")
        if type(tier) is str:
            self._tier = tier

    def _total(self) -> Usage:
        """Anthropic's ``input_tokens`` leaves out what went through the cache."""
        counts = self._usage
        uncached = counts.get("input_tokens")
        read, write = counts.get("cache_read_input_tokens"), counts.get("cache_creation_input_tokens")
        total = None if uncached is None else uncached + (read or 0) + (write or 0)
        return Usage(total, counts.get("output_tokens"), read, write, counts.get("thinking_tokens"))


_HANDLERS: Final[dict[str, Callable[[MessagesParser, dict[str, Any]], Iterator[ResponseEvent]]]] = {
    "message_start": MessagesParser._on_start,
    "content_block_start": MessagesParser._on_block_start,
    "content_block_stop": MessagesParser._on_block_stop,
    "message_delta": MessagesParser._on_message_delta,
    "message_stop": MessagesParser._on_message_stop,
    "error": MessagesParser._on_error,
    "ping": MessagesParser._on_ping,
}


_COUNTS: Final = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
"""What servers call counts that translate from Chat."""
_INPUTS = ("input", "arguments", "parameters")
"""Under which names servers write a call's input, this API's first."""
_DELTAS: Final = frozenset({"text_delta", "input_json_delta", "thinking_delta", "signature_delta", "citations_delta"})
_DELTA_OF: Final = {
    "text": "text_delta", "input": "input_json_delta", "thinking": "thinking_delta", "signature": "signature_delta",
    "citation": "citations_delta",
}  # fmt: skip


_BY_MEMBER = (("text", "text"), ("partial_json", "input"), ("thinking", "thinking"), ("signature", "signature"))


def _kind_of(members: dict[str, Any]) -> str:
    """What a block or a delta without a type, or of a type that nobody knows, is by what it holds."""
    for name, kind in _BY_MEMBER:
        if type(members.get(name)) is str and members[name]:
            return kind
    return "citation" if type(members.get("citation")) is dict else ""


def _cited(number: int, citations: list[Any]) -> Iterator[ResponseEvent]:
    for native in citations:
        if type(native) is not dict:
            continue
        kind = string(native, "type")
        title = native.get("title") or native.get("document_title")
        cited = native.get("cited_text")
        yield CitationAdded(
            number,
            Citation(
                "url" if kind == "web_search_result_location" else kind,
                NAME,
                string(native, "url"),
                title if type(title) is str else None,
                cited if type(cited) is str else None,
                native=native,
            ),
        )


def _input_text(value: Any) -> str:
    """A tool's input that came as a whole: an object, or, from some servers, its text."""
    return value if type(value) is str and value else encode(value or {}).decode()


def _object(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}


def _list(value: Any) -> list[Any]:
    return value if type(value) is list else []
