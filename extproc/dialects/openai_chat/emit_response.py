"""An answer for a Chat client, streamed or whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from ...framing import sse
from ...llm import marker
from ...llm.events import (
    BlockEnded,
    Citation,
    CitationAdded,
    Extra,
    KeepAlive,
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
)
from ...llm.fold import Folded, OpaqueBlock, TextBlock, ThinkingBlock, ToolCallBlock
from ..base import Answering, Dialect, Headers, Members, Meta, encode
from ..shared.emitter import EmitterBase, settled_stop
from ..shared.naming import made_tool_id, unused_id
from ..shared.openai import error_members, write_meta
from .parse_request import ChatState
from .signatures import signed
from .usage import write_usage
from .vocabulary import FINISH_NAMES, NAMELESS_STOPS, TIERS_WRITTEN


class _Open(Struct):
    """A block that has started. ``start``: of a text, its place in the joined text, in code points. ``call``: of a
    call, its number among the calls. ``prefix``: of a delta, all that comes before its text."""

    event: Any
    start: int = 0
    call: int = -1
    prefix: bytes = b""
    parts: list[str] = []
    citations: list[Citation] = []
    seal: ThinkingSealed | None = None


class ChatEmitter(EmitterBase):
    """Calls may be open at once, as in the events: each has its index. Everything else is told flat."""

    def __init__(self, dialect: Dialect, answering: Answering) -> None:
        super().__init__(dialect, answering)
        state = self.request.client_state
        self._legacy = isinstance(state, ChatState) and state.legacy
        self._hidden = self.request.reasoning.exclude
        self._open: dict[int, _Open] = {}
        self._length = 0  # of the joined text, in code points
        self._calls = 0
        self._ids: set[str] = set()
        self._refused = False
        self._head = b""  # of every chunk, up to the delta's members
        self._tail = b""
        self._members: Members = {}  # that are equal on every chunk
        self._on: dict[type, Callable[[Any], bytes]] = {
            TextDelta: self._on_text,
            ThinkingDelta: self._on_thinking,
            ToolInputDelta: self._on_input,
            TextStarted: self._on_block,
            ThinkingStarted: self._on_block,
            ThinkingSealed: self._on_sealed,
            ToolCallStarted: self._on_call,
            OpaqueStarted: self._on_opaque,
            CitationAdded: self._on_citation,
            BlockEnded: self._on_block_ended,
            ResponseStarted: self._on_started,
            ResponseEnded: self._on_ended,
            ResponseFailed: self._on_failed,
            KeepAlive: self._on_keepalive,
        }

    def meta_headers(self, meta: Meta) -> Headers:
        return write_meta(meta, self.env.now)

    # ---- streamed

    def stream(self, event: ResponseEvent) -> bytes:
        on = self._on.get(type(event))
        return on(event) if on is not None else b""

    def _on_started(self, event: ResponseStarted) -> bytes:
        self.losses.extra("response", event.extra)
        self._members = self._common(event, "chat.completion.chunk")
        self._head = b"data: " + encode(self._members)[:-1] + b',"choices":[{"index":0,"delta":{'
        self._tail = b'},"finish_reason":null}]' + self._no_usage + b"}\n\n"
        return self._delta({"role": "assistant", "content": ""})

    @property
    def _no_usage(self) -> bytes:
        """On every chunk but the one with the counts, when the client asked for them."""
        return b',"usage":null' if self.request.include_usage else b""

    def _delta(self, delta: Members) -> bytes:
        return self._head + encode(delta)[1:-1] + self._tail

    def _on_block(self, event: TextStarted | ThinkingStarted) -> bytes:
        prefix = b""
        if type(event) is TextStarted:
            prefix = self._head + (b'"refusal":' if event.refusal else b'"content":')
        elif not self._hidden:
            prefix = self._head + b'"reasoning_content":'
        self._open[event.block] = _Open(event, self._length, prefix=prefix)
        return b""

    def _on_text(self, event: TextDelta) -> bytes:
        block, text = self._open[event.block], event.text
        if block.event.refusal:
            self._refused = self._refused or bool(text)
        else:
            self._length += len(text)
        return block.prefix + encode(text) + self._tail if text else b""

    def _on_thinking(self, event: ThinkingDelta) -> bytes:
        block = self._open[event.block]
        block.parts.append(event.text)
        return block.prefix + encode(event.text) + self._tail if event.text and block.prefix else b""

    def _on_sealed(self, event: ThinkingSealed) -> bytes:
        self._open[event.block].seal = event
        return b""

    def _on_citation(self, event: CitationAdded) -> bytes:
        # Told when the text is whole: until then it is not known where the cited text ends.
        self._open[event.block].citations.append(event.citation)
        return b""

    def _on_opaque(self, event: OpaqueStarted) -> bytes:
        self._open[event.block] = _Open(event)
        self.losses.dropped(f"response.content[{event.block}]")
        return b""

    def _on_call(self, event: ToolCallStarted) -> bytes:
        block = self._open[event.block] = _Open(event, call=self._calls)
        self.losses.extra(f"response.content[{event.block}]", event.extra)
        self._calls += 1
        if self._legacy:
            if block.call:
                self.losses.dropped(f"response.content[{event.block}]", "a message can hold one function_call only")
                return b""
            block.prefix = self._head + b'"function_call":{"arguments":'
            return self._delta({"function_call": {"name": event.name, "arguments": ""}})
        if event.kind == "custom":
            return b""
        block.prefix = self._head + b'"tool_calls":[{"index":%d,"function":{"arguments":' % block.call
        function = {"name": event.name, "arguments": ""}
        call = {"index": block.call, "id": self._call_id(event, block.call), "type": "function", "function": function}
        return self._delta({"tool_calls": [call | signed(event.signature)]})

    def _on_input(self, event: ToolInputDelta) -> bytes:
        block = self._open[event.block]
        if not event.fragment:
            return b""
        block.parts.append(event.fragment)
        return self._input(block, event.fragment)

    def _input(self, block: _Open, text: str) -> bytes:
        if not block.prefix:
            return b""
        return block.prefix + encode(text) + (b"}" if self._legacy else b"}}]") + self._tail

    def _on_block_ended(self, event: BlockEnded) -> bytes:
        block = self._open.pop(event.block)
        match block.event:
            case TextStarted():
                annotations = self._annotations(block.citations, block.start, self._length, event.block)
                return self._delta({"annotations": annotations}) if annotations else b""
            case ThinkingStarted():
                details = self._details("".join(block.parts), block.seal, event.block)
                return self._delta({"reasoning_details": details}) if details else b""
            case ToolCallStarted():
                return self._ended_call(block)
        return b""

    def _ended_call(self, block: _Open) -> bytes:
        call = block.event
        if call.kind == "custom" and not self._legacy:
            # The schema of a chunk knows the pieces of functions only.
            item = {"index": block.call, **self._custom(call, "".join(block.parts), block.call)}
            return self._delta({"tool_calls": [item]})
        return b"" if block.parts else self._input(block, "{}")

    def _on_ended(self, event: ResponseEnded) -> bytes:
        self.losses.extra("response", event.extra)
        choice = {"index": 0, "delta": {}, **self._ending(event)}
        if event.stop is StopReason.REFUSAL and event.explanation and not self._refused:
            # A refusal that comes after the text would read as a part of it.
            choice["stop_details"] = {"type": "refusal", "explanation": event.explanation}
        chunk = {**self._members, "choices": [choice], **self._tier(event)}
        out = b"data: " + encode(chunk)[:-1] + self._no_usage + b"}\n\n"
        usage = write_usage(event.usage) if self.request.include_usage else None
        if usage is not None:
            out += sse.encode(encode({**self._members, "choices": [], "usage": usage}))
        return out + b"data: [DONE]\n\n"

    def _on_failed(self, event: ResponseFailed) -> bytes:
        return sse.encode(encode({"error": error_members(event, "messages")}))

    def _on_keepalive(self, event: KeepAlive) -> bytes:
        return sse.encode_comment()

    # ---- whole

    def whole(self, folded: Folded, ended: ResponseEnded) -> Members:
        started = folded.started or ResponseStarted("", "")
        self.losses.extra("response", started.extra)
        self.losses.extra("response", ended.extra)
        message = self._message(folded, ended)
        choice = {"index": 0, "message": message, **self._ending(ended), "logprobs": None}
        out = {**self._common(started, "chat.completion"), "choices": [choice]}
        usage = write_usage(ended.usage)
        if usage is not None:
            out["usage"] = usage
        return out | self._tier(ended)

    def _message(self, folded: Folded, ended: ResponseEnded) -> Members:
        texts: list[str] = []
        refusals: list[str] = []
        thoughts: list[str] = []
        lists: dict[str, list[Any]] = {"reasoning_details": [], "tool_calls": [], "annotations": []}
        length = 0
        for number, block in enumerate(folded.blocks):
            match block:
                case TextBlock():
                    text = block.text
                    (refusals if block.refusal else texts).append(text)
                    end = length + (0 if block.refusal else len(text))
                    lists["annotations"] += self._annotations(block.citations, length, end, number)
                    length = end
                case ThinkingBlock():
                    seal = ThinkingSealed(number, block.signature, block.encrypted, block.signer)
                    lists["reasoning_details"] += self._details(block.text, seal, number)
                    thoughts.append(block.text)
                case ToolCallBlock():
                    lists["tool_calls"].append(self._whole_call(block, number))
                case OpaqueBlock():
                    self.losses.dropped(f"response.content[{number}]")
        self._refused = any(refusals)
        refusal = "".join(refusals) or (ended.explanation if ended.stop is StopReason.REFUSAL else None)
        message: Members = {"role": "assistant", "content": "".join(texts) if texts else None, "refusal": refusal}
        if (thinking := "".join(thoughts)) and not self._hidden:
            message["reasoning_content"] = thinking
        message |= {name: items for name, items in lists.items() if items}
        if self._legacy and (calls := message.pop("tool_calls", None)):
            message["function_call"] = calls[0]["function"]
            if len(calls) > 1:
                self.losses.dropped("response.tool_calls", "a message can hold one function_call only")
        return message

    def _whole_call(self, block: ToolCallBlock, number: int) -> Members:
        self.losses.extra(f"response.content[{number}]", block.extra)
        position, self._calls = self._calls, self._calls + 1
        if block.kind == "custom" and not self._legacy:
            return self._custom(block, block.input, position)
        function = {"name": block.name, "arguments": block.input or "{}"}
        call = {"id": self._call_id(block, position), "type": "function", "function": function}
        return call | signed(block.signature)

    # ---- shared

    def _common(self, started: ResponseStarted, object_: str) -> Members:
        return {
            "id": started.id or f"chatcmpl-{self.env.request_id}",
            "object": object_,
            "created": int(self.env.now) if started.created is None else started.created,
            "model": started.model or self.request.model,
        }

    def _ending(self, ended: ResponseEnded) -> Members:
        stop = settled_stop(ended.stop, self._calls > 0)
        finish = FINISH_NAMES[stop]
        if stop is StopReason.REFUSAL and self._refused:
            finish = "stop"  # the model has said so itself, in the member that OpenAI has for it
        if finish == "tool_calls" and self._legacy:
            finish = "function_call"
        out: Members = {"finish_reason": finish}
        if stop in NAMELESS_STOPS and ended.native_reason and ended.native_reason != finish:
            out["native_finish_reason"] = ended.native_reason
        if stop is StopReason.STOP_SEQUENCE and ended.stop_sequence is not None:
            out["stop_reason"] = ended.stop_sequence  # vLLM's name for it
        return out

    def _tier(self, ended: ResponseEnded) -> Members:
        tier = ended.service_tier
        return {} if tier is None else {"service_tier": TIERS_WRITTEN.get(tier, tier)}

    def _call_id(self, call: ToolCallStarted | ToolCallBlock, position: int) -> str:
        """The call's id, made up if it has none. Behind it the call's signature: many clients keep nothing else."""
        response_id = self.started.id if self.started else ""
        id_ = call.id or made_tool_id(response_id, position, "call_")
        unused = unused_id(id_, self._ids)
        if unused != id_:
            self.losses.rewritten("response.tool_calls.id", "another call of the answer has this id")
        return marker.sealed_id(unused, call.signature)

    def _custom(self, call: ToolCallStarted | ToolCallBlock, text: str, position: int) -> Members:
        custom = {"id": self._call_id(call, position), "type": "custom", "custom": {"name": call.name, "input": text}}
        return custom | signed(call.signature)

    def _details(self, text: str, seal: ThinkingSealed | None, number: int) -> list[Extra]:
        """A block of thinking with its seal, by which its provider knows it again, and its place among the blocks."""
        if self._hidden or seal is None or seal.signer == marker.SIGNER:
            return []
        out: list[Extra] = []
        place = {"format": seal.signer or None, "index": number}
        if seal.signature:
            out.append({"type": "reasoning.text", "text": text, "signature": seal.signature, **place})
        if seal.encrypted:
            out.append({"type": "reasoning.encrypted", "data": seal.encrypted, **place})
        return out

    def _annotations(self, citations: list[Citation], start: int, end: int, number: int) -> list[Extra]:
        """*start*, *end*: where the block stands in the joined text. What cites no place within it cites all of it."""
        out: list[Extra] = []
        for citation in citations:
            if citation.kind != "url":
                self.losses.dropped(f"response.content[{number}].citations", "no page on the web")
                continue
            cited = {
                "start_index": start if citation.start is None else start + citation.start,
                "end_index": end if citation.end is None else start + citation.end,
                "title": citation.title or "",
                "url": citation.url,
            }
            out.append({"type": "url_citation", "url_citation": cited})
        return out
