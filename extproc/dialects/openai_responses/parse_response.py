"""Responses objects and ``response.*`` events to events."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, ClassVar, Final

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
from ..shared.errors import is_bare_error, says_error
from ..shared.fragments import fragment, place, says_something, several, string, text_in, unread
from ..shared.openai import ERROR_KINDS
from ..shared.parser import ParserBase
from .words import CLAUDE, NAME, SIGNER, Carried, read_annotation, read_carrier, read_seal, read_usage

_CALLS: Final = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}
"""Items that are calls for the client: our kind, and the member with the input."""

_NO_NEWS: Final = frozenset(
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

_Place = int | str | None
"""Where an item stands: its number, else its id. Servers may leave out both."""
_Key = tuple[_Place, str, int | None]
"""Where a block stands: the item's place, what it is, the part's number."""
_WHOLE_TEXTS: Final = {"response.output_text.done": "text", "response.refusal.done": "refusal"}


class _Open(Struct):
    """A block that has started; ``sent`` is how many characters of it have come."""

    block: int
    sent: int = 0
    ended: bool = False
    called: str = ""  # of a call its id
    # Of thinking only: its text, with which a seal may have to be compared; the member, and the part of it, from which
    # the text comes.
    texts: list[str] = []
    source: tuple[str, int | None] = ("", None)


_OF_CALL: Final = frozenset({"type", "id", "call_id", "name", "arguments", "input", "status", "namespace", "caller"})
_OF_PART: Final = frozenset(
    {"type", "text", "refusal", "annotations", "logprobs", "content", "value", "output_text", "id", "status"}
)
_OF_MESSAGE: Final = frozenset({"type", "id", "status", "role", "content", "phase"})


class ResponsesParser(ParserBase):
    """A part of a message, a reasoning item and a call become a block each. What a stream's deltas left out is taken
    from the events that repeat it whole; a block that has no text never starts."""

    error_kinds: ClassVar[dict[str, ErrorKind]] = ERROR_KINDS
    event_names: ClassVar[tuple[bytes, ...]] = (b"response", b"error")

    def __init__(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> None:
        super().__init__(call, head, limits, losses)
        self._blocks: dict[_Key, _Open] = {}
        self._places: dict[str, _Place] = {}  # of the items that have an id
        self._last: _Place = None
        self._called: set[str] = set()  # ids of the calls that were told
        self._said = False
        self._refusal: list[str] = []
        self._on_type: dict[Any, Callable[[dict[str, Any]], Iterator[ResponseEvent]]] = {
            "response.output_text.delta": self._on_text_delta,
            "response.refusal.delta": self._on_refusal_delta,
            "response.function_call_arguments.delta": self._on_input_delta,
            "response.custom_tool_call_input.delta": self._on_input_delta,
            "response.reasoning_summary_text.delta": self._on_summary_delta,
            "response.reasoning_text.delta": self._on_reasoning_delta,
            # LM Studio's and others' names.
            "response.reasoning.delta": self._on_reasoning_delta,
            "response.reasoning_summary.delta": self._on_summary_delta,
            "response.text.delta": self._on_text_delta,
            "response.output_text.done": self._on_text_done,
            "response.refusal.done": self._on_text_done,
            "response.function_call_arguments.done": self._on_input_done,
            "response.custom_tool_call_input.done": self._on_input_done,
            "response.reasoning_summary_text.done": self._on_summary_done,
            "response.reasoning_text.done": self._on_summary_done,
            "response.created": self._on_lifecycle,
            "response.queued": self._on_lifecycle,
            "response.in_progress": self._on_lifecycle,
            "response.output_item.added": self._on_item_added,
            "response.content_part.done": self._on_part_done,
            "response.output_text.annotation.added": self._on_annotation,
            "response.output_item.done": self._on_item_done,
            "response.completed": self._on_end,
            "response.done": self._on_end,
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
            if says_error(message) or (kind is None and "output" not in message and is_bare_error(message)):
                return iter([self.failure_of(message)])
            if type(kind) is str and kind.endswith(".delta") and message.get("delta"):
                self.losses.dropped(kind, "an event of a kind that is not known")
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
            string(members, "id"),
            string(members, "model") or self.call.request.model,
            created=int(created) if type(created) in (int, float) and abs(created) < 1e12 else None,
        )

    def _place_of(self, event: dict[str, Any]) -> _Place:
        """Where the item of an *event* stands. A known id says it, whatever the number; who says nothing means the item
        that came last."""
        item = event.get("item")
        id_ = string(event, "item_id") or (string(item, "id") if type(item) is dict else "")
        known = self._places.get(id_)
        if known is None:
            index = place(event.get("output_index"))
            if index is None and not id_:
                return self._last
            known = id_ if index is None else index
            if id_:
                self._places[id_] = known
        self._last = known
        return known

    def _part_key(self, event: dict[str, Any]) -> _Key:
        return self._place_of(event), "text", place(event.get("content_index"))

    def _on_text_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._text(self._part_key(event), event.get("delta"), refusal=False)

    def _on_text_done(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        """The whole of a text, of which some may not have come in pieces."""
        key, text = self._part_key(event), event.get(_WHOLE_TEXTS[event["type"]])
        opened = self._blocks.get(key)
        if opened is None or not opened.ended:
            rest = text[opened.sent :] if opened and type(text) is str else text
            yield from self._text(key, rest, refusal=event["type"] == "response.refusal.done")

    def _on_refusal_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._text(self._part_key(event), event.get("delta"), refusal=True)

    def _text(self, key: _Key, said: Any, *, refusal: bool) -> Iterator[ResponseEvent]:
        text = text_in(said)
        if not text:
            if says_something(said):
                self.losses.dropped("response.output.message.content")
            return
        opened = self._blocks.get(key)
        if opened is None or opened.ended:
            opened = yield from self._start_text(key, refusal=refusal)
        opened.sent += len(text)
        self._said = True
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
        annotation, key = event.get("annotation"), self._part_key(event)
        if type(annotation) is not dict:
            return
        opened = self._blocks.get(key)
        if opened is None or opened.ended:
            opened = yield from self._start_text(key)
        yield CitationAdded(opened.block, read_annotation(annotation))

    def _on_part_done(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._finish_part(self._part_key(event), event.get("part"))

    def _finish_part(self, key: _Key, part: Any) -> Iterator[ResponseEvent]:
        """End a part of a message, and tell what its deltas left out."""
        opened = self._blocks.get(key)
        if opened is not None and opened.ended:
            return
        refusal = type(part) is dict and part.get("type") == "refusal"
        if type(part) is dict:
            self.losses.extra("response.output.message.content", unread(part, _OF_PART))
        text = part.get("refusal") if refusal else text_in(part)
        if type(text) is str:
            yield from self._text(key, text[opened.sent :] if opened else text, refusal=refusal)
        if not text and says_something(part):
            self.losses.dropped("response.output.message.content")
        opened = self._blocks.get(key)
        if opened is not None:
            opened.ended = True
            yield BlockEnded(opened.block)

    # ---- reasoning

    def _on_summary_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._thinking(event, ("summary", place(event.get("summary_index"))))

    def _on_reasoning_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        return self._thinking(event, ("content", place(event.get("content_index"))))

    def _on_summary_done(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        """The whole of it, where it did not come in pieces."""
        if (self._place_of(event), "reasoning", None) not in self._blocks:
            kind = "summary" if "summary" in event["type"] else "content"
            source = (kind, place(event.get(f"{kind}_index")))
            yield from self._thinking({**event, "delta": event.get("text")}, source)

    def _thinking(self, event: dict[str, Any], source: tuple[str, int | None]) -> Iterator[ResponseEvent]:
        """The text itself or a summary of it, whichever comes first: both would say it twice."""
        said = event.get("delta")
        text = text_in(said)
        if not text:
            if says_something(said):
                self.losses.dropped("response.output.reasoning")
            return
        opened = yield from self._start_thinking(self._place_of(event))
        if opened.source != source:
            if opened.source[0] and opened.source[0] != source[0]:
                return
            if opened.source[0]:
                text = "\n\n" + text
            opened.source = source
        opened.texts.append(text)
        yield ThinkingDelta(opened.block, text)

    def _start_thinking(self, where: _Place) -> Generator[ResponseEvent, None, _Open]:
        key = (where, "reasoning", None)
        opened = self._blocks.get(key)
        if opened is None or opened.ended:
            yield from self._ensure_started()
            opened = self._blocks[key] = _Open(self.grammar.next_block)
            yield ThinkingStarted(opened.block)
        return opened

    def _finish_reasoning(self, index: _Place, item: dict[str, Any]) -> Iterator[ResponseEvent]:
        sealed = string(item, "encrypted_content")
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
            seal = read_seal(sealed, self.call.undo.signer or SIGNER)
            yield ThinkingSealed(opened.block, seal.signature, seal.encrypted, seal.signer)
        if opened is not None:
            yield BlockEnded(opened.block)

    def _carried(
        self, index: _Place, opened: _Open | None, text: str, carried: list[Carried]
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

    def _start_call(self, index: _Place, item: dict[str, Any]) -> Generator[ResponseEvent, None, _Open]:
        yield from self._ensure_started()
        call_id = string(item, "call_id") or string(item, "id")
        opened = self._blocks[(index, "call", None)] = _Open(self.grammar.next_block, called=call_id)
        extra = {name: item[name] for name in ("namespace", "caller") if item.get(name) is not None}
        kind = _CALLS[item["type"]][0]
        self._called.add(call_id)
        id_, signature = marker.unsealed_id(call_id)
        yield ToolCallStarted(opened.block, id_, string(item, "name"), kind, extra or None, signature)
        return opened

    def _on_input_delta(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        opened, text = self._blocks.get((self._place_of(event), "call", None)), fragment(event.get("delta"))
        # Input of an item that is not known comes again, whole, with the item's end.
        if opened is not None and not opened.ended and text:
            opened.sent += len(text)
            yield ToolInputDelta(opened.block, text)

    def _on_input_done(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        opened = self._blocks.get((self._place_of(event), "call", None))
        if opened is not None and not opened.ended:
            yield from self._rest_of_input(opened, event.get("arguments") or event.get("input"))

    def _rest_of_input(self, opened: _Open, whole: Any) -> Iterator[ResponseEvent]:
        """What of the *whole* input did not come in pieces."""
        text = fragment(whole)
        if len(text) > opened.sent:
            yield ToolInputDelta(opened.block, text[opened.sent :])
            opened.sent = len(text)

    def _finish_call(self, index: _Place, item: dict[str, Any]) -> Iterator[ResponseEvent]:
        opened = self._blocks.get((index, "call", None))
        if opened is None:
            opened = yield from self._start_call(index, item)
        yield from self._rest_of_input(opened, item.get(_CALLS[item["type"]][1]))
        self.losses.extra(f"response.output.{item['type']}", unread(item, _OF_CALL))
        yield BlockEnded(opened.block)

    # ---- items

    def _on_item_added(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        item = event.get("item")
        if type(item) is not dict or string(item, "type") not in _CALLS:
            return
        index, id_ = self._place_of(event), string(item, "id")
        there = self._blocks.get((index, "call", None))
        if there is not None and id_ and string(item, "call_id") not in ("", there.called):
            # Bridges to other APIs give every call one number: this one has a place of its own, by its id.
            index = self._places[id_] = self._last = id_
        # Without a name it is told when it is whole.
        if (index, "call", None) not in self._blocks and string(item, "name"):
            opened = yield from self._start_call(index, item)
            yield from self._rest_of_input(opened, item.get(_CALLS[item["type"]][1]))

    def _on_item_done(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        item, index = event.get("item"), self._place_of(event)
        if type(item) is not dict:
            return
        kind = string(item, "type")
        if kind == "message":
            content = several(item.get("content"))
            self.losses.extra("response.output.message", unread(item, _OF_MESSAGE))
            # A server that numbers no parts (llama.cpp) has told them one by one: here they would be told again.
            told = (index, "text", None) in self._blocks
            for position, part in enumerate(content if type(content) is list and not told else ()):
                yield from self._whole_part((index, "text", position), part)
        elif kind == "reasoning":
            yield from self._finish_reasoning(index, item)
        elif kind in _CALLS:
            if (index, "call", None) in self._blocks or says_something({**item, "status": None}):
                yield from self._finish_call(index, item)
        elif kind in ("output_text", "text"):
            yield from self._whole_part((index, "text", 0), item)
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

    def _forget(self, index: _Place) -> Iterator[ResponseEvent]:
        """The item at *index* is over: its number may not come again, but a server without numbers has only one."""
        for key in [key for key in self._blocks if key[0] == index]:
            opened = self._blocks.pop(key)
            if opened.block in self.grammar.open:
                yield BlockEnded(opened.block)

    # ---- the end

    def _on_failed(self, event: dict[str, Any]) -> Iterator[ResponseEvent]:
        yield self._failed(event.get("response") or event)

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
        else:
            yield from self._left_out(members)
        yield from self.close_blocks()
        incomplete = "incomplete" in (members.get("status"), event["type"].removeprefix("response."))
        yield self._ending(members, incomplete=incomplete)

    def _left_out(self, response: dict[str, Any]) -> Iterator[ResponseEvent]:
        """What of the output no event told: calls, the rest of those not ended, a message if there was none."""
        output = response.get("output")
        for index, item in enumerate(output if type(output) is list else ()):
            if type(item) is not dict:
                continue
            kind, id_ = string(item, "type"), string(item, "id")
            where = self._places.get(id_, index)
            told = (string(item, "call_id") or id_) in self._called
            if kind in _CALLS and (not told or (where, "call", None) in self._blocks):
                yield from self._on_item_done({"output_index": where, "item": item})
            elif kind == "message" and not self._said:
                yield from self._on_item_done({"output_index": index, "item": item})

    def _output(self, response: dict[str, Any]) -> Iterator[ResponseEvent]:
        output = several(response.get("output"))
        for index, item in enumerate(output if type(output) is list else ()):
            yield from self._on_item_done({"output_index": index, "item": item})
        if self.grammar.next_block == 0 and (text := string(response, "output_text")):
            # The SDK's own member: what it joins is not there.
            yield from self._text((0, "text", 0), text, refusal=False)
            yield from self.close_blocks()

    def _ending(self, response: dict[str, Any], *, incomplete: bool) -> ResponseEnded | ResponseFailed:
        details = response.get("incomplete_details")
        details = details if type(details) is dict else {}
        reason = string(details, "reason")
        stop: StopReason | ResponseFailed = StopReason.MAX_TOKENS
        if incomplete:
            if reason:
                stop = self.read_stop(reason, {}, "response.incomplete_details.reason")
            if isinstance(stop, ResponseFailed):
                return stop
            if stop in (StopReason.OTHER, StopReason.END):
                # Whatever it is, it says that there would be more.
                stop = StopReason.PAUSED
        elif self._refusal:
            stop = StopReason.REFUSAL
        else:
            stop = StopReason.TOOL_CALL if self._called else StopReason.END
        tier = string(response, "service_tier")
        extra = unread(response, _NO_NEWS)
        return ResponseEnded(
            stop,
            read_usage(response.get("usage")),
            native_reason=reason or ("incomplete" if incomplete else "completed"),
            explanation="".join(self._refusal) or string(details, "explanation") or None,
            service_tier="standard" if tier == "default" else tier or None,
            extra=extra,
        )

    # ---- whole

    def is_error(self, body: dict[str, Any]) -> bool:
        if super().is_error(body) or body.get("status") in ("failed", "cancelled"):
            return True
        return not {"output", "output_text", "id"} & body.keys() and is_bare_error(body)

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


def _joined(parts: Any) -> str:
    """The texts of a reasoning item's member, parted as their deltas would be."""
    if type(parts) is str:
        return parts
    found = [part.get("text") for part in parts if type(part) is dict] if type(parts) is list else []
    return "\n\n".join(text for text in found if type(text) is str and text)
