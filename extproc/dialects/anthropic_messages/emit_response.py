"""An answer for a Messages client, streamed or whole.

What the official SDK demands of a stream: ``event:`` lines, indexes 0, 1, 2 ... without a gap, one block at a time, and
one ``message_delta`` with everything in it, because each one overwrites the stop reason (anthropic 2.11.0,
``lib/streaming/_messages.py``).
"""

from __future__ import annotations

from typing import Any, Final, assert_never, cast

from ...framing import sse
from ...llm import marker
from ...llm.events import (
    BlockEnded,
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
from ...llm.fold import Folded, FoldedBlock, OpaqueBlock, TextBlock, ThinkingBlock, ToolCallBlock
from ...llm.grammar import STARTS
from ...llm.request import ToolCall
from ...llm.serial import Serializer
from ..base import Answering, Dialect, Headers, Meta, encode
from ..shared import freeform
from ..shared.content import as_object, begins_object
from ..shared.emitter import EmitterBase, settled_stop
from ..shared.naming import made_tool_id, unused_id
from .meta import error_object, write_meta
from .vocabulary import NAME, SIGNER, STOP_NAMES

_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_DETAILS: Final = "stop_details"
_REFUSABLE: Final = frozenset({StopReason.END, StopReason.STOP_SEQUENCE, StopReason.OTHER})


class MessagesEmitter(EmitterBase):
    def __init__(self, dialect: Dialect, answering: Answering) -> None:
        super().__init__(dialect, answering)
        self.serial = self._serial = Serializer()
        self._index = -1  # of the block that was written last
        self._prefix = b""  # of the open block's deltas, up to the delta's type
        self._block: Any = None  # the open block's start
        self._written = False  # its start went out; of a tool, some of its input
        self._parts: list[str] = []  # thinking for the marker, or a free-form tool's input
        self._seal: ThinkingSealed | None = None
        self._calls = 0
        self._used_ids: set[str] | None = None  # of the conversation's calls, once there is a call
        self._refusal: list[str] | None = None

    def meta_headers(self, meta: Meta) -> Headers:
        return write_meta(meta)

    # ---- streamed

    def stream(self, event: ResponseEvent) -> bytes:
        written = [self._write(each) for each in self._serial.feed(event)]
        return written[0] if len(written) == 1 else b"".join(written)

    def _write(self, event: ResponseEvent) -> bytes:
        # By the type alone: a test by class costs as much as a call for each kind that is tried in vain.
        kind, told = type(event), cast(Any, event)
        if kind is TextDelta:
            if self._refusal is not None and type(self._block) is TextStarted and self._block.refusal:
                self._refusal.append(told.text)
            return self._prefix + b'"text_delta","text":' + encode(told.text) + b"}}\n\n"
        if kind is ToolInputDelta:
            return self._tool_input(told.fragment)
        if kind is ThinkingDelta:
            self._parts.append(told.text)
            start = b"" if self._written else self._start({"type": "thinking", "thinking": "", "signature": ""})
            return start + self._prefix + b'"thinking_delta","thinking":' + encode(told.text) + b"}}\n\n"
        if kind in STARTS:
            return self._started_block(told)
        if kind is BlockEnded:
            return self._ended_block(told.block)
        if kind is ThinkingSealed:
            self._seal = told
            return b""
        if kind is OpaqueDelta:
            return self._delta(told.delta) if self._written else b""
        if kind is CitationAdded:
            native = self._native_citation(told)
            return self._delta({"type": "citations_delta", "citation": native}) if native else b""
        if kind is KeepAlive:
            # Nothing may come before message_start but a comment.
            return _PING if self.started is not None else sse.encode_comment()
        if kind is ResponseStarted:
            return self._message_start(told)
        if kind is ResponseEnded:
            return self._message_end(told)
        assert kind is ResponseFailed
        return _event("error", error_object(told))

    def _message_start(self, event: ResponseStarted) -> bytes:
        self.losses.extra("response", event.extra)
        message: dict[str, Any] = {
            "id": self._message_id(event.id),
            "type": "message",
            "role": "assistant",
            "model": event.model or self.request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(event.usage),
        }
        return _event("message_start", {"type": "message_start", "message": message})

    def _started_block(self, event: Any) -> bytes:
        self._block, self._written, self._seal = event, False, None
        self._parts.clear()
        kind = type(event)
        if kind is TextStarted:
            if event.refusal and self._refusal is None:
                self._refusal = []
            return self._start({"type": "text", "text": ""})
        if kind is ToolCallStarted:
            self.losses.extra(f"response.content[{event.block}]", event.extra)
            out = self._start({"type": "tool_use", "id": self._tool_id(event), "name": event.name, "input": {}})
            self._written = False
            return out
        if kind is OpaqueStarted:
            if event.dialect == NAME:
                return self._start(event.content)
            self.losses.dropped(f"response.content[{event.block}]")
        # Thinking starts with its first word: without one it may be redacted, which is another kind of block.
        return b""

    def _tool_input(self, fragment: str) -> bytes:
        if type(self._block) is ToolCallStarted and (
            self._block.kind == "custom" or self._parts or not (self._written or begins_object(fragment))
        ):
            # What is no object waits for its end: a client of this API takes nothing else.
            self._parts.append(fragment)
            return b""
        self._written = True
        return self._prefix + b'"input_json_delta","partial_json":' + encode(fragment) + b"}}\n\n"

    def _ended_block(self, number: int) -> bytes:
        block, out = self._block, b""
        self._block, kind = None, type(block)
        if kind is ToolCallStarted:
            if block.kind == "custom":
                whole = freeform.wrapped("".join(self._parts))
                out = self._delta({"type": "input_json_delta", "partial_json": whole})
            elif not self._written:
                whole = encode(as_object("".join(self._parts))[0]).decode()
                out = self._delta({"type": "input_json_delta", "partial_json": whole})
        elif kind is ThinkingStarted:
            out = self._ended_thinking()
            if not self._written:
                return b""
        elif kind is OpaqueStarted and not self._written:
            return b""
        return out + b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index

    def _ended_thinking(self) -> bytes:
        text = "".join(self._parts)
        signature, redacted = self._sealed(self._seal, text)
        if redacted is not None:
            return self._start({"type": "redacted_thinking", "data": redacted})
        if signature is None:
            return b""
        start = b"" if self._written else self._start({"type": "thinking", "thinking": "", "signature": ""})
        return start + self._delta({"type": "signature_delta", "signature": signature})

    def _start(self, content: dict[str, Any]) -> bytes:
        self._index += 1
        self._written = True
        self._prefix = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":' % self._index
        )
        return _event(
            "content_block_start", {"type": "content_block_start", "index": self._index, "content_block": content}
        )

    def _delta(self, delta: dict[str, Any]) -> bytes:
        body = {"type": "content_block_delta", "index": self._index, "delta": delta}
        return _event("content_block_delta", body)

    def _message_end(self, event: ResponseEnded) -> bytes:
        self.losses.extra("response", _foreign(event.extra))
        body = {"type": "message_delta", "delta": self._ending(event), "usage": _usage(event.usage)}
        return _event("message_delta", body) + _STOP

    # ---- whole

    def whole(self, folded: Folded, ended: ResponseEnded) -> dict[str, Any]:
        started = folded.started or ResponseStarted("", "")
        self.losses.extra("response", started.extra)
        self.losses.extra("response", _foreign(ended.extra))
        content = [self._whole_block(block, number) for number, block in enumerate(folded.blocks)]
        usage = _usage(ended.usage)
        if ended.service_tier is not None:
            usage["service_tier"] = ended.service_tier if ended.service_tier in ("priority", "batch") else "standard"
        return {
            "id": self._message_id(started.id),
            "type": "message",
            "role": "assistant",
            "model": started.model or self.request.model,
            "content": [block for block in content if block is not None],
            **self._ending(ended),
            "usage": usage,
        }

    def _whole_block(self, block: FoldedBlock, number: int) -> dict[str, Any] | None:
        match block:
            case TextBlock():
                if block.refusal:
                    self._refusal = [*(self._refusal or ()), block.text]
                out: dict[str, Any] = {"type": "text", "text": block.text}
                cited = [CitationAdded(number, citation) for citation in block.citations]
                if natives := [native for each in cited if (native := self._native_citation(each))]:
                    out["citations"] = natives
                return out
            case ThinkingBlock():
                seal = ThinkingSealed(number, block.signature, block.encrypted, block.signer)
                signature, redacted = self._sealed(seal, block.text)
                if redacted is not None:
                    return {"type": "redacted_thinking", "data": redacted}
                if signature is None:
                    return None
                return {"type": "thinking", "thinking": block.text, "signature": signature}
            case ToolCallBlock():
                self.losses.extra(f"response.content[{number}]", block.extra)
                custom = block.kind == "custom"
                value = freeform.as_input(block.input) if custom else as_object(block.input)[0]
                return {"type": "tool_use", "id": self._tool_id(block), "name": block.name, "input": value}
            case OpaqueBlock():
                if block.dialect != NAME:
                    self.losses.dropped(f"response.content[{number}]")
                    return None
                return _with_deltas(block.content, block.deltas)
            case _:
                assert_never(block)

    # ---- shared

    def _message_id(self, id_: str) -> str:
        id_ = id_ or self.env.request_id
        return id_ if id_.startswith("msg_") else f"msg_{id_}"

    def _tool_id(self, call: ToolCallStarted | ToolCallBlock) -> str:
        """The call's id, made up if it has none, and unlike that of any call before it."""
        self._calls += 1
        response_id = self.started.id if self.started else ""
        id_ = call.id or made_tool_id(response_id, self._calls - 1, "toolu_")
        if self._used_ids is None:
            turns = [message.content for message in self.request.messages if not isinstance(message.content, str)]
            self._used_ids = {block.id for turn in turns for block in turn if isinstance(block, ToolCall)}
        unused = unused_id(id_, self._used_ids)
        if unused != id_:
            self.losses.rewritten("response.content.id", "another call of the conversation has this id")
        return marker.sealed_id(marker.fitted_id(unused), call.signature)

    def _sealed(self, seal: ThinkingSealed | None, text: str) -> tuple[str | None, str | None]:
        """The signature of a block of thinking, or the data of a redacted one; neither when there is nothing to show.
        What another provider signed would be refused by Anthropic later: it travels sealed behind our own marker."""
        ours = seal is not None and seal.signer in (SIGNER, marker.SIGNER)
        if seal is not None and ours:
            if seal.encrypted and not text:
                return None, seal.encrypted
            if seal.signature:
                return seal.signature, None
        elif seal is not None and (seal.signature or seal.encrypted):
            signed = marker.sealed(marker.Seal(seal.signer, seal.signature, seal.encrypted))
            return (signed, None) if text else (None, signed)
        return (marker.mark(text) if text else None), None

    def _native_citation(self, event: CitationAdded) -> Extra | None:
        citation = event.citation
        if citation.dialect == NAME and citation.native:
            return citation.native
        self.losses.dropped(f"response.content[{event.block}].citations")
        return None

    def _ending(self, ended: ResponseEnded) -> dict[str, Any]:
        stop = settled_stop(ended.stop, self._calls > 0)
        if self._refusal is not None and stop in _REFUSABLE:
            stop = StopReason.REFUSAL
        matched = ended.stop_sequence if stop is StopReason.STOP_SEQUENCE else None
        out: dict[str, Any] = {"stop_reason": STOP_NAMES[stop], "stop_sequence": matched}
        if stop is StopReason.REFUSAL:
            explanation = ended.explanation or "".join(self._refusal or ()) or None
            details = {"type": "refusal", "category": None, "explanation": explanation}
            out["stop_details"] = details | (ended.extra or {}).get(_DETAILS, {})
        return out


def _event(name: str, body: dict[str, Any]) -> bytes:
    return sse.encode(encode(body), name.encode())


def _usage(usage: Usage) -> dict[str, Any]:
    """Anthropic's ``input_tokens`` leaves out what went through the cache; the schema wants numbers, known or not."""
    read, write = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    out: dict[str, Any] = {"input_tokens": max(0, (usage.input_tokens or 0) - read - write)}
    if read:
        out["cache_read_input_tokens"] = read
    if write:
        out["cache_creation_input_tokens"] = write
    out["output_tokens"] = usage.output_tokens or 0
    if usage.reasoning_tokens:
        out["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return out


def _foreign(extra: Extra | None) -> Extra:
    """What this API has no place for."""
    return {name: value for name, value in (extra or {}).items() if name != _DETAILS}


def _with_deltas(content: Extra, deltas: list[Extra]) -> Extra:
    """A server tool's block with the input that came in pieces."""
    pieces = [delta.get("partial_json") for delta in deltas if delta.get("type") == "input_json_delta"]
    text = "".join(piece for piece in pieces if type(piece) is str)
    return {**content, "input": as_object(text)[0]} if text else content
