"""A request, written for an upstream that speaks the Chat Completions API."""

from __future__ import annotations

from typing import Any, Final

from ...llm.losses import LossReport
from ...llm.request import Request
from ..base import Asked, Headers, Undo, Upstream
from ..shared.history import said_now, settled
from ..shared.limits import leave_out, max_tokens, stop_sequences
from ..shared.openai_effort import reasoning_effort
from ..shared.openai_request import json_form, put_who_and_how
from ..values import UpstreamCall
from .emit_messages import Conversation
from .emit_parts import PartWriter
from .emit_tools import write_tools
from .vocabulary import NAME

CARRIED: Final = frozenset({
    "frequency_penalty", "logit_bias", "presence_penalty", "prediction", "prompt_cache_key", "prompt_cache_retention",
    "seed", "verbosity",
})  # fmt: skip
"""Members of this API that a client of another one may send under the same name."""


class ChatCall(UpstreamCall):
    """``think_tags``: the server leaves reasoning in the text, between tags. ``signed_calls``: it signs its calls.
    ``tool_names``: as they were sent."""

    think_tags: bool | str = False
    signed_calls: bool = False
    tool_names: frozenset[str] = frozenset()


def emit_request(request: Request, upstream: Upstream, losses: LossReport) -> ChatCall:
    """Raises Unsupported for what this API cannot carry."""
    return _RequestWriter(request, upstream, losses).write()


class _RequestWriter:
    def __init__(self, request: Request, upstream: Upstream, losses: LossReport) -> None:
        self._request = request
        self._upstream = upstream
        self._row = upstream.capabilities
        self._losses = losses
        self._own = request.dialect == NAME
        self._members: dict[str, Any] = {"model": request.model}
        self._instruction: str | None = None

    def write(self) -> ChatCall:
        members = self._members
        self._request = request = settled(self._request, self._losses)
        form = self._response_format()
        parts = PartWriter(request, self._row, self._losses)
        conversation = Conversation(parts, self._row)
        leading = self._leading()
        conversation.system([*request.system, *request.messages[:leading]], self._instruction)
        now = said_now(request.messages)
        for message in request.messages[leading:]:
            parts.refuses = message is now
            conversation.add(message)
        conversation.end()
        parts.marks.dropped(request.cache)
        members["messages"] = conversation.written
        tools = write_tools(request, self._row, conversation.names, parts)
        members |= tools.members
        if form is not None:
            members["response_format"] = form
        if (asked := max_tokens(request, self._row, self._losses)) is not None:
            members[self._row.token_field] = asked
        effort = reasoning_effort(request, self._row, self._losses, tools="tools" in members)
        if effort is not None:
            members["reasoning_effort"] = effort
        self._sampling()
        if stop := stop_sequences(request, self._row, self._losses):
            members["stop"] = stop
        self._who_and_how()
        self._extensions()
        headers: Headers = [("content-type", "application/json")]
        undo, row = Undo(tools.names, tools.custom, self._instruction is not None), self._row
        path = self._upstream.at(Asked(request.model, request.stream))
        signed, sent = row.call_signatures, frozenset(tools.sent)
        return ChatCall("POST", path, headers, members, request, undo, row.think_tags, signed, sent)

    def _leading(self) -> int:
        """How many system messages at the start belong to the system prompt: a chat template that takes none later
        takes none but the first."""
        if self._row.mid_system:
            return 0
        messages = self._request.messages
        return next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))

    # ---- the form of the answer

    def _response_format(self) -> dict[str, Any] | None:
        form = json_form(self._request, self._row, self._losses)
        if form is None:
            return None
        self._instruction = form.instruction
        return {"type": "json_object"} if form.schema is None else {"type": "json_schema", "json_schema": form.schema}

    # ---- sampling

    def _sampling(self) -> None:
        request, row = self._request, self._row
        wish = request.sampling
        values = {
            "temperature": wish.temperature,
            "top_p": wish.top_p,
            "frequency_penalty": wish.frequency_penalty,
            "presence_penalty": wish.presence_penalty,
        }
        for name, value in values.items():
            if value is None:
                continue
            if row.sampling:
                self._members[name] = value
            elif value != (1 if name in ("temperature", "top_p") else 0):
                # To leave out a default changes nothing.
                self._losses.dropped(request.path_of(name), "this model takes no sampling parameters")
        if wish.top_k is not None:
            if row.top_k and row.sampling:
                self._members["top_k"] = wish.top_k
            else:
                self._losses.dropped(request.path_of("top_k"))
        if wish.seed is not None:
            self._members["seed"] = wish.seed

    # ---- the rest

    def _who_and_how(self) -> None:
        request, members, row = self._request, self._members, self._row
        put_who_and_how(request, row, members, self._losses, own=self._own)
        if request.stream:
            members["stream"] = True
            if row.stream_options and (request.include_usage or not self._own):
                # Always: other APIs' clients expect the counts, and the gateway keeps them.
                members["stream_options"] = {"include_usage": True}

    def _extensions(self) -> None:
        for name, member in self._request.extra.items():
            if name in CARRIED and name not in self._members:
                self._members[name] = member.value
            else:
                leave_out(member, self._losses)
