"""Converse's responses, whole and streamed, to events."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, ClassVar, Final

from msgspec import Struct

from ...framing.eventstream import Corrupt, EventStreamDecoder, EventStreamMessage
from ...llm.events import (
    BlockEnded,
    CitationAdded,
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
)
from ...llm.failures import ProtocolError
from ...llm.grammar import State
from ...llm.losses import LossReport
from ...settings import Limits
from ..base import ResponseHead, UpstreamCall, encode
from ..shared.bedrock import REQUEST_ID, failure_in_stream, failure_of_head
from ..shared.fragments import fragment, place, says_something, several, string, text_in, unread
from ..shared.parser import ParserBase
from .words import CLAUDE, NAME, STOPS, read_citation, read_redacted, read_tier, read_usage

_STARTS: Final = {"text": TextStarted, "thinking": ThinkingStarted}
_UNDERSTOOD: Final = frozenset({"output", "stopReason", "usage", "metrics", "serviceTier", "p"})
"""Top-level members that are no news to a client of another API. ``p`` is padding."""


class _Open(Struct):
    """A block of the upstream's that has not ended. ``kind``: text, thinking, tool or opaque."""

    block: int
    kind: str
    signature: list[str] = []


_OF_TOOL: Final = frozenset({"toolUseId", "name", "input", "type"})
_OF_MESSAGE: Final = frozenset({"role", "content"})
_SEALS: Final = frozenset({"signature", "redactedContent"})
_OF_REASONING: Final = frozenset({"text", *_SEALS})


