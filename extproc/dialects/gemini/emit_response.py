"""An answer for a Gemini client, streamed or whole.

A stream is events without names, each a response with what is new in it; where the client did not ask for events, it is
one array of the same. Calls are whole in both.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ...framing import sse
from ...llm.events import (
    BlockEnded,
    Citation,
    CitationAdded,
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
)
from ...llm.fold import Folded, FoldedBlock, OpaqueBlock, TextBlock, ThinkingBlock, ToolCallBlock
from ...llm.request import Thinking
from ..base import Answering, Dialect, Headers, Members, Meta, encode
from ..shared import freeform
from ..shared.content import as_object
from ..shared.emitter import EmitterBase, settled_stop
from ..shared.google import error_body, write_meta
from ..shared.naming import made_tool_id
from .grounding import Offsets, length
from .parse_request import GeminiState
from .signatures import carry, seal
from .words import FINISH_NAMES, NAME, SIGNER, write_usage


class GeminiEmitter(EmitterBase):
    repeats_texts = True

    def __init__(self, dialect: Dialect, answering: Answering) -> None:
        super().__init__(dialect, answering)
        request = answering.request
        state = request.client_state if isinstance(request.client_state, GeminiState) else GeminiState()
        self._array = state.array and request.stream
        self._shown = state.thoughts
        if self._array:
            self.head.headers[0] = ("content-type", "application/json; charset=utf-8")
        self._blocks: dict[int, FoldedBlock] = {}
        self._thoughts: list[Thinking] = []  # of another provider, since the last call
        self._calls = 0
        self._signs_text: list[str] = []
        self._length = 0  # of the text, in bytes of UTF-8
        self._chunks: list[Members] = []
        self._supports: list[Members] = []
        self._written = False
        self._head = b""
        self._tail = b""
        self._id: str | None = None

    def meta_headers(self, meta: Meta) -> Headers:
        return write_meta(meta)

    # ---- streamed

    def stream(self, event: ResponseEvent) -> bytes:
        kind = type(event)
        if kind is TextDelta:
            return self._on_text(event)  # type: ignore[arg-type]
        match event:
            case ThinkingDelta():
                return self._on_thinking(event)
            case ToolInputDelta():
                self._blocks[event.block].parts.append(event.fragment)  # type: ignore[union-attr]
            case TextStarted():
                self._blocks[event.block] = TextBlock(event.refusal)
            case ThinkingStarted():
                self._blocks[event.block] = ThinkingBlock()
            case ToolCallStarted():
                call = ToolCallBlock(event.id, event.name, event.kind, event.extra, event.signature)
                self._blocks[event.block] = call
            case OpaqueStarted():
                self._blocks[event.block] = OpaqueBlock(event.dialect, event.content)
            case ThinkingSealed():
                block: Any = self._blocks[event.block]
                block.signature, block.encrypted, block.signer = event.signature, event.encrypted, event.signer
            case CitationAdded():
                self._blocks[event.block].citations.append(event.citation)  # type: ignore[union-attr]
            case BlockEnded():
                return self._on_block_ended(event.block)
            case ResponseStarted():
                return self._on_started(event)
            case ResponseEnded():
                return self._message(self._last(event)) + (b"]" if self._array else b"")
            case ResponseFailed():
                return self._message(error_body(event)) + (b"]" if self._array else b"")
            case KeepAlive():
                # Google's SDK takes a comment for an error (google-genai 3.6).
                return b"\n" if self._array and self._written else b""
            case OpaqueDelta():
                pass
        return b""

    def _message(self, message: Members) -> bytes:
        if not self._array:
            return sse.encode(encode(message))
        before = b",\n" if self._written else b"["
        self._written = True
        return before + encode(message)

    def _on_started(self, event: ResponseStarted) -> bytes:
        self.losses.extra("response", event.extra)
        common = encode(self._common(event))[1:-1]
        self._head = b'{"candidates":[{"content":{"parts":[{"text":'
        self._tail = b'}],"role":"model"},"index":0}],' + common + b"}"
        return b""

    def _text(self, text: str) -> bytes:
        body = self._head + encode(text) + self._tail
        if not self._array:
            return b"data: " + body + b"\n\n"
        before = b",\n" if self._written else b"["
        self._written = True
        return before + body

    def _on_text(self, event: TextDelta) -> bytes:
        block: Any = self._blocks[event.block]
        if not event.text:
            return b""
        block.parts.append(event.text)
        return self._text(event.text)

    def _on_thinking(self, event: ThinkingDelta) -> bytes:
        block: Any = self._blocks[event.block]
        block.parts.append(event.text)
        if not self._shown or not event.text:
            return b""
        return self._part({"text": event.text, "thought": True})

    def _part(self, part: Members) -> bytes:
        started = self.started or ResponseStarted("", "")
        return self._message({"candidates": [_candidate([part])], **self._common(started)})

    def _on_block_ended(self, number: int) -> bytes:
        block = self._blocks.pop(number)
        if isinstance(block, TextBlock):
            self._cite(block, number)
            return b""
        if isinstance(block, ThinkingBlock):
            signature = self._thought(block)
            if signature is None or not (self._shown or block.signer == SIGNER):
                return b""
            shown = {"text": "", "thought": True} if block.text and self._shown else {"text": ""}
            return self._part({**shown, "thoughtSignature": signature})
        part = self._whole_part(block, number)
        return b"" if part is None else self._part(part)

    def _last(self, ended: ResponseEnded) -> Members:
        self.losses.extra("response", ended.extra)
        started = self.started or ResponseStarted("", "")
        return self._finished({"candidates": [_candidate([{"text": ""}])]}, ended) | self._common(started)

    # ---- whole

    def whole(self, folded: Folded, ended: ResponseEnded) -> Members:
        started = folded.started or ResponseStarted("", "")
        self.losses.extra("response", started.extra)
        self.losses.extra("response", ended.extra)
        parts: list[Members] = []
        for number, block in enumerate(folded.blocks):
            part = self._whole_part(block, number)
            if part is None:
                continue
            if parts and part.get("text") == "" and _is_plain(parts[-1]):
                parts[-1]["thoughtSignature"] = part["thoughtSignature"]
            else:
                parts.append(part)
        return self._finished({"candidates": [_candidate(parts)]}, ended) | self._common(started)

    def _whole_part(self, block: FoldedBlock, number: int) -> Members | None:
        match block:
            case TextBlock():
                self._cite(block, number)
                return {"text": block.text} if block.text else None
            case ThinkingBlock():
                return self._whole_thought(block)
            case ToolCallBlock():
                return self._call(block, number)
            case OpaqueBlock():
                if block.dialect == NAME:
                    return block.content
                self.losses.dropped(f"response.content[{number}]")
        return None

    def _whole_thought(self, block: ThinkingBlock) -> Members | None:
        signature = self._thought(block)
        signed = {"thoughtSignature": signature} if signature is not None else {}
        if block.text and self._shown:
            return {"text": block.text, "thought": True, **signed}
        if signature is not None and (self._shown or block.signer == SIGNER):
            return {"text": "", **signed}
        return None

    # ---- shared

    def _thought(self, block: ThinkingBlock) -> str | None:
        """The signature of a thought; what another provider sealed is also carried by the next call."""
        if block.signer != SIGNER and (found := seal(block.text, block.signature, block.encrypted, block.signer)):
            self._thoughts.append(Thinking(block.text, block.signature, block.encrypted, block.signer))
            return found
        return seal(block.text, block.signature, block.encrypted, block.signer)

    def _call(self, block: ToolCallBlock, number: int) -> Members:
        self.losses.extra(f"response.content[{number}]", block.extra)
        if self._id is None:
            self._id = self.started.id if self.started else ""
        id_ = block.id or made_tool_id(self._id, self._calls, "call_")
        self._calls += 1
        if block.kind == "custom":
            args: Any = freeform.as_input(block.input)
        else:
            args, valid = as_object(block.input)
            if not valid:
                self.losses.rewritten(f"response.content[{number}]", "the arguments are no JSON object")
        part: Members = {"functionCall": {"id": id_, "name": block.name, "args": args}}
        signature = carry(self._thoughts, block.signature)
        self._thoughts = []
        if signature is not None:
            part["thoughtSignature"] = signature
        return part

    def _cite(self, block: TextBlock, number: int) -> None:
        """What cites a text, told at the end, by the bytes of the whole."""
        text = block.text
        start, self._length = self._length, self._length + length(text)
        offsets = Offsets(text)
        for citation in block.citations:
            if citation.kind != "url" or not citation.url:
                self.losses.dropped(f"response.content[{number}].citations", "no page on the web")
                continue
            self._chunks.append({"web": {"uri": citation.url, "title": citation.title or ""}})
            segment = _segment(citation, text, offsets, start, self._length)
            self._supports.append({"segment": segment, "groundingChunkIndices": [len(self._chunks) - 1]})

    def _finished(self, out: Members, ended: ResponseEnded) -> Members:
        candidate: Members = out["candidates"][0]
        stop = settled_stop(ended.stop, self._calls > 0)
        own = self.request.dialect == NAME and ended.native_reason in FINISH_NAMES.values()
        candidate["finishReason"] = ended.native_reason if own and stop is StopReason.OTHER else FINISH_NAMES[stop]
        if stop is StopReason.REFUSAL and ended.explanation:
            candidate["finishMessage"] = ended.explanation
        if self._chunks:
            candidate["groundingMetadata"] = {
                "groundingChunks": self._chunks,
                "groundingSupports": self._supports,
            }
        if (usage := write_usage(ended.usage)) is not None:
            out["usageMetadata"] = usage
        return out

    def _common(self, started: ResponseStarted) -> Members:
        out: Members = {"modelVersion": started.model or self.request.model}
        if started.created is not None:
            out["createTime"] = datetime.fromtimestamp(started.created, UTC).isoformat().replace("+00:00", "Z")
        return {**out, "responseId": started.id or self.env.request_id}


def _candidate(parts: list[Members]) -> Members:
    return {"content": {"parts": parts, "role": "model"}, "index": 0}


def _is_plain(part: Members) -> bool:
    return bool(part.get("text")) and "thought" not in part and "thoughtSignature" not in part


def _segment(citation: Citation, text: str, offsets: Offsets, start: int, end: int) -> Members:
    """The cited bytes; a citation without a place cites its whole text."""
    if citation.start is None or citation.end is None:
        return {"startIndex": start, "endIndex": end, "text": citation.cited_text or ""}
    cited = text[citation.start : citation.end]
    before = start + offsets.of(citation.start)
    return {"startIndex": before, "endIndex": before + length(cited), "text": cited}
