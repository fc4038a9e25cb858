"""Output items and the response object around them: the same for a stream's events and for a whole response."""

from __future__ import annotations

from typing import Any, Final

from ...llm import marker
from ...llm.events import Citation, ResponseEnded, ResponseFailed, ResponseStarted, StopReason
from ...llm.failures import ErrorKind, ProtocolError
from ...llm.fold import Folded, FoldedBlock, OpaqueBlock, TextBlock, ThinkingBlock, ToolCallBlock
from ...llm.losses import LossReport
from ...llm.request import Request, ToolCall
from ..base import Env, Members
from ..shared.naming import made_tool_id, unused_id
from ..shared.openai import error_members
from ..shared.reading import decode
from .names import SEARCH
from .state import ECHOED, UNKNOWN, ResponsesState
from .words import CLAUDE, NAME, SIGNER, Carried, write_annotation, write_carrier, write_usage

_UNFINISHED = (StopReason.MAX_TOKENS, StopReason.CONTEXT_EXCEEDED, StopReason.PAUSED, StopReason.COMPACTED)


_ERROR_CODES: Final = {
    ErrorKind.INVALID_REQUEST: "invalid_prompt",
    ErrorKind.RATE_LIMIT: "rate_limit_exceeded",
    ErrorKind.OVERLOADED: "server_is_overloaded",
}
"""Of a response that failed, where the upstream gave none; what else there is, is the server's."""


SEARCH_CALL: Final = "tool_search_call"
_ID_PREFIXES: Final = {"function_call": "fc_", "custom_tool_call": "ctc_", SEARCH_CALL: "tsc_"}


class Items:
    """Makes the items of one response to *request*, each numbered by its place."""

    def __init__(self, request: Request, losses: LossReport) -> None:
        state = request.client_state
        self._losses = losses
        self._request = request
        self._state = state if type(state) is ResponsesState else UNKNOWN
        self._used_ids: set[str] | None = None
        self._response_id = ""
        self._base: Members = {}
        self.calls = 0
        self.refused = False

    # ---- the response

    def start(self, started: ResponseStarted, env: Env) -> None:
        id_ = self._response_id = started.id or env.request_id
        created = started.created if started.created is not None else int(env.now)
        self._base = {
            "id": id_ if id_.startswith("resp_") else f"resp_{id_}",
            "object": "response",
            "created_at": created,
            "model": started.model or self._request.model,
            **ECHOED,
            **self._state.echo,
        }
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

    def failed(self, failed: ResponseFailed, output: list[Members]) -> Members:
        """The response object of a response that ended in an error."""
        code = error_members(failed, "input")["code"] or _ERROR_CODES.get(failed.kind, "server_error")
        error = {"code": code, "message": failed.message}
        nothing: Members = {"incomplete_details": None, "usage": None}
        return self._base | {"status": "failed", "error": error, "output": output} | nothing

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
            self.fill(item, block)
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
        if not self._state.seals:
            return None
        if not (block.signature or block.encrypted):
            return marker.mark(block.text) if block.text else None
        if block.signer == SIGNER and block.encrypted:
            return block.encrypted
        if block.signer == CLAUDE:
            return write_carrier(Carried(block.text, block.signature, block.encrypted))
        if marker.is_mark(block.signature):
            return block.signature
        return marker.sealed(marker.Seal(block.signer, block.signature, block.encrypted))

    def call(self, block: ToolCallBlock, index: int) -> Members:
        """A call whose input is still to come. ``call_id`` is the upstream's own, by which the result will come."""
        call_id, kind = self._call_id(block), self._kind(block)
        self.calls += 1
        members: Members = {
            "id": self.id(_ID_PREFIXES[kind], index),
            "type": kind,
            "status": "in_progress",
            "call_id": call_id,
        }
        if kind == SEARCH_CALL:
            return members | {"execution": "client", "arguments": {}}
        return members | self._named(block.name) | {input_member(block): ""} | self._call_extra(block)

    def fill(self, item: Members, block: ToolCallBlock) -> None:
        """Give *item* the whole input of its call. A function's is never empty, so that what a client parses is an
        object."""
        if item["type"] == SEARCH_CALL:
            item["arguments"] = _object(block.input)
        else:
            item[input_member(block)] = block.input or ("" if block.kind == "custom" else "{}")

    def _kind(self, block: ToolCallBlock) -> str:
        if block.kind == "custom":
            return "custom_tool_call"
        return SEARCH_CALL if block.name == SEARCH and self._state.searches else "function_call"

    def _named(self, name: str) -> Members:
        """The tool's name as the client knows it: its own, and its namespace's."""
        named = self._state.named.get(name)
        if named is None:
            return {"name": name}
        return {"name": named.name} | ({"namespace": named.namespace} if named.namespace else {})

    def _call_id(self, block: ToolCallBlock) -> str:
        """The call's id, made up if it has none, and unlike that of any call before it."""
        if self._used_ids is None:
            turns = [message.content for message in self._request.messages if not isinstance(message.content, str)]
            self._used_ids = {each.id for turn in turns for each in turn if isinstance(each, ToolCall)}
        id_ = block.id or made_tool_id(self._response_id, self.calls, "call_")
        unused = unused_id(id_, self._used_ids)
        if unused != id_:
            self._losses.rewritten("response.output.call_id", "another call of the conversation has this id")
        return marker.sealed_id(unused, block.signature)

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


def _object(text: str) -> Any:
    """A call's input, parsed; an empty one where it is no object."""
    try:
        value = decode(text.encode("utf-8", "replace"), "")
    except ProtocolError:
        return {}
    return value if type(value) is dict else {}


def last_status(stop: StopReason) -> str:
    """The status of the item that was being written when the response ended."""
    return "incomplete" if stop in _UNFINISHED else "completed"
