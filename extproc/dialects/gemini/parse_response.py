"""A Gemini upstream's answer, streamed or whole.

Each message of a stream is a response of its own with what is new in it; counts are of the whole so far. The end comes
with the end of the bytes: a finish reason may be followed by more (Gemini API reference, "streamGenerateContent").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from ...framing.jsonarray import ElementTooLarge, JsonArrayDecoder
from ...llm.events import (
    NO_USAGE,
    BlockEnded,
    CitationAdded,
    Extra,
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
from ...llm.failures import ErrorKind, ProtocolError
from ...llm.losses import LossReport
from ...llm.request import Thinking
from ...settings import Limits
from ..base import ResponseHead, UpstreamCall, encode
from ..shared.errors import is_bare_error
from ..shared.fragments import fragment, place, says_something, several, string, unread
from ..shared.google import ERROR_KINDS, read_failure
from ..shared.parser import ParserBase
from .grounding import Grounding
from .partial import PartialCall
from .signatures import is_ours, read_carrier, read_seal
from .words import FINISH_REASONS, NAME, SIGNER, in_humps, read_usage

_NO_NEWS: Final = frozenset({
    "candidates", "createTime", "modelVersion", "promptFeedback", "responseId", "sdkHttpResponse", "usageMetadata",
})  # fmt: skip
_CANDIDATE: Final = frozenset({
    "avgLogprobs", "citationMetadata", "content", "finishMessage", "finishReason", "groundingMetadata", "index",
    "safetyRatings", "tokenCount",
})  # fmt: skip
"""Members of a candidate that are understood here, or mean nothing to a client of another API."""
_TIERS: Final = {"ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex"}


_NUMBERED = ("FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER")
"""Finish reasons as a server writes them that shows the numbers of the proto file."""

_OF_TEXT: Final = frozenset({"text", "thought", "thoughtSignature", "functionCall"})


_OF_PART: Final = _OF_TEXT | {"partMetadata"}
_OF_CALL: Final = frozenset({"id", "name", "args", "partialArgs", "willContinue"})
_OF_CONTENT: Final = frozenset({"role", "parts"})


class GeminiParser(ParserBase):
    stream_types: ClassVar[tuple[str, ...]] = ("text/event-stream",)
    error_kinds: ClassVar[dict[str, ErrorKind]] = ERROR_KINDS

    def __init__(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> None:
        self._array = head.media_type == "application/json" and call.request.stream and head.status < 400
        super().__init__(call, head, limits, losses)
        self.streamed = self.streamed or self._array
        self._started = False
        self._open: int | None = None  # the open block of text or thinking
        self._thinking = False  # what it is
        self._finish: str | None = None
        self._stop = StopReason.OTHER
        self._zero_finish = False  # it has the member, and says nothing in it
        self._explanation: str | None = None
        self._blocked: str | None = None
        self._usage = NO_USAGE
        self._tier: str | None = None
        self._extra: Extra = {}
        self._partial: PartialCall | None = None
        self._grounding = Grounding(limits.max_kept_bytes)
        self._sealed: set[str | None] = set()  # seals of other providers' thoughts that were shown

    # ---- framing

    def make_framing(self, limits: Limits) -> Any:
        return JsonArrayDecoder(limits.max_event_bytes) if self._array else super().make_framing(limits)

    def feed(self, data: bytes) -> list[ResponseEvent]:
        if not self._array:
            return super().feed(data)
        try:
            elements = self._framing.feed(data)
        except ElementTooLarge as error:
            return self.of_items(error.before) + self._checked(self._raise(error))
        return self.of_items(elements)

    def bytes_of(self, item: Any) -> bytes:
        return item if type(item) is bytes else super().bytes_of(item)

    def on_item(self, item: Any, *, last: bool) -> Iterable[ResponseEvent]:
        if type(item) is not bytes:
            return super().on_item(item, last=last)
        message = self.decode_message(item, last=last)
        return () if message is None else self.on_message(message)

    def on_close(self) -> Iterator[ResponseEvent]:
        if self._finish is None and self._blocked is None:
            return super().on_close()
        return self._end()

    def on_done(self) -> Iterator[ResponseEvent]:
        return self.on_close()

    # ---- messages

    def failure_of(self, error: Any, status: int | None = None) -> ResponseFailed:
        return read_failure(error, status)

    def on_whole(self, body: Any) -> Iterator[ResponseEvent]:
        yield from self.on_message(body)
        yield from self._whole_end()

    def _whole_end(self) -> Iterator[ResponseEvent]:
        if self._finish is None and self._zero_finish and self.grammar.next_block:
            # All of it is there, whatever it does not say.
            self._finish, self._stop = "STOP", StopReason.END
        if self._finish is None and self._blocked is None:
            yield self.failure("the upstream's answer has no candidate that has finished", status=502)
            return
        yield from self._end()

    def is_error(self, body: dict[str, Any]) -> bool:
        if super().is_error(body):
            return not body.get("candidates") or says_something(body.get("error"))
        return not {"candidates", "response", "messages"} & body.keys() and is_bare_error(body)

    def decode_whole(self, body: bytes) -> Any:
        """A whole body; of an array, the messages of a stream, all that they say together."""
        decoded = super().decode_whole(body)
        if type(decoded) is not list:
            return decoded
        failed = next((each for each in decoded if type(each) is dict and each.get("error")), None)
        return failed if failed is not None and len(decoded) == 1 else {"messages": decoded}

    def on_message(self, message: Any) -> Iterator[ResponseEvent]:
        if type(message) is list:
            for each in message:
                yield from self.on_message(each)
            return
        if type(message) is not dict:
            raise ProtocolError("chunk", "expected an object")
        if type(inner := message.get("response")) is dict and "candidates" not in message:
            # As Google's Code Assist wraps it.
            message = inner
        if type(message.get("messages")) is list and "candidates" not in message:
            yield from self.on_message(message["messages"])
            return
        if self.is_error(message):
            yield self.failure_of(message)
            return
        message = in_humps(message)
        self._note_usage(message.get("usageMetadata"))
        if not self._started:
            yield self._start(message)
        feedback = message.get("promptFeedback")
        feedback = in_humps(feedback) if type(feedback) is dict else None
        candidate = self._first(message.get("candidates"))
        if feedback is not None and string(feedback, "blockReason") and candidate is None:
            self._blocked = feedback["blockReason"]
            said = feedback.get("blockReasonMessage")
            self._explanation = said if type(said) is str and said else f"the prompt was blocked: {self._blocked}"
        if candidate is not None:
            yield from self._candidate(candidate)

    def _first(self, candidates: Any) -> dict[str, Any] | None:
        """The candidate with index 0, or without one. More were never asked for."""
        first: dict[str, Any] | None = None
        candidates = several(candidates)
        for candidate in candidates if type(candidates) is list else ():
            if type(candidate) is not dict:
                continue
            if first is None and not place(candidate.get("index")):
                first = candidate
            elif says_something(candidate.get("content")):
                self.losses.dropped("response.candidates[1]", "another answer than the first")
        return first

    def _start(self, message: dict[str, Any]) -> ResponseStarted:
        self._started = True
        id_, model = message.get("responseId"), message.get("modelVersion")
        extra = unread(message, _NO_NEWS)
        return ResponseStarted(
            id_ if type(id_) is str else "",
            model if type(model) is str and model else self.call.request.model,
            self._usage if self.streamed else NO_USAGE,
            created=_instant(message.get("createTime")),
            extra=extra,
        )

    def _candidate(self, candidate: dict[str, Any]) -> Iterator[ResponseEvent]:
        candidate = in_humps(candidate)
        content = candidate.get("content")
        parts = several(content.get("parts") if type(content) is dict else content)
        if parts is None and type(content) is dict:
            parts = [{name: value for name, value in content.items() if name != "role"}]
        elif type(content) is dict:
            self.losses.extra("response.candidates[0].content", unread(content, _OF_CONTENT))
        for part in parts if type(parts) is list else ():
            if type(part) is str:
                yield from self._part({"text": part})
            elif type(part) is dict:
                yield from self._part(part)
        for name, value in candidate.items():
            if name not in _CANDIDATE and says_something(value):
                self._extra[name] = value
        yield from self._cite(candidate)
        finish, said = candidate.get("finishReason"), candidate.get("finishMessage")
        if type(said) is str and said:
            self._explanation = said
        self._zero_finish = self._zero_finish or finish == "" or (finish is None and "finishReason" in candidate)
        if type(finish) is int and 0 < finish < len(_NUMBERED):
            finish = _NUMBERED[finish]
        if type(finish) is str and finish and finish != "FINISH_REASON_UNSPECIFIED":
            self._finish = finish
            stop = self.read_stop(finish, FINISH_REASONS, "response.candidates[0].finishReason")
            if isinstance(stop, ResponseFailed):
                yield replace(stop, message=f"{stop.message}: {self._explanation}") if self._explanation else stop
            else:
                self._stop = stop

    # ---- parts

    def _part(self, part: dict[str, Any]) -> Iterator[ResponseEvent]:
        part = in_humps(part)
        text, signature, call = part.get("text"), part.get("thoughtSignature"), part.get("functionCall")
        signature = signature if type(signature) is str and signature else None
        call = in_humps(call) if type(call) is dict else None
        if type(call) is dict and not (says_something(call) or self._partial):
            call = None
        if call is not None or type(text) is str:
            self.losses.extra("response.candidates[0].content.parts", unread(part, _OF_PART))
        if type(call) is dict and type(text) is str and text:
            # One part is one thing, but to who writes two.
            yield from self._text(text, part.get("thought") is True)
        if type(call) is dict and (self._partial or "partialArgs" in call or call.get("willContinue") is True):
            yield from self._piece(call, signature)
        elif type(call) is dict:
            yield from self._call(call, signature)
        elif (type(text) is str and (text or not unread(part, _OF_TEXT))) or (signature and not unread(part, _OF_TEXT)):
            yield from self._text(text if type(text) is str else "", part.get("thought") is True)
            if signature is not None:
                yield from self._seal(signature, thought=part.get("thought") is True)
        elif says_something(part):
            yield from self._close()
            block = self.grammar.next_block
            yield OpaqueStarted(block, NAME, part)
            yield BlockEnded(block)

    def _text(self, text: str, thinking: bool) -> Iterator[ResponseEvent]:
        if not text:
            return
        if self._open is None or self._thinking is not thinking:
            yield from self._close()
            self._open, self._thinking = self.grammar.next_block, thinking
            yield ThinkingStarted(self._open) if thinking else TextStarted(self._open)
            if not thinking:
                self._grounding.start()
        if thinking:
            yield ThinkingDelta(self._open, text)
        else:
            self._grounding.add(text)
            yield TextDelta(self._open, text)

    def _seal(self, signature: str, *, thought: bool) -> Iterator[ResponseEvent]:
        """A thought's own signature, or that of a text: then it stands behind the text, in a block of its own."""
        seal = read_seal(signature)
        if seal is None and is_ours(signature):
            return
        if not (thought and self._open is not None and self._thinking):
            yield from self._close()
            self._open, self._thinking = self.grammar.next_block, True
            yield ThinkingStarted(self._open)
        if seal is None:
            yield ThinkingSealed(self._open, signature, signer=SIGNER)
        else:
            self._sealed.add(seal.signature or seal.encrypted)
            yield ThinkingSealed(self._open, seal.signature, seal.encrypted, seal.signer)
        yield from self._close()

    def _piece(self, call: dict[str, Any], signature: str | None) -> Iterator[ResponseEvent]:
        """A piece of a call, which is told when it is whole."""
        partial = self._partial
        if partial is None:
            partial = self._partial = PartialCall(call, signature)
        self.kept.add(len(encode(call)))
        if partial.add(call, signature):
            self._partial = None
            yield from self._call(partial.call, partial.signature)

    def _call(self, call: dict[str, Any], signature: str | None) -> Iterator[ResponseEvent]:
        yield from self._close()
        if signature is not None and is_ours(signature):
            yield from self._carried(read_carrier(signature, "response"))
            signature = None
        id_, name, args = call.get("id"), call.get("name"), call.get("args")
        if type(name) is not str or not name:
            if not (id_ or args):
                # What a Go server writes for no call at all.
                return
            raise ProtocolError("functionCall.name", "is missing")
        self.losses.extra("response.candidates[0].content.parts.functionCall", unread(call, _OF_CALL))
        block = self.grammar.next_block
        yield ToolCallStarted(block, id_ if type(id_) is str else "", name, signature=signature)
        if args:
            yield ToolInputDelta(block, fragment(args))
        yield BlockEnded(block)

    def _carried(self, thoughts: list[Thinking]) -> Iterator[ResponseEvent]:
        """Thoughts that another gateway of this kind hid behind a call, but for those that it showed as well."""
        for each in thoughts:
            if (each.signature or each.encrypted) in self._sealed:
                continue
            block = self.grammar.next_block
            yield ThinkingStarted(block)
            if each.text:
                yield ThinkingDelta(block, each.text)
            yield ThinkingSealed(block, each.signature, each.encrypted, each.signer)
            yield BlockEnded(block)

    def _close(self) -> Iterator[ResponseEvent]:
        if self._open is not None:
            yield BlockEnded(self._open)
        self._open = None

    # ---- what comes beside

    def _cite(self, candidate: dict[str, Any]) -> Iterator[ResponseEvent]:
        grounding, citations = candidate.get("groundingMetadata"), candidate.get("citationMetadata")
        if type(grounding) is not dict and type(citations) is not dict:
            return
        found = self._grounding.citations(grounding, citations)
        if self._open is None or self._thinking:
            if found:
                self.losses.dropped("response.candidates[0].groundingMetadata", "its text is over")
        else:
            for citation in found:
                yield CitationAdded(self._open, citation)
        if type(grounding) is dict and (rest := self._grounding.rest(grounding)):
            self._extra["groundingMetadata"] = rest

    def _note_usage(self, usage: Any) -> None:
        if type(usage) is dict:
            usage = in_humps(usage)
            self._usage = read_usage(usage)
            traffic = usage.get("trafficType")
            if type(traffic) is str:
                self._tier = _TIERS.get(traffic, self._tier)

    # ---- the end

    def _end(self) -> Iterator[ResponseEvent]:
        yield from self._close()
        if self._partial is not None:
            yield self.failure("the upstream's call was cut off", status=None if self.streamed else 502)
            return
        if self._finish is None:
            stop, native = StopReason.REFUSAL, self._blocked
        else:
            stop, native = self._stop, self._finish
        yield ResponseEnded(
            stop,
            self._usage,
            native_reason=native,
            explanation=self._explanation or (f"stopped: {native}" if stop is StopReason.REFUSAL else None),
            service_tier=self._tier,
            extra=self._extra or None,
        )


def _instant(text: Any) -> int | None:
    """An RFC 3339 instant as Unix time."""
    if type(text) is not str:
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError):
        return None
