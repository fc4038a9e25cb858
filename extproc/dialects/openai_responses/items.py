"""Output items and the response object around them: the same for a stream's events and for a whole response."""

from __future__ import annotations

from typing import Any

from ...llm.events import Citation, ResponseEnded, ResponseStarted, StopReason
from ...llm.fold import Folded, FoldedBlock, OpaqueBlock, TextBlock, ThinkingBlock, ToolCallBlock
from ...llm.losses import LossReport
from ..shared.naming import made_tool_id
from .words import CLAUDE, NAME, SIGNER, Carried, write_annotation, write_carrier, write_usage

Members = dict[str, Any]

_ENCRYPTED = "reasoning.encrypted_content"
_UNFINISHED = (StopReason.MAX_TOKENS, StopReason.CONTEXT_EXCEEDED, StopReason.PAUSED, StopReason.COMPACTED)

_ECHO: Members = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
"""Members that repeat the request, several of them required: what is said when the request is not known."""


class Items:
    """Makes the items of one response, each numbered by its place. *state* is what the request settled, if known."""

    def __init__(self, state: Any, losses: LossReport) -> None:
        self._losses = losses
        self._state: Members = state if type(state) is dict else {}
        include = self._state.get("include")
        self._seals = not self._state or (type(include) is list and _ENCRYPTED in include)
        self._response_id = ""
        self._base: Members = {}
        self.calls = 0
        self.refused = False

    # ---- the response

    def start(self, started: ResponseStarted, now: float) -> None:
        self._response_id = started.id
        id_ = started.id if started.id.startswith("resp_") else f"resp_{started.id}"
        created = started.created if started.created is not None else int(now)
        echo = {name: self._state.get(name, default) for name, default in _ECHO.items()}
        self._base = {"id": id_, "object": "response", "created_at": created, "model": started.model} | echo
        # Nothing is kept here, whatever was asked for.
        self._base["store"] = False

    def unfinished(self) -> Members:
        """The response object at its start."""
        nothing: Members = {"error": None, "incomplete_details": None, "output": [], "usage": None}
        return self._base | {"status": "in_progress"} | nothing

    def finished(self, stop: StopReason, ended: ResponseEnded, output: list[Members]) -> Members:
        """The response object at its end. *stop* is settled."""
        reason = "max_output_tokens" if stop in _UNFINISHED else None
        if stop is StopReason.REFUSAL and not self.refused:
            # A refusal in words is a complete answer; one without is an answer cut off.
            reason = "content_filter"
        details: Members | None = {"reason": reason} if reason else None
        if details and ended.explanation:
            details["explanation"] = ended.explanation
        members = {
            "status": "incomplete" if reason else "completed",
            "error": None,
            "incomplete_details": details,
            "output": output,
            "usage": write_usage(ended.usage),
        }
        if ended.service_tier is not None:
            members["service_tier"] = "default" if ended.service_tier == "standard" else ended.service_tier
        return self._base | members

    def whole_output(self, folded: Folded, status: str) -> list[Members]:
        """All items. *status* is the last one's."""
        output: list[Members] = []
        after_text = False
        for block in folded.blocks:
            if isinstance(block, TextBlock):
                if not block.text:
                    continue
                if not after_text:
                    output.append(self.message(len(output)))
                output[-1]["content"].append(self.part(block))
            elif (item := self.item(block, len(output))) is not None:
                output.append(item)
            else:
                continue
            after_text = isinstance(block, TextBlock)
        for item in output:
            self.close(item, status if item is output[-1] else "completed")
        return output

    # ---- items

    def id(self, prefix: str, index: int) -> str:
        """An item's id, the same for the same response and place."""
        return made_tool_id(self._response_id, index, prefix)

    def close(self, item: Members, status: str) -> Members:
        """*item* with its last status, where its kind has one."""
        if "status" in item and item["status"] == "in_progress":
            item["status"] = status
        return item

    def message(self, index: int) -> Members:
        members: Members = {"id": self.id("msg_", index), "type": "message", "status": "in_progress"}
        return members | {"role": "assistant", "content": []}

    def part(self, block: TextBlock) -> Members:
        """A part of a message."""
        if block.refusal:
            self.refused = True
            return {"type": "refusal", "refusal": block.text}
        return {
            "type": "output_text",
            "text": block.text,
            "annotations": self.annotations(block.citations, block.text),
            "logprobs": [],
        }

    def annotations(self, citations: list[Citation], text: str) -> list[Members]:
        written = [each for citation in citations if (each := write_annotation(citation, text)) is not None]
        if len(written) < len(citations):
            self._losses.dropped("response.citations", "no place on the web")
        return written

    def item(self, block: FoldedBlock, index: int) -> Members | None:
        """Any item but a message; ``None`` when nothing is left of it."""
        if isinstance(block, ThinkingBlock):
            return self.reasoning(block, index)
        if isinstance(block, ToolCallBlock):
            item = self.call(block, index)
            item[input_member(block)] = whole_input(block)
            return item
        return self.opaque(block) if isinstance(block, OpaqueBlock) else None

    def reasoning(self, block: ThinkingBlock, index: int) -> Members | None:
        seal = self._seal(block)
        if not block.text and seal is None:
            return None
        summary = [{"type": "summary_text", "text": block.text}] if block.text else []
        item: Members = {"id": self.id("rs_", index), "type": "reasoning", "summary": summary}
        return item if seal is None else item | {"encrypted_content": seal}

    def _seal(self, block: ThinkingBlock) -> str | None:
        """What proves the thinking to its provider, as the one opaque string that this API has for it."""
        if not (block.signature or block.encrypted):
            return None
        if not self._seals:
            return None
        if block.signer == SIGNER:
            return block.encrypted
        if block.signer == CLAUDE:
            return write_carrier(Carried(block.text, block.signature, block.encrypted))
        self._losses.dropped("response.reasoning.encrypted_content", f"a seal of {block.signer or 'unknown'}")
        return None

    def call(self, block: ToolCallBlock, index: int) -> Members:
        """A call whose input is still to come. ``call_id`` is the upstream's own, by which the result will come."""
        custom = block.kind == "custom"
        call_id = block.id or made_tool_id(self._response_id, self.calls, "call_")
        self.calls += 1
        return {
            "id": self.id("ctc_" if custom else "fc_", index),
            "type": "custom_tool_call" if custom else "function_call",
            "status": "in_progress",
            "call_id": call_id,
            "name": block.name,
            input_member(block): "",
        } | self._call_extra(block)

    def _call_extra(self, block: ToolCallBlock) -> Members:
        own = {name: value for name, value in (block.extra or {}).items() if name in ("namespace", "caller")}
        self._losses.extra("response.tool_calls", {k: v for k, v in (block.extra or {}).items() if k not in own})
        return own

    def opaque(self, block: OpaqueBlock) -> Members | None:
        """This API's own item as it came; ``None``, and a loss, for another's block."""
        if block.dialect == NAME:
            return dict(block.content)
        self._losses.dropped(f"response.{block.content.get('type') or next(iter(block.content), 'block')}")
        return None


def input_member(block: ToolCallBlock) -> str:
    return "input" if block.kind == "custom" else "arguments"


def whole_input(block: ToolCallBlock) -> str:
    """A call's input. A function's is never empty, so that what a client parses is an object."""
    return block.input or ("" if block.kind == "custom" else "{}")


def last_status(stop: StopReason) -> str:
    """The status of the item that was being written when the response ended."""
    return "incomplete" if stop in _UNFINISHED else "completed"
