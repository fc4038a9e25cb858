"""Events to Responses objects and ``response.*`` events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...framing import sse
from ...llm.events import (
    BlockEnded,
    CitationAdded,
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
from ...llm.serial import Serializer
from ..base import Answering, Dialect, Headers, Members, Meta, encode
from ..shared.emitter import EmitterBase, settled_stop
from ..shared.openai import error_members, write_meta
from .items import SEARCH_CALL, Items, input_member, last_status


class ResponsesEmitter(EmitterBase):
    """Items never overlap. A message lasts as long as texts follow one another; an item is done when the next begins
    or the response ends, which is when its status is known."""

    repeats_texts = True

    def __init__(self, dialect: Dialect, answering: Answering) -> None:
        super().__init__(dialect, answering)
        self._items = Items(answering.request, answering.losses)
        self.serial = self._serial = Serializer()
        self._sequence = 0
        self._output: list[Members] = []
        self._item: Members | None = None  # the one that is not done
        self._text = TextBlock()
        self._thinking = ThinkingBlock()
        self._call = ToolCallBlock("", "")
        self._delta_head = b""  # of the open block's deltas: all that comes before the text
        self._delta_tail = b""
        self._end_block: Callable[[], bytes] = bytes
        self._on: dict[type, Callable[[Any], bytes]] = {
            TextDelta: self._on_text,
            ThinkingDelta: self._on_thinking,
            ToolInputDelta: self._on_input,
            TextStarted: self._on_text_started,
            ThinkingStarted: self._on_thinking_started,
            ThinkingSealed: self._on_sealed,
            ToolCallStarted: self._on_call_started,
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

    # ---- whole

    def whole(self, folded: Folded, ended: ResponseEnded) -> Members:
        if folded.started is not None:
            self._items.start(folded.started, self.env)
        self._report(ended)
        calls = any(isinstance(block, ToolCallBlock) for block in folded.blocks)
        stop = settled_stop(ended.stop, calls)
        return self._items.finished(stop, ended, self._items.whole_output(folded, last_status(stop)))

    # ---- streamed

    def stream(self, event: ResponseEvent) -> bytes:
        out = b""
        for each in self._serial.feed(event):
            on = self._on.get(type(each))
            if on is not None:
                out += on(each)
        return out

    def _event(self, type_: str, **members: Any) -> bytes:
        data = encode({"type": type_, "sequence_number": self._sequence, **members})
        self._sequence += 1
        return sse.encode(data, type_.encode())

    def _prepare_deltas(self, type_: str, place: Members, tail: bytes = b"") -> None:
        """Everything that the deltas of one block share is encoded once. *tail* comes behind the text."""
        self._delta_head = b"event: %b\ndata: {%b,%b," % (
            type_.encode(), encode({"type": type_})[1:-1], encode({"item_id": self._item_id} | place)[1:-1],
        )  # fmt: skip
        self._delta_tail = tail + b"}\n\n"

    def _delta(self, text: str) -> bytes:
        sequence = self._sequence
        self._sequence += 1
        return b'%b"sequence_number":%d,"delta":%b%b' % (self._delta_head, sequence, encode(text), self._delta_tail)

    @property
    def _index(self) -> int:
        return len(self._output)

    @property
    def _item_id(self) -> str:
        return str(self._item["id"]) if self._item else ""

    def _add(self, item: Members) -> bytes:
        self._item = item
        return self._event("response.output_item.added", output_index=self._index, item=item)

    def _finish(self, status: str = "completed") -> bytes:
        """The item that is not done, done."""
        if self._item is None:
            return b""
        item, self._item = self._items.close(self._item, status), None
        done = self._event("response.output_item.done", output_index=self._index, item=item)
        self._output.append(item)
        return done

    # ---- the response

    def _on_started(self, event: ResponseStarted) -> bytes:
        self._items.start(event, self.env)
        response = self._items.unfinished()
        created = self._event("response.created", response=response)
        return created + self._event("response.in_progress", response=response)

    def _on_ended(self, event: ResponseEnded) -> bytes:
        self._report(event)
        stop = settled_stop(event.stop, self._items.calls > 0)
        done = self._finish(last_status(stop))
        response = self._items.finished(stop, event, self._output)
        return done + self._event(f"response.{response['status']}", response=response)

    def _report(self, ended: ResponseEnded) -> None:
        self.losses.extra("response", self.started.extra if self.started else None)
        self.losses.extra("response", ended.extra)
        if ended.stop is StopReason.STOP_SEQUENCE and ended.stop_sequence is not None:
            self.losses.dropped("response.stop_sequence", "which sequence it was")

    def _on_failed(self, event: ResponseFailed) -> bytes:
        error = error_members(event, "input")
        # Flat as the reference shows it, and nested as the API sends it: SDKs raise on the nested one only.
        flat = {name: error[name] for name in ("code", "message", "param")}
        said = self._event("error", **flat, error=error)
        if self.started is None:
            self._items.start(ResponseStarted("", ""), self.env)
        # Codex looks for this one only, and takes a stream without it for one that broke off.
        return said + self._event("response.failed", response=self._items.failed(event, self._output))

    def _on_keepalive(self, event: KeepAlive) -> bytes:
        return sse.encode_comment()

    # ---- texts

    def _on_text_started(self, event: TextStarted) -> bytes:
        self._text = TextBlock(event.refusal)
        self._end_block = self._end_text
        return b""

    def _on_text(self, event: TextDelta) -> bytes:
        if not event.text:
            return b""
        begun = b"" if self._text.parts else self._begin_text()
        self._text.parts.append(event.text)
        return begun + self._delta(event.text)

    def _begin_text(self) -> bytes:
        """A part of a message: of the one that is open, or of a new one."""
        begun = b""
        if self._item is None or self._item["type"] != "message":
            begun = self._finish() + self._add(self._items.message(self._index))
        place = {"output_index": self._index, "content_index": self._content_index}
        if self._text.refusal:
            self._prepare_deltas("response.refusal.delta", place)
        else:
            self._prepare_deltas("response.output_text.delta", place, b',"logprobs":[]')
        empty = self._items.part(TextBlock(self._text.refusal))
        return begun + self._event("response.content_part.added", item_id=self._item_id, **place, part=empty)

    @property
    def _content_index(self) -> int:
        return len(self._item["content"]) if self._item else 0

    def _on_citation(self, event: CitationAdded) -> bytes:
        # Told when the text is whole: until then it is not known where the cited text ends.
        self._text.citations.append(event.citation)
        return b""

    def _end_text(self) -> bytes:
        if not self._text.parts or self._item is None:
            return b""
        place = {"item_id": self._item_id, "output_index": self._index, "content_index": self._content_index}
        part = self._items.part(self._text)
        if self._text.refusal:
            done = self._event("response.refusal.done", **place, refusal=part["refusal"])
        else:
            done = b"".join(
                self._event("response.output_text.annotation.added", **place, annotation_index=n, annotation=annotation)
                for n, annotation in enumerate(part["annotations"])
            )
            done += self._event("response.output_text.done", **place, text=part["text"], logprobs=[])
        self._item["content"].append(part)
        return done + self._event("response.content_part.done", **place, part=part)

    # ---- thinking

    def _on_thinking_started(self, event: ThinkingStarted) -> bytes:
        self._thinking = ThinkingBlock()
        self._end_block = self._end_thinking
        return b""

    def _on_thinking(self, event: ThinkingDelta) -> bytes:
        if not event.text:
            return b""
        begun = b"" if self._thinking.parts else self._begin_thinking()
        self._thinking.parts.append(event.text)
        return begun + self._delta(event.text)

    def _begin_thinking(self) -> bytes:
        begun = self._finish()
        begun += self._add({"id": self._items.id("rs_", self._index), "type": "reasoning", "summary": []})
        place = {"output_index": self._index, "summary_index": 0}
        self._prepare_deltas("response.reasoning_summary_text.delta", place)
        part = {"type": "summary_text", "text": ""}
        return begun + self._event("response.reasoning_summary_part.added", item_id=self._item_id, **place, part=part)

    def _on_sealed(self, event: ThinkingSealed) -> bytes:
        block = self._thinking
        block.signature, block.encrypted, block.signer = event.signature, event.encrypted, event.signer
        return b""

    def _end_thinking(self) -> bytes:
        block = self._thinking
        begun = bool(block.parts)
        # Without a text it has not begun: the item before it may not be done.
        item = self._items.reasoning(block, self._index + (self._item is not None and not begun))
        if item is None:
            return b""
        if not begun:
            return self._finish() + self._add(item) + self._finish()
        place = {"item_id": self._item_id, "output_index": self._index, "summary_index": 0}
        done = self._event("response.reasoning_summary_text.done", **place, text=block.text)
        done += self._event("response.reasoning_summary_part.done", **place, part=item["summary"][0])
        self._item = item
        return done + self._finish()

    # ---- calls, and what only this API knows

    def _on_call_started(self, event: ToolCallStarted) -> bytes:
        self._call = ToolCallBlock(event.id, event.name, event.kind, event.extra, event.signature)
        self._end_block = self._end_call
        begun = self._finish()
        begun += self._add(self._items.call(self._call, self._index))
        self._prepare_deltas(f"response.{self._input_event}.delta", {"output_index": self._index})
        return begun

    @property
    def _input_event(self) -> str:
        return "custom_tool_call_input" if self._call.kind == "custom" else "function_call_arguments"

    def _on_input(self, event: ToolInputDelta) -> bytes:
        if not event.fragment:
            return b""
        self._call.parts.append(event.fragment)
        return b"" if self._searching else self._delta(event.fragment)

    @property
    def _searching(self) -> bool:
        """The call is a search for tools, which comes whole."""
        return self._item is not None and self._item["type"] == SEARCH_CALL

    def _end_call(self) -> bytes:
        call, item, done = self._call, self._item, b""
        if item is None:
            return b""
        if not call.parts and call.kind != "custom":
            done = self._on_input(ToolInputDelta(0, "{}"))
        self._items.fill(item, call)
        if self._searching:
            return b""
        member = input_member(call)
        named = {"name": item["name"]} if member == "arguments" else {}
        place = {"item_id": self._item_id, "output_index": self._index}
        return done + self._event(f"response.{self._input_event}.done", **place, **named, **{member: item[member]})

    def _on_opaque(self, event: OpaqueStarted) -> bytes:
        self._end_block = bytes
        item = self._items.opaque(OpaqueBlock(event.dialect, event.content))
        if item is None:
            return b""
        return self._finish() + self._add(item) + self._finish()

    def _on_block_ended(self, event: BlockEnded) -> bytes:
        end, self._end_block = self._end_block, bytes
        return end()
