"""A Chat upstream's answer, streamed or whole.

A whole message is read as one delta. What servers do differently from OpenAI is repaired here: where reasoning stands,
how calls are numbered, where usage comes, how the end is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from ...llm import marker
from ...llm.events import (
    NO_USAGE,
    BlockEnded,
    Citation,
    CitationAdded,
    Extra,
    ResponseEnded,
    ResponseEvent,
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
from ...settings import Limits
from ..base import ResponseHead, UpstreamCall
from ..shared.openai import ERROR_KINDS
from ..shared.parser import ParserBase
from .calls import Call, Calls, fragment
from .signatures import take_signature
from .thinktags import ThinkTags
from .usage import read_usage
from .vocabulary import BROKEN_OFF, FINISH_REASONS, NAME, TIERS_READ

_NO_NEWS = frozenset(
    {
        "choices", "created", "id", "model", "object", "obfuscation", "service_tier", "system_fingerprint", "usage",
        "prompt_annotations", "prompt_filter_results", "x_groq",
    }
)  # fmt: skip
"""Members of a chunk that are understood here, or mean nothing to a client."""
_CALL_MEMBERS = frozenset({"custom", "function", "id", "index", "type"})
_LEGACY_ID = "fc_0"


class ChatParser(ParserBase):
    error_kinds: ClassVar[dict[str, ErrorKind]] = ERROR_KINDS

    def __init__(self, call: UpstreamCall, head: ResponseHead, limits: Limits, losses: LossReport) -> None:
        super().__init__(call, head, limits, losses)
        self._started = False
        self._text: int | None = None  # the open block of text, of refusal, of thinking
        self._refusal: int | None = None
        self._thinking: int | None = None
        self._text_start = 0  # code points of the joined text before the open block, and in all
        self._text_length = 0
        self._refused: list[str] = []
        self._thoughts: list[str] = []  # of the open block of thinking
        self._thought_index: Any = None
        self._reasoned = False  # reasoning came as a plain member: what details repeat of it is no news
        self._sealed_later: list[tuple[str, str]] = []
        self._calls = Calls()
        self._legacy: Call | None = None
        # A signature may come in a delta of its own behind its call, which waits for it: such calls come whole anyway.
        self._signed_calls: bool = getattr(self.call, "signed_calls", False)
        self._tags = ThinkTags() if getattr(self.call, "think_tags", False) else None
        self._finish: str | None = None
        self._native: str | None = None
        self._matched: str | None = None
        self._details: Extra = {}
        self._usage = NO_USAGE
        self._tier: str | None = None

    # ---- streamed

    def on_item(self, item: Any, *, last: bool) -> Iterator[ResponseEvent]:
        if item.event or not item.data.startswith(b"{"):
            yield from self._on_odd_item(item, last=last)
            return
        message = self.decode_message(item.data, last=last)
        if message is None:
            return
        text = self._more_text(message)
        if text is None:
            yield from self.on_message(message)
        else:
            self._text_length += len(text)
            yield TextDelta(self._text, text)  # type: ignore[arg-type]

    def _on_odd_item(self, item: Any, *, last: bool) -> Iterator[ResponseEvent]:
        if item.event == b"error":  # Groq
            error = self.decode_message(item.data, last=last)
            yield self.failure_of(error if error is not None else {})
        else:
            yield from super().on_item(item, last=last)

    def _more_text(self, message: dict[str, Any]) -> str | None:
        """The text of a chunk that only goes on with the open block of text, which by far the most chunks do."""
        if self._text is None or self._finish is not None or self._tags is not None:
            return None
        choices = message.get("choices")
        if type(choices) is not list or len(choices) != 1 or type(choice := choices[0]) is not dict:
            return None
        if choice.get("finish_reason") or choice.get("index") or choice.get("usage") or message.get("usage"):
            return None
        delta = choice.get("delta")
        if type(delta) is not dict or "error" in message or "x_groq" in message:
            return None
        text = delta.get("content")
        plain = len(delta) == 1 or (len(delta) == 2 and "role" in delta)
        return text if plain and type(text) is str and text else None

    def on_message(self, message: Any) -> Iterator[ResponseEvent]:
        if type(message) is not dict:
            raise ProtocolError("chunk", "expected an object")
        choices = message.get("choices")
        if message.get("error") or (not choices and self.is_error(message)):
            yield self.failure_of(message)
            return
        choice = _first(choices)
        ended_before = self._finish is not None
        if choice is not None:
            delta = choice.get("delta")
            if type(delta) is not dict:
                delta = {}
            finish = choice.get("finish_reason")
            if not ended_before and (delta or finish):
                if not self._started:
                    yield self._start(message)
                yield from self._delta(delta)
            elif ended_before and (delta.get("content") or delta.get("tool_calls")):
                self.losses.dropped("response.choices[0].delta", "came after the end")
            if finish or self._finish is None:
                yield from self._note_finish(choice)
        tier = message.get("service_tier")
        if type(tier) is str:
            self._tier = tier
        if self._note_usage(message, choice) and ended_before:
            # Some servers keep the connection open for good: nothing comes after the counts.
            yield from self._end()

    def on_done(self) -> Iterator[ResponseEvent]:
        if self._started:
            return self._end()
        return super().on_close()

    def on_close(self) -> Iterator[ResponseEvent]:
        return self._end() if self._finish is not None else super().on_close()

    # ---- whole

    def is_error(self, body: dict[str, Any]) -> bool:
        if super().is_error(body) or body.get("object") == "error":
            return True
        # Mistral's and FastAPI's error bodies.
        return "choices" not in body and any(type(body.get(name)) in (str, list) for name in ("message", "detail"))

    def on_whole(self, body: dict[str, Any]) -> Iterator[ResponseEvent]:
        choice = _first(body.get("choices"))
        if choice is None:
            raise ProtocolError("choices", "there is none")
        message = choice.get("message")
        message = dict(message) if type(message) is dict else {}
        yield self._start(body)
        if choice.get("finish_reason") == "content_filter":
            # Why it was cut off, not what the model said: OpenAI's own refusals end with "stop".
            self._details = {"explanation": message.pop("refusal", None)}
        yield from self._delta(message, whole=True)
        yield from self._note_finish(choice)
        self._note_usage(body, choice)
        tier = body.get("service_tier")
        self._tier = tier if type(tier) is str else None
        yield from self._end()

    # ---- a delta, or a whole message

    def _start(self, message: dict[str, Any]) -> ResponseStarted:
        self._started = True
        id_, model, created = message.get("id"), message.get("model"), message.get("created")
        extra = {name: value for name, value in message.items() if name not in _NO_NEWS and value is not None}
        return ResponseStarted(
            id_ if type(id_) is str else "",
            model if type(model) is str and model else self.call.request.model,
            created=created if type(created) is int and 0 < created < 1 << 40 else None,
            extra=extra or None,
        )

    def _delta(self, delta: dict[str, Any], *, whole: bool = False) -> Iterator[ResponseEvent]:
        content = delta.get("content")
        yield from self._reasoning(delta)
        if type(content) is str:
            if content:
                yield from self._content(content)
        elif type(content) is list:
            yield from self._content_list(content)
        refusal = delta.get("refusal")
        if type(refusal) is str and refusal:
            yield from self._refuse(refusal)
        if annotations := delta.get("annotations"):
            yield from self._annotations(annotations)
        if tool_calls := delta.get("tool_calls"):
            yield from self._tool_calls(tool_calls, whole=whole)
        function = delta.get("function_call")
        if type(function) is dict:
            if self._legacy is None:
                self._legacy = self._calls.new()
            yield from self._call(self._legacy, {"function": function}, _LEGACY_ID)

    # ---- texts

    def _content(self, text: str) -> Iterator[ResponseEvent]:
        if self._tags is None:
            yield from self._say(text)
            return
        for is_thinking, piece in self._tags.feed(text):
            yield from self._think(piece) if is_thinking else self._say(piece)

    def _content_list(self, items: list[Any]) -> Iterator[ResponseEvent]:
        """Mistral's: texts and thinking, in the order in which they were written."""
        for item in items:
            if type(item) is str:
                item = {"type": "text", "text": item}
            elif type(item) is not dict:
                continue
            kind = item.get("type")
            if kind == "text" and type(item.get("text")) is str:
                if item["text"]:
                    yield from self._content(item["text"])
            elif kind == "thinking":
                for text in _thinking_texts(item.get("thinking")):
                    yield from self._think(text)
            else:
                self.losses.dropped("response.choices[0].message.content", f"a part of type {kind!r}")

    def _say(self, text: str) -> Iterator[ResponseEvent]:
        if self._text is None:
            yield from self._close_all()
            self._text = self.grammar.next_block
            self._text_start = self._text_length
            yield TextStarted(self._text)
        self._text_length += len(text)
        yield TextDelta(self._text, text)

    def _refuse(self, text: str) -> Iterator[ResponseEvent]:
        if self._refusal is None:
            yield from self._close_all()
            self._refusal = self.grammar.next_block
            yield TextStarted(self._refusal, refusal=True)
        self._refused.append(text)
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
        details = delta.get("reasoning_details")
        if type(details) is not list:
            details = ()
        text = delta.get("reasoning_content")
        if type(text) is not str or not text:
            text = delta.get("reasoning")
        if type(text) is str and text:
            if not self._reasoned and len(details) > 1 and text == "".join(map(_detail_text, details)):
                # A whole message: the details say which seal belongs to which part of the text.
                yield from self._reasoning_details(details, repeated=False)
                return
            self._reasoned = True
            yield from self._think(text)
        if details:
            yield from self._reasoning_details(details, repeated=self._reasoned)

    def _reasoning_details(self, details: Any, *, repeated: bool) -> Iterator[ResponseEvent]:
        """OpenRouter's, and our own. *repeated*: their texts have come already."""
        for detail in details:
            if type(detail) is not dict:
                continue
            text, index = _detail_text(detail), detail.get("index")
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
            if self._calls_in_progress():
                self.losses.dropped("response.choices[0].delta.reasoning_details", "a signature within a call")
                return
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
        if self._calls_in_progress():
            # It may come amid the fragments of a call, which it must not end.
            self._sealed_later.append((data, signer))
            return
        yield from self._close_all()
        block = self.grammar.next_block
        yield ThinkingStarted(block)
        yield ThinkingSealed(block, encrypted=data, signer=signer)
        yield BlockEnded(block)

    # ---- calls

    def _tool_calls(self, items: Any, *, whole: bool) -> Iterator[ResponseEvent]:
        if type(items) is not list:
            raise ProtocolError("tool_calls", "expected an array")
        for item in items:
            if type(item) is not dict:
                continue
            inner, id_ = _inner(item), item.get("id")
            id_ = id_ if type(id_) is str else ""
            name = inner.get("name")
            call = self._calls.new() if whole else self._calls.find(item, id_, name if type(name) is str else "")
            yield from self._call(call, item, id_)
            if whole:
                yield from self._finish_call(call)

    def _call(self, call: Call, item: dict[str, Any], id_: str) -> Iterator[ResponseEvent]:
        inner = _inner(item)
        name = inner.get("name")
        if not call.name and type(name) is str:
            call.name = name
        call.id = call.id or id_
        if item.get("type") == "custom":
            call.kind = "custom"
        text = fragment(inner.get("input") if call.kind == "custom" else inner.get("arguments"))
        if call.closed:
            if text.strip():
                raise ProtocolError("tool_calls", f"input for the call {call.name!r}, which was over")
            return
        self._sign_call(call, take_signature(item))
        if len(item) > len(inner) and call.extra is None:
            call.extra = {k: v for k, v in item.items() if k not in _CALL_MEMBERS and v is not None} or None
        if call.block is not None:
            if text:
                call.parts.append(text)
                yield ToolInputDelta(call.block, text)
            return
        if text:
            call.parts.append(text)
        if call.name and (call.id or text) and not (self._signed_calls and call.signature is None):
            yield from self._start_call(call)

    def _sign_call(self, call: Call, signature: str | None) -> None:
        if signature is not None and call.block is not None:
            self.losses.dropped("response.choices[0].delta.tool_calls", "a signature that came behind its call")
        elif signature is not None:
            call.signature = signature

    def _start_call(self, call: Call) -> Iterator[ResponseEvent]:
        yield from self._close_texts()
        if self._signed_calls:
            # Those before it have waited for signatures of their own.
            for earlier in self._calls.all[: self._calls.all.index(call)]:
                if earlier.block is None:
                    yield from self._finish_call(earlier)
        call.block = self.grammar.next_block
        yield ToolCallStarted(call.block, call.id, call.name, call.kind, call.extra, call.signature)
        for part in call.parts:
            yield ToolInputDelta(call.block, part)

    def _finish_call(self, call: Call) -> Iterator[ResponseEvent]:
        if call.closed:
            return
        if call.block is None:
            if not call.name and (call.id or "".join(call.parts).strip()):
                raise ProtocolError("tool_calls", "a call without a name")
            if not call.name:
                call.closed = True
                return
            yield from self._start_call(call)
        call.closed = True
        if call.block is not None:
            yield BlockEnded(call.block)

    def _calls_in_progress(self) -> bool:
        return any(not call.closed and not (call.parts and call.complete) for call in self._calls.all)

    # ---- the ends of blocks

    def _close_all(self) -> Iterator[ResponseEvent]:
        """Before a block of text or thinking, which no call may outlast."""
        yield from self._close_texts()
        for call in self._calls.all:
            yield from self._finish_call(call)

    def _close_texts(self) -> Iterator[ResponseEvent]:
        for block in (self._text, self._refusal):
            if block is not None:
                yield BlockEnded(block)
        self._text = self._refusal = None
        yield from self._close_thinking()

    def _close_thinking(self) -> Iterator[ResponseEvent]:
        block, self._thinking, self._thought_index = self._thinking, None, None
        if block is not None:
            yield BlockEnded(block)

    # ---- the end

    def _note_finish(self, choice: dict[str, Any]) -> Iterator[ResponseEvent]:
        native, matched, details = (choice.get(x) for x in ("native_finish_reason", "stop_reason", "stop_details"))
        if type(native) is str and self._native is None:
            self._native = native
        if type(matched) is str and matched in self.call.request.sampling.stop:
            self._matched = matched
        if type(details) is dict:
            self._details = details
        finish = choice.get("finish_reason")
        if type(finish) is str and finish not in ("", "null") and self._finish is None:
            self._finish = finish
            if finish in BROKEN_OFF:
                yield self.failure(f"the upstream broke off: {finish}", BROKEN_OFF[finish])

    def _note_usage(self, message: dict[str, Any], choice: dict[str, Any] | None) -> bool:
        """Whether there are counts. They are of the whole so far: the last ones hold."""
        usage = message.get("usage")
        if type(usage) is not dict and choice is not None:
            usage = choice.get("usage")  # Moonshot
        if type(usage) is not dict:
            groq = message.get("x_groq")
            usage = groq.get("usage") if type(groq) is dict else None
        if type(usage) is not dict:
            return False
        self._usage = read_usage(usage)
        return True

    def _end(self) -> Iterator[ResponseEvent]:
        for is_thinking, piece in self._tags.end() if self._tags else ():
            yield from self._think(piece) if is_thinking else self._say(piece)
        yield from self._close_all()
        for data, signer in self._sealed_later:
            yield from self._redacted(data, signer)
        explanation = self._details.get("explanation")
        if type(explanation) is not str:
            explanation = "".join(self._refused) or None
        yield ResponseEnded(
            self._stop(),
            self._usage,
            self._matched,
            self._native or self._finish,
            explanation,
            TIERS_READ.get(self._tier, self._tier) if self._tier else None,
        )

    def _stop(self) -> StopReason:
        stop = FINISH_REASONS.get(self._finish or "", StopReason.OTHER)
        if stop is StopReason.OTHER and (self._finish or "").startswith("content_filter"):
            return StopReason.REFUSAL  # Gemini names the filter behind a colon
        if self._matched is not None and stop is StopReason.END:
            return StopReason.STOP_SEQUENCE
        if self._refused and stop is StopReason.END:
            return StopReason.REFUSAL
        if stop in (StopReason.TOOL_CALL, StopReason.END) and self._cut_call():
            return StopReason.MAX_TOKENS
        return stop

    def _cut_call(self) -> bool:
        """vLLM may say that it called a tool when it ran out of tokens in the midst of the call (vllm issue 53269)."""
        sent, answered = self.call.members, self._usage.output_tokens
        most = sent.get("max_completion_tokens", sent.get("max_tokens"))
        if most is None or answered is None or answered < most or not self._calls.all:
            return False
        last = self._calls.all[-1]
        return last.kind == "function" and bool(last.parts) and not last.complete


def _first(choices: Any) -> dict[str, Any] | None:
    """The choice with index 0, or without one. More were never asked for."""
    if type(choices) is list:
        for choice in choices:
            if type(choice) is dict and not choice.get("index"):
                return choice
    return None


def _inner(item: dict[str, Any]) -> dict[str, Any]:
    inner = item.get("function")
    if type(inner) is not dict:
        inner = item.get("custom")
    return inner if type(inner) is dict else {}


def _detail_text(detail: Any) -> str:
    if type(detail) is not dict:
        return ""
    text = detail.get("text")
    if type(text) is not str:
        text = detail.get("summary")
    return text if type(text) is str else ""


def _thinking_texts(value: Any) -> Iterator[str]:
    if type(value) is str:
        value = [{"text": value}]
    for part in value if type(value) is list else ():
        text = part.get("text") if type(part) is dict else None
        if type(text) is str and text:
            yield text
