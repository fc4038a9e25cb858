"""A request, written for an upstream that speaks the Responses API."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from ...llm import signers
from ...llm.losses import LossReport
from ...llm.request import Request
from ..base import Asked, Headers, Upstream, UpstreamCall
from ..shared.history import said_now, settled
from ..shared.limits import leave_out, max_tokens
from ..shared.openai_effort import reasoning_effort
from ..shared.openai_request import json_form, put_who_and_how
from ..shared.turns import system_texts
from .emit_content import PartWriter
from .emit_items import Conversation
from .emit_tools import write_tools
from .state import ENCRYPTED

CARRIED: Final = frozenset({"max_tool_calls", "prompt_cache_retention", "truncation"})
"""Members of this API that a client of another one may send under the same name."""
MIN_OUTPUT: Final = 16
"""Fewer tokens the API refuses to answer with."""


def emit_request(request: Request, upstream: Upstream, losses: LossReport) -> UpstreamCall:
    """Raises Unsupported for what this API cannot carry."""
    return _RequestWriter(request, upstream, losses).write()


class _RequestWriter:
    def __init__(self, request: Request, upstream: Upstream, losses: LossReport) -> None:
        self._request = request = settled(request, losses)
        self._upstream = upstream
        self._row = upstream.capabilities
        self._losses = losses
        self._members: dict[str, Any] = {"model": request.model}
        self._text: dict[str, Any] = {}
        self._instruction: str | None = None

    def write(self) -> UpstreamCall:
        request, members = self._request, self._members
        self._format()
        parts = PartWriter(request, self._row, self._losses)
        if instructions := self._instructions(parts):
            members["instructions"] = instructions
        signer = signers.reader(self._upstream.provider, self._upstream.model or request.model)
        conversation = Conversation(parts, self._row, signer)
        now = said_now(request.messages)
        for message in request.messages:
            parts.refuses = message is now
            conversation.add(message)
        conversation.end(request.path_of("messages"))
        parts.marks.dropped(request.cache)
        members["input"] = conversation.written
        tools = write_tools(request, self._row, conversation.names, parts)
        members |= tools.members
        if (asked := max_tokens(request, self._row, self._losses, MIN_OUTPUT)) is not None:
            members["max_output_tokens"] = asked
        self._reasoning()
        self._sampling()
        put_who_and_how(request, self._row, members, self._losses)
        if request.stream:
            members["stream"] = True
        self._extensions()
        if self._text:
            members["text"] = self._text
        headers: Headers = [("content-type", "application/json")]
        path = self._upstream.at(Asked(request.model, request.stream))
        return UpstreamCall(
            "POST",
            path,
            headers,
            members,
            request,
            replace(tools.undo, fences=self._instruction is not None, signer=signer),
        )

    def _instructions(self, parts: PartWriter) -> str:
        texts: list[str] = []
        for message in self._request.system:
            self._losses.extra(message.at, message.extra)
            if message.name is not None:
                self._losses.dropped(f"{message.at}.name")
            for block in system_texts(message, self._losses):
                parts.marks.dropped(block.cache)
                if text := parts.text(block):
                    texts.append(text)
        if self._instruction is not None:
            texts.append(self._instruction)
        return "\n\n".join(texts)

    # ---- the form of the answer

    def _format(self) -> None:
        form = json_form(self._request, self._row, self._losses)
        if form is None:
            return
        self._instruction = form.instruction
        self._text["format"] = (
            {"type": "json_object"} if form.schema is None else {"type": "json_schema", **form.schema}
        )

    # ---- reasoning

    def _reasoning(self) -> None:
        """How much, whether it shall be told of, and that it comes sealed, so that the conversation itself keeps it."""
        request, row = self._request, self._row
        effort = reasoning_effort(request, row, self._losses, tools=False)
        reasons = row.reasoning and row.efforts != []
        reasoning: dict[str, Any] = {} if effort is None else {"effort": effort}
        if reasons and effort != "none" and self._wants_summary():
            reasoning["summary"] = "auto"
        if reasoning:
            self._members["reasoning"] = reasoning
        self._members["store"] = False
        if reasons:
            self._members["include"] = [ENCRYPTED]

    def _wants_summary(self) -> bool:
        wish = self._request.reasoning
        if wish.exclude or wish.display == "omitted":
            return False
        return wish.display is not None or wish.mode in ("adaptive", "between_tools", "budget")

    # ---- sampling

    def _sampling(self) -> None:
        request, members, losses = self._request, self._members, self._losses
        wish = request.sampling
        for name, value in (("temperature", wish.temperature), ("top_p", wish.top_p)):
            if value is None:
                continue
            if self._row.sampling:
                members[name] = value
            elif value != 1:
                # To leave out a default changes nothing.
                losses.dropped(request.path_of(name), "this model takes no sampling parameters")
        unknown = {
            "top_k": wish.top_k,
            "seed": wish.seed,
            "frequency_penalty": wish.frequency_penalty or None,
            "presence_penalty": wish.presence_penalty or None,
        }
        for name, other in unknown.items():
            if other is not None:
                losses.dropped(request.path_of(name), "this API has no such member")
        for i in range(len(wish.stop)):
            losses.dropped(f"{request.path_of('stop')}[{i}]", "this API has no stop sequences")

    # ---- the rest

    def _extensions(self) -> None:
        for name, member in self._request.extra.items():
            if name in CARRIED and name not in self._members:
                self._members[name] = member.value
            elif name == "verbosity":
                self._text[name] = member.value
            else:
                leave_out(member, self._losses)
