"""Responses objects and ``response.*`` events to events."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, ClassVar

from msgspec import Struct

from ...llm import marker
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
from ...llm.failures import ErrorKind
from ...llm.grammar import State
from ...llm.losses import LossReport
from ...settings import Limits
from ..base import ResponseHead, UpstreamCall
from ..shared.openai import ERROR_KINDS
from ..shared.parser import ParserBase
from .words import CLAUDE, NAME, Carried, read_annotation, read_carrier, read_seal, read_usage

_CALLS = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}
"""Items that are calls for the client: our kind, and the member with the input."""

_NO_NEWS = frozenset(
    {
        "id", "object", "created_at", "completed_at", "status", "background", "error", "incomplete_details",
        "instructions", "max_output_tokens", "max_tool_calls", "metadata", "model", "output", "output_text",
        "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key", "prompt_cache_options",
        "prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "store", "temperature", "text",
        "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "usage", "user", "billing", "access_programs",
        "presence_penalty", "frequency_penalty",
    }
)  # fmt: skip
"""Members of a response that are understood here, or echo the request."""

_Key = tuple[int | None, str, int | None]
"""Where a block stands: the item's number, what it is, the part's number. Servers may leave numbers out."""


class _Open(Struct):
    """A block that has started; ``sent`` is how many characters of it have come."""

    block: int
    sent: int = 0
    ended: bool = False
    # Of thinking only: its text, with which a seal may have to be compared; the member, and the part of it, from which
    # the text comes.
    texts: list[str] = []
    source: tuple[str, int | None] = ("", None)


class ResponsesParser(ParserBase):
    """A part of a message, a reasoning item and a call become a block each. What a stream's deltas left out is taken
    from the events that repeat it whole; a block that has no text never starts."""

    error_kinds: ClassVar[dict[str, ErrorKind]] = ERROR_KINDS
    event_names: ClassVar[tuple[bytes, ...]] = (b"response", b"error")

    def __init__(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> None:
        super().__init__(call, head, limits, losses)
        self._blocks: dict[_Key, _Open] = {}
        self._calls = 0
        self._refusal: list[str] = []
        self._on_type: dict[Any, Callable[[dict[str, Any]], Iterator[ResponseEvent]]] = {
            "response.output_text.delta": self._on_text_delta,
            "response.refusal.delta": self._on_refusal_delta,
            "response.function_call_arguments.delta": self._on_input_delta,
            "response.custom_tool_call_input.delta": self._on_input_delta,
            "response.reasoning_summary_text.delta": self._on_summary_delta,
            "response.reasoning_text.delta": self._on_reasoning_delta,
            "response.created": self._on_lifecycle,
            "response.queued": self._on_lifecycle,
            "response.in_progress": self._on_lifecycle,
            "response.output_item.added": self._on_item_added,
            "response.content_part.done": self._on_part_done,
            "response.output_text.annotation.added": self._on_annotation,
            "response.output_item.done": self._on_item_done,
            "response.completed": self._on_end,
            "response.incomplete": self._on_end,
            "response.failed": self._on_failed,
            "response.cancelled": self._on_failed,
            "error": self._on_error,
            "keepalive": self._on_keepalive,
        }

    # ---- streamed

    def on_message(self, message: Any) -> Iterator[ResponseEvent]:
        if type(message) is dict:
            kind = message.get("type")
            on_type = self._on_type.get(kind) if type(kind) is str else None
            if on_type is not None:
                return on_type(message)
            if message.get("error"):
                return iter([self.failure_of(message)])
        return iter(())

    def _on_keepalive(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        yield KeepAlive()

    def _on_error(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        # The reference shows the members flat, the API sends them under "error" (openai-dotnet issue 881, Dec 2025).
        error = event.get("error") or {name: value for name, value in event.items() if name != "type"}
        yield self.failure_of({"error": error})

    def _on_lifecycle(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._ensure_started(event.get("response"))

    def _ensure_started(self, response: Any = None) -> Iterator[ResponseEvent]:
        if self.grammar.state is not State.NOT_STARTED:
            return
        members = response if type(response) is dict else {}
        created: Any = members.get("created_at")
        yield ResponseStarted(
            _text(members, "id"),
            _text(members, "model") or self.call.request.model,
            created=int(created) if type(created) in (int, float) and abs(created) < 1e12 else None,
        )

    def _on_text_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._text(_part_key(event), event.get("delta"), refusal=False)

    def _on_refusal_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._text(_part_key(event), event.get("delta"), refusal=True)

    def _text(self, key: _Key, text: Any, *, refusal: bool) -> Iterator[ResponseEvent]:
        if type(text) is not str or not text:
            return
        opened = self._blocks.get(key)
        if opened is None or opened.ended:
            opened = yield from self._start_text(key, refusal=refusal)
        opened.sent += len(text)
        if refusal:
            self._refusal.append(text)
            self.kept.add(len(text))
        yield TextDelta(opened.block, text)

    def _start_text(self, key: _Key, *, refusal: bool = False) -> Generator[ResponseEvent, None, _Open]:
        yield from self._ensure_started()
        opened = self._blocks[key] = _Open(self.grammar.next_block)
        yield TextStarted(opened.block, refusal)
        return opened

    def _on_annotation(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        annotation, key = event.get("annotation"), _part_key(event)
        if type(annotation) is not dict:
            return
        opened = self._blocks.get(key)
        if opened is None or opened.ended:
            opened = yield from self._start_text(key)
        yield CitationAdded(opened.block, read_annotation(annotation))

    def _on_part_done(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._finish_part(_part_key(event), event.get("part"))

    def _finish_part(self, key: _Key, part: Any) -> Iterator[ResponseEvent]:
        """End a part of a message, and tell what its deltas left out."""
        opened = self._blocks.get(key)
        if opened is not None and opened.ended:
            return
        if type(part) is dict and part.get("type") in ("output_text", "refusal"):
            refusal = part["type"] == "refusal"
            text = part.get("refusal" if refusal else "text")
            if type(text) is str:
                yield from self._text(key, text[opened.sent :] if opened else text, refusal=refusal)
        opened = self._blocks.get(key)
        if opened is not None:
            opened.ended = True
            yield BlockEnded(opened.block)

    # ---- reasoning

    def _on_summary_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._thinking(event, ("summary", _number(event, "summary_index")))

    def _on_reasoning_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._thinking(event, ("content", _number(event, "content_index")))

    def _thinking(self, event: dict[str, Any], source: tuple[str, int | None]) -> Iterator[ResponseEvent]:
        """The text itself or a summary of it, whichever comes first: both would say it twice."""
        text = event.get("delta")
        if type(text) is not str or not text:
            return
        opened = yield from self._start_thinking(_number(event, "output_index"))
        if opened.source != source:
            if opened.source[0] and opened.source[0] != source[0]:
                return
            if opened.source[0]:
                text = "\n\n" + text
            opened.source = source
        opened.texts.append(text)
        yield ThinkingDelta(opened.block, text)

    def _start_thinking(self, output_index: int | None) -> Generator[ResponseEvent, None, _Open]:
        key = (output_index, "reasoning", None)
        opened = self._blocks.get(key)
        if opened is None or opened.ended:
            yield from self._ensure_started()
            opened = self._blocks[key] = _Open(self.grammar.next_block)
            yield ThinkingStarted(opened.block)
        return opened

    def _finish_reasoning(self, index: int | None, item: dict[str, Any]) -> Iterator[ResponseEvent]:
        sealed = _text(item, "encrypted_content")
        carried = read_carrier(sealed)
        opened = self._blocks.get((index, "reasoning", None))
        shown = opened.texts if opened else [_joined(item.get("content")) or _joined(item.get("summary"))]
        text = "".join(shown)
        if text and opened is None:
            opened = yield from self._start_thinking(index)
            yield ThinkingDelta(opened.block, text)
        if carried is not None:
            yield from self._carried(index, opened, text, carried)
            return
        if sealed:
            opened = yield from self._start_thinking(index)
            seal = read_seal(sealed)
            yield ThinkingSealed(opened.block, seal.signature, seal.encrypted, seal.signer)
        if opened is not None:
            yield BlockEnded(opened.block)

    def _carried(
        self, index: int | None, opened: _Open | None, text: str, carried: list[Carried]
    ) -> Iterator[ResponseEvent]:
        """Claude's thinking in an item: the shown *text* gets its own seal, what was never shown its own block."""
        if opened is not None:
            own = next((each for each in carried if each.signature is not None and each.text == text), None)
            if own is not None:
                yield ThinkingSealed(opened.block, own.signature, signer=CLAUDE)
            yield BlockEnded(opened.block)
        for each in carried:
            if each.text:
                if opened is None or each.text != text:
                    self.losses.dropped("response.reasoning.encrypted_content", "a signature over another text")
                continue
            block = self.grammar.next_block
            yield ThinkingStarted(block)
            yield ThinkingSealed(block, each.signature, each.encrypted, CLAUDE)
            yield BlockEnded(block)

    # ---- calls

    def _start_call(self, index: int | None, item: dict[str, Any]) -> Generator[ResponseEvent, None, _Open]:
        yield from self._ensure_started()
        opened = self._blocks[(index, "call", None)] = _Open(self.grammar.next_block)
        self._calls += 1
        extra = {name: item[name] for name in ("namespace", "caller") if item.get(name) is not None}
        kind = _CALLS[item["type"]][0]
        id_, signature = marker.unsealed_id(_text(item, "call_id"))
        yield ToolCallStarted(opened.block, id_, _text(item, "name"), kind, extra or None, signature)
        return opened

    def _on_input_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        opened, fragment = self._blocks.get((_number(event, "output_index"), "call", None)), event.get("delta")
        # Input of an item that is not known comes again, whole, with the item's end.
        if opened is not None and not opened.ended and type(fragment) is str and fragment:
            opened.sent += len(fragment)
            yield ToolInputDelta(opened.block, fragment)

    def _finish_call(self, index: int | None, item: dict[str, Any]) -> Iterator[ResponseEvent]:
        opened = self._blocks.get((index, "call", None))
        if opened is None:
            opened = yield from self._start_call(index, item)
        whole = item.get(_CALLS[item["type"]][1])
        if type(whole) is str and len(whole) > opened.sent:
            yield ToolInputDelta(opened.block, whole[opened.sent :])
        yield BlockEnded(opened.block)

    # ---- items

    def _on_item_added(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        item = event.get("item")
        if type(item) is not dict or _text(item, "type") not in _CALLS:
            return
        index = _number(event, "output_index")
        if (index, "call", None) not in self._blocks:
            opened = yield from self._start_call(index, item)
            already = item.get(_CALLS[item["type"]][1])
            if type(already) is str and already:
                opened.sent = len(already)
                yield ToolInputDelta(opened.block, already)

    def _on_item_done(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        item, index = event.get("item"), _number(event, "output_index")
        if type(item) is not dict:
            return
        kind = _text(item, "type")
        if kind == "message":
            content = item.get("content")
            # A server that numbers no parts (llama.cpp) has told them one by one: here they would be told again.
            told = (index, "text", None) in self._blocks
            for position, part in enumerate(content if type(content) is list and not told else ()):
                yield from self._whole_part((index, "text", position), part)
        elif kind == "reasoning":
            yield from self._finish_reasoning(index, item)
        elif kind in _CALLS:
            yield from self._finish_call(index, item)
        elif kind:
            yield from self._ensure_started()
            block = self.grammar.next_block
            yield OpaqueStarted(block, NAME, item)
            yield BlockEnded(block)
        yield from self._forget(index)

    def _whole_part(self, key: _Key, part: Any) -> Iterator[ResponseEvent]:
        opened = self._blocks.get(key)
        if opened is None and type(part) is dict and type(part.get("annotations")) is list:
            yield from self._text(key, part.get("text"), refusal=False)
            for annotation in part["annotations"]:
                if type(annotation) is dict and key in self._blocks:
                    yield CitationAdded(self._blocks[key].block, read_annotation(annotation))
        yield from self._finish_part(key, part)

    def _forget(self, index: int | None) -> Iterator[ResponseEvent]:
        """The item at *index* is over: its number may not come again, but a server without numbers has only one."""
        for key in [key for key in self._blocks if key[0] == index]:
            opened = self._blocks.pop(key)
            if opened.block in self.grammar.open:
                yield BlockEnded(opened.block)

    # ---- the end

    def _on_failed(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        yield self._failed(event.get("response"))

    def _failed(self, response: Any, status: int | None = None) -> ResponseFailed:
        members = response if type(response) is dict else {}
        if members.get("error"):
            return self.failure_of(members, status)
        return self.failure(f"the response ended as {members.get('status') or 'failed'}", status=status)

    def _on_end(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        response = event.get("response")
        members = response if type(response) is dict else {}
        yield from self._ensure_started(members)
        if self.grammar.next_block == 0:
            # A server that streams nothing but its end.
            yield from self._output(members)
        yield from self.close_blocks()
        yield self._ending(members, incomplete=event["type"] == "response.incomplete")

    def _output(self, response: dict[str, Any]) -> Iterator[ResponseEvent]:
        output = response.get("output")
        for index, item in enumerate(output if type(output) is list else ()):
            yield from self._on_item_done({"output_index": index, "item": item})

    def _ending(self, response: dict[str, Any], *, incomplete: bool) -> ResponseEnded:
        details = response.get("incomplete_details")
        details = details if type(details) is dict else {}
        reason = _text(details, "reason")
        if incomplete:
            stop = {"max_output_tokens": StopReason.MAX_TOKENS, "content_filter": StopReason.REFUSAL}.get(
                reason, StopReason.PAUSED if reason else StopReason.MAX_TOKENS
            )
        elif self._refusal:
            stop = StopReason.REFUSAL
        else:
            stop = StopReason.TOOL_CALL if self._calls else StopReason.END
        tier = _text(response, "service_tier")
        extra = {name: value for name, value in response.items() if name not in _NO_NEWS and value is not None}
        return ResponseEnded(
            stop,
            read_usage(response.get("usage")),
            native_reason=reason or ("incomplete" if incomplete else "completed"),
            explanation="".join(self._refusal) or _text(details, "explanation") or None,
            service_tier="standard" if tier == "default" else tier or None,
            extra=extra or None,
        )

    # ---- whole

    def is_error(self, body: dict[str, Any]) -> bool:
        return super().is_error(body) or body.get("status") in ("failed", "cancelled")

    def failure_of(self, error: Any, status: int | None = None) -> ResponseFailed:
        if type(error) is dict and not error.get("error") and error.get("status") in ("failed", "cancelled"):
            return self._failed(error, status)
        return super().failure_of(error, status)

    def on_whole(self, body: dict[str, Any]) -> Iterator[ResponseEvent]:
        status = body.get("status")
        if status in ("queued", "in_progress"):
            yield self.failure(f"the response is {status}: it was made in the background", status=502)
            return
        yield from self._ensure_started(body)
        yield from self._output(body)
        yield self._ending(body, incomplete=status == "incomplete")


def _part_key(event: dict[str, Any]) -> _Key:
    return _number(event, "output_index"), "text", _number(event, "content_index")


def _text(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    return value if type(value) is str else ""


def _number(members: dict[str, Any], name: str) -> int | None:
    value = members.get(name)
    return value if type(value) is int else None


def _joined(parts: Any) -> str:
    """The texts of a reasoning item's member, parted as their deltas would be."""
    found = [part.get("text") for part in parts if type(part) is dict] if type(parts) is list else []
    return "\n\n".join(text for text in found if type(text) is str and text)
