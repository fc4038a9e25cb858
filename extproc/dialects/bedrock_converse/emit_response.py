"""Events to Converse's responses, whole and streamed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...framing import eventstream
from ...llm import marker
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
from ...llm.fold import Folded, FoldedBlock, TextBlock, ThinkingBlock, ToolCallBlock
from ...llm.serial import Serializer
from ..base import Answering, Dialect, Headers, Members, Meta, encode
from ..shared import freeform
from ..shared.bedrock import message, meta_headers, stream_headers
from ..shared.content import as_object, begins_object
from ..shared.emitter import EmitterBase, settled_stop
from ..shared.naming import made_tool_id
from . import opaque
from .words import CLAUDE, NAME, RAW_REDACTED, stop_word, write_citation, write_redacted, write_tier, write_usage

_EVENT_HEADERS: Final = {
    name: eventstream.encode_headers(
        {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    )
    for name in (
        "messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata",
    )
}  # fmt: skip
_DELTA: Final = _EVENT_HEADERS["contentBlockDelta"]


def _frame(name: str, payload: Members) -> bytes:
    return eventstream.encode(_EVENT_HEADERS[name], encode(payload))


class ConverseEmitter(EmitterBase):
    """A block's index is given with the first thing it has to say: a text that stays empty is no block at all."""

    def __init__(self, dialect: Dialect, answering: Answering) -> None:
        super().__init__(dialect, answering)
        self.serial = self._serial = Serializer()
        self._calls = 0
        self._index = -1  # of the open block
        self._begun = False  # whether the open block has been written at all
        self._custom = False  # whether the open block is a free-form tool, whose text goes into a JSON string
        self._input_missing = False  # whether the open block is a call that has said nothing of its input
        self._held: list[str] = []  # of its input, what is no object: clients of this API take nothing else
        self._on: dict[type, Callable[[Any], bytes]] = {
            TextDelta: self._on_text,
            ToolInputDelta: self._on_tool_input,
            ThinkingDelta: self._on_thinking,
            ThinkingSealed: self._on_sealed,
            CitationAdded: self._on_citation,
            OpaqueDelta: self._on_opaque_delta,
            TextStarted: self._on_block_started,
            ThinkingStarted: self._on_block_started,
            ToolCallStarted: self._on_tool_started,
            OpaqueStarted: self._on_opaque_started,
            BlockEnded: self._on_block_ended,
            ResponseStarted: self._on_started,
            ResponseEnded: self._on_ended,
            ResponseFailed: self._on_failed,
        }

    def meta_headers(self, meta: Meta) -> Headers:
        return meta_headers(meta)

    # ---- streamed

    def stream(self, event: ResponseEvent) -> bytes:
        out = b""
        for each in self._serial.feed(event):
            on = self._on.get(type(each))
            if on is not None:
                out += on(each)
        return out

    def _delta(self, delta: bytes) -> bytes:
        """A delta, encoded, of the open block."""
        if not self._begun:
            self._begun = True
            self._index += 1
        return eventstream.encode(_DELTA, b'{"contentBlockIndex":%d,"delta":%b}' % (self._index, delta))

    def _begin(self, start: Members) -> bytes:
        self._begun = True
        self._index += 1
        return _frame("contentBlockStart", {"contentBlockIndex": self._index, "start": start})

    def _on_started(self, event: ResponseStarted) -> bytes:
        return _frame("messageStart", {"role": "assistant"})

    def _on_block_started(self, event: TextStarted | ThinkingStarted) -> bytes:
        self._begun = False
        return b""

    def _on_text(self, event: TextDelta) -> bytes:
        return self._delta(b'{"text":%b}' % encode(event.text)) if event.text else b""

    def _on_thinking(self, event: ThinkingDelta) -> bytes:
        return self._delta(b'{"reasoningContent":{"text":%b}}' % encode(event.text)) if event.text else b""

    def _on_sealed(self, event: ThinkingSealed) -> bytes:
        seal = self._seal(event)
        return b"".join(self._delta(encode({"reasoningContent": {name: value}})) for name, value in seal.items())

    def _on_citation(self, event: CitationAdded) -> bytes:
        written = write_citation(event.citation)
        if written is None:
            self.losses.dropped("response.citations", "no place in a text on the web")
            return b""
        return self._delta(encode({"citation": written}))

    def _on_tool_started(self, event: ToolCallStarted) -> bytes:
        self._custom, self._input_missing = event.kind == "custom", True
        begun = self._begin({"toolUse": {"toolUseId": self._tool_id(event), "name": event.name}})
        return begun + self._input('{"input":"') if self._custom else begun

    def _on_tool_input(self, event: ToolInputDelta) -> bytes:
        fragment = encode(event.fragment)[1:-1].decode() if self._custom else event.fragment
        if self._held or (self._input_missing and not begins_object(fragment)):
            self._held.append(fragment)
            return b""
        return self._input(fragment)

    def _input(self, fragment: str) -> bytes:
        if not fragment:
            return b""
        self._input_missing = False
        return self._delta(b'{"toolUse":{"input":%b}}' % encode(fragment))

    def _on_opaque_started(self, event: OpaqueStarted) -> bytes:
        split = opaque.as_stream(event.content) if event.dialect == NAME else None
        if split is None:
            self._begun = False
            self._report_opaque(event.content)
            return b""
        start, deltas = split
        return self._begin(start) + b"".join(self._delta(encode(delta)) for delta in deltas)

    def _on_opaque_delta(self, event: OpaqueDelta) -> bytes:
        return self._delta(encode(event.delta)) if self._begun else b""

    def _on_block_ended(self, event: BlockEnded) -> bytes:
        if not self._begun:
            return b""
        last = b""
        if self._custom:
            last = self._input('"}')
        elif self._input_missing:
            # So that what a client joins and parses is an object.
            held, self._held = "".join(self._held), []
            last = self._input(encode(as_object(held)[0]).decode())
        self._custom = self._input_missing = False
        return last + _frame("contentBlockStop", {"contentBlockIndex": self._index})

    def _on_ended(self, event: ResponseEnded) -> bytes:
        stop = _frame("messageStop", self._stop_members(event))
        return stop + _frame("metadata", self._usage_members(event))

    def _on_failed(self, event: ResponseFailed) -> bytes:
        headers = eventstream.encode_headers(stream_headers(event))
        return eventstream.encode(headers, encode({"message": message(event)}))

    # ---- whole

    def whole(self, folded: Folded, ended: ResponseEnded) -> Members:
        content = [written for block in folded.blocks if (written := self._block(block)) is not None]
        output = {"message": {"role": "assistant", "content": content}}
        return {"output": output} | self._stop_members(ended) | self._usage_members(ended)

    def _block(self, block: FoldedBlock) -> Members | None:
        """*block* in a whole message; ``None`` when nothing is left of it."""
        if isinstance(block, TextBlock):
            return self._text_block(block)
        if isinstance(block, ThinkingBlock):
            return self._thinking_block(block)
        if isinstance(block, ToolCallBlock):
            given = freeform.as_input(block.input) if block.kind == "custom" else as_object(block.input)[0]
            return {"toolUse": {"toolUseId": self._tool_id(block), "name": block.name, "input": given}}
        if block.dialect == NAME:
            return opaque.as_whole(block)
        self._report_opaque(block.content)
        return None

    def _text_block(self, block: TextBlock) -> Members | None:
        citations = [written for each in block.citations if (written := write_citation(each)) is not None]
        if len(citations) < len(block.citations):
            self.losses.dropped("response.citations", "no place in a text on the web")
        if citations:
            return {"citationsContent": {"content": [{"text": block.text}], "citations": citations}}
        return {"text": block.text} if block.text else None

    def _thinking_block(self, block: ThinkingBlock) -> Members | None:
        seal = self._seal(block)
        if block.text or "signature" in seal:
            signature = {name: value for name, value in seal.items() if name == "signature"}
            return {"reasoningContent": {"reasoningText": {"text": block.text} | signature}}
        return {"reasoningContent": seal} if seal else None

    # ---- both

    def _tool_id(self, call: ToolCallStarted | ToolCallBlock) -> str:
        """Behind it what proves the call to its provider: Bedrock bounds an id to 64 characters, its SDKs do not."""
        self._calls += 1
        response_id = self.started.id if self.started else ""
        id_ = marker.fitted_id(call.id) or made_tool_id(response_id, self._calls - 1, "tooluse_")
        return marker.sealed_id(id_, call.signature)

    def _seal(self, seal: ThinkingSealed | ThinkingBlock) -> dict[str, str]:
        """A seal in Converse's members, such that its maker gets it back to the character."""
        if seal.signer == CLAUDE and seal.signature:
            return {"signature": seal.signature}
        if seal.signer in (CLAUDE, RAW_REDACTED) and seal.encrypted:
            return {"redactedContent": write_redacted(seal.encrypted, seal.signer)}
        if marker.is_mark(seal.signature) or not (seal.signature or seal.encrypted):
            return {}
        if not seal.signer:
            self.losses.dropped("response.thinking.signature", "nobody knows whose it is")
            return {}
        return {"signature": marker.sealed(marker.Seal(seal.signer, seal.signature, seal.encrypted))}

    def _report_opaque(self, content: Members) -> None:
        self.losses.dropped(f"response.{content.get('type') or next(iter(content), 'block')}")

    def _stop_members(self, ended: ResponseEnded) -> Members:
        self.losses.extra("response", self.started.extra if self.started else None)
        self.losses.extra("response", ended.extra)
        if ended.explanation:
            self.losses.dropped("response.explanation", "Converse does not say why it refused")
        stop = settled_stop(ended.stop, self._calls > 0)
        members: Members = {"stopReason": stop_word(stop, ended.native_reason)}
        if stop is StopReason.STOP_SEQUENCE and ended.stop_sequence is not None:
            members["additionalModelResponseFields"] = {"stop_sequence": ended.stop_sequence}
        return members

    def _usage_members(self, ended: ResponseEnded) -> Members:
        # How long the model took is not known here, and the member is required.
        members: Members = {"usage": write_usage(ended.usage), "metrics": {"latencyMs": 0}}
        tier = write_tier(ended.service_tier)
        return members | {"serviceTier": tier} if tier else members