class ConverseParser(ParserBase):
    """Text and reasoning have no event for their start: their first delta opens them. The response ends with
    ``metadata``, which comes behind ``messageStop``; without it, with the stream."""

    stream_types: ClassVar[tuple[str, ...]] = ("application/vnd.amazon.eventstream",)

    def __init__(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> None:
        super().__init__(call, head, limits, losses)
        self._signer = call.undo.signer or CLAUDE
        self._open: dict[int, _Open] = {}  # by the upstream's index, in the order of their starts
        self._stop: dict[str, Any] | None = None  # the messageStop event
        self._metadata: dict[str, Any] | None = None
        self._on_event: dict[Any, Callable[[dict[str, Any]], Iterator[ResponseEvent]]] = {
            "messageStart": self._on_message_start,
            "contentBlockStart": self._on_block_start,
            "contentBlockDelta": self._on_block_delta,
            "contentBlockStop": self._on_block_stop,
            "messageStop": self._on_message_stop,
            "metadata": self._on_metadata,
        }

    def make_framing(self, limits: Limits) -> EventStreamDecoder:
        return EventStreamDecoder(limits.max_event_bytes)

    def bytes_of(self, item: Any) -> bytes:
        return b"" if isinstance(item, Corrupt) else item.payload

    # ---- streamed

    def on_item(self, item: EventStreamMessage | Corrupt, *, last: bool) -> Iterator[ResponseEvent]:
        if isinstance(item, Corrupt):
            raise ProtocolError("eventstream", item.problem)
        headers, payload = item
        if headers.get(":message-type", "event") != "event":
            yield self._exception(headers, payload)
            return
        name = headers.get(":event-type")
        on_event = self._on_event.get(name)
        if on_event is None:
            return
        event = self.decode_message(payload, last=last) if payload else {}
        if type(event) is dict:
            yield from on_event(event)

    def _exception(self, headers: dict[str, Any], payload: bytes) -> ResponseFailed:
        return failure_in_stream(headers, self.decode_message(payload, last=True) if payload else None)

    def _ensure_started(self) -> Iterator[ResponseEvent]:
        if self.grammar.state is State.NOT_STARTED:
            # Converse does not say which model answered: the one that was asked.
            yield ResponseStarted(self.head.header(REQUEST_ID), self.call.request.model)

    def _on_message_start(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._ensure_started()

    def _on_block_start(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        yield from self._ensure_started()
        start, index = event.get("start"), _index(event)
        if type(start) is not dict or not start:
            return
        yield from self._end(index)
        tool = start.get("toolUse")
        if type(tool) is not dict:
            yield from self._start_opaque(index, start)
        elif _is_server_tool(tool):
            yield from self._start_opaque(index, {"toolUse": tool})
        else:
            yield self._start_tool(index, tool)

    def _on_block_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        delta = event.get("delta")
        if type(delta) is not dict:
            return
        index = _index(event)
        text = delta.get("text")
        if type(text) is str:
            if not text:
                return
            opened = self._open.get(index)
            if opened is None or opened.kind != "text":
                opened = yield from self._opened(index, "text")
            yield TextDelta(opened.block, text)
        else:
            yield from self._on_other_delta(index, delta)

    def _on_other_delta(self, index: int, delta: dict[str, Any]) -> Iterator[ResponseEvent]:
        opened = self._open.get(index)
        if opened is not None and opened.kind == "opaque":
            yield OpaqueDelta(opened.block, delta)
        elif type(tool := delta.get("toolUse")) is dict:
            if opened is None or opened.kind != "tool":
                raise ProtocolError("contentBlockDelta.delta.toolUse", "the block's start is missing")
            if text := fragment(tool.get("input")):
                yield ToolInputDelta(opened.block, text)
        elif type(reasoning := delta.get("reasoningContent")) is dict:
            yield from self._on_reasoning(index, reasoning)
        elif type(citation := delta.get("citation")) is dict:
            opened = yield from self._opened(index, "text")
            yield CitationAdded(opened.block, read_citation(citation))
        elif text := text_in(delta):
            yield from self._on_block_delta({"contentBlockIndex": index, "delta": {"text": text}})
        elif says_something(delta):
            self.losses.dropped("response.output.message.content")

    def _on_reasoning(self, index: int, reasoning: dict[str, Any]) -> Iterator[ResponseEvent]:
        if type(whole := reasoning.get("reasoningText")) is dict:
            reasoning = whole  # as it stands in whole messages
        text, signature = text_in(reasoning.get("text")), reasoning.get("signature")
        redacted = reasoning.get("redactedContent")
        if text:
            opened = yield from self._opened(index, "thinking")
            yield ThinkingDelta(opened.block, text)
        if type(signature) is str and signature:
            opened = yield from self._opened(index, "thinking")
            # It may come in pieces: it is whole when the block ends.
            opened.signature.append(signature)
        if type(redacted) is str and redacted:
            opened = yield from self._opened(index, "thinking")
            encrypted, signer = read_redacted(redacted)
            signer = self._signer if signer == CLAUDE else signer
            yield ThinkingSealed(opened.block, encrypted=encrypted, signer=signer)
        others = unread(reasoning, _OF_REASONING if text else _SEALS)
        self.losses.extra("response.output.message.content.reasoningContent", others)

    def _on_block_stop(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._end(_index(event))

    def _on_message_stop(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        yield from self._ensure_started()
        yield from self._end_all()
        if self._stop is None:
            self._stop = event
        if self._metadata is not None:
            yield from self._ended()

    def _on_metadata(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        self._metadata = event
        if self._stop is not None:
            yield from self._ended()

    def on_close(self) -> Iterator[ResponseEvent]:
        if self._stop is None:
            yield from super().on_close()
        else:
            yield from self._ended()

    def _ended(self) -> Iterator[ResponseEvent]:
        yield from self._end_all()
        stop, metadata = self._stop or {}, self._metadata or {}
        yield self._ending(stop.get("stopReason"), {**stop, **metadata})

    # ---- blocks

    def _opened(self, index: int, kind: str) -> Generator[ResponseEvent, None, _Open]:
        """The open block at *index*; unless it is of *kind*, one that is started now."""
        opened = self._open.get(index)
        if opened is not None and opened.kind == kind:
            return opened
        yield from self._ensure_started()
        yield from self._end(index)
        opened = self._open[index] = _Open(self.grammar.next_block, kind)
        yield _STARTS[kind](opened.block)
        return opened

    def _start_tool(self, index: int, tool: dict[str, Any]) -> ResponseEvent:
        opened = self._open[index] = _Open(self.grammar.next_block, "tool")
        return ToolCallStarted(opened.block, string(tool, "toolUseId"), string(tool, "name"))

    def _start_opaque(self, index: int, content: dict[str, Any]) -> Iterator[ResponseEvent]:
        opened = self._open[index] = _Open(self.grammar.next_block, "opaque")
        yield OpaqueStarted(opened.block, NAME, content)

    def _end(self, index: int) -> Iterator[ResponseEvent]:
        opened = self._open.pop(index, None)
        if opened is None:
            return
        if opened.signature:
            yield ThinkingSealed(opened.block, "".join(opened.signature), signer=self._signer)
        yield BlockEnded(opened.block)

    def _end_all(self) -> Iterator[ResponseEvent]:
        for index in list(self._open):
            yield from self._end(index)

    # ---- whole

    def is_error(self, body: dict[str, Any]) -> bool:
        says_message = any(body.get(name) for name in ("message", "Message", "__type"))
        return super().is_error(body) or (says_message and "output" not in body)

    def failure_of(self, error: Any, status: int | None = None) -> ResponseFailed:
        return failure_of_head(self.head, error, status)

    def on_whole(self, body: dict[str, Any]) -> Iterator[ResponseEvent]:
        yield from self._ensure_started()
        output = body.get("output")
        message = output.get("message") if type(output) is dict else None
        content = message.get("content") if type(message) is dict else output if message is None else message
        if type(message) is dict:
            self.losses.extra("response.output.message", unread(message, _OF_MESSAGE))
        for index, block in enumerate(_items(several(content))):
            if type(block) is str:
                block = {"text": block}
            if type(block) is dict:
                yield from self._on_block(index, block)
                yield from self._end(index)
        yield self._ending(body.get("stopReason"), body)

    def _on_block(self, index: int, block: dict[str, Any]) -> Iterator[ResponseEvent]:
        """One block of a whole message, told as its deltas would."""
        if type(text := block.get("text")) is str:
            yield from self._on_block_delta({"contentBlockIndex": index, "delta": {"text": text}})
            rest = {name: value for name, value in block.items() if name != "text"}
            if says_something(rest):
                yield from self._end(index)
                yield from self._on_block(index, rest)
        elif type(tool := block.get("toolUse")) is dict and not _is_server_tool(tool):
            if not says_something(tool):
                return
            started = self._start_tool(index, tool)
            self.losses.extra("response.output.message.content.toolUse", unread(tool, _OF_TOOL))
            yield started
            if tool.get("input") is not None:
                yield ToolInputDelta(self._open[index].block, encode(tool["input"]).decode())
        elif type(reasoning := block.get("reasoningContent")) is dict:
            shown = reasoning.get("reasoningText")
            shown = {"text": shown} if type(shown) is str else shown
            yield from self._on_reasoning(index, shown if type(shown) is dict else reasoning)
        elif type(cited := block.get("citationsContent")) is dict:
            for part in _items(cited.get("content")):
                yield from self._on_block_delta({"contentBlockIndex": index, "delta": part})
            for citation in _items(cited.get("citations")):
                yield from self._on_other_delta(index, {"citation": citation})
        elif block:
            yield from self._start_opaque(index, block)

    def _ending(self, reason: Any, members: dict[str, Any]) -> ResponseEnded | ResponseFailed:
        """*members* are the response's top-level ones, in a stream those of its last two events."""
        extra = unread(members, _UNDERSTOOD) or {}
        stop_sequence, fields = None, extra.get("additionalModelResponseFields")
        if type(fields) is dict and type(fields.get("stop_sequence")) is str:
            stop_sequence = fields["stop_sequence"]
            if len(fields) == 1:
                del extra["additionalModelResponseFields"]
        known = type(reason) is str and bool(reason)
        stop: StopReason | ResponseFailed = StopReason.END
        if known:
            stop = self.read_stop(reason, STOPS, "response.stopReason")
        if isinstance(stop, ResponseFailed):
            return stop
        return ResponseEnded(
            stop,
            read_usage(members.get("usage")),
            stop_sequence=stop_sequence,
            native_reason=reason if known else None,
            service_tier=read_tier(members.get("serviceTier")),
            extra=extra or None,
        )


def _index(event: dict[str, Any]) -> int:
    return place(event.get("contentBlockIndex")) or 0


def _is_server_tool(tool: dict[str, Any]) -> bool:
    """The provider runs it: not a call for the client."""
    return tool.get("type") == "server_tool_use"


def _items(value: Any) -> list[Any]:
    return value if type(value) is list else []
