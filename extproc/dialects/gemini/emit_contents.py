"""A conversation as Gemini's contents."""

from __future__ import annotations

from typing import Any

from ...capabilities import Capabilities
from ...llm.losses import LossReport
from ...llm.request import Message, Request
from ..base import Members
from ..shared.naming import ToolIds
from ..shared.turns import Turn, Turns, system_texts
from .emit_parts import PARTS, PartWriter
from .words import NAME, STAND_IN


class Contents:
    """What a request says. ``names``: the tools that were called, by the client's names."""

    def __init__(self, request: Request, row: Capabilities, losses: LossReport) -> None:
        self._losses = losses
        self._row = row
        self._writer = PartWriter(row, losses, request.path_of("cache"), own=request.dialect == NAME)
        self._conversation = Turns(self._writer, ToolIds(), mid_system=False, bound_thinking=False, signed_calls=True)
        self._conversation.add_all(request.messages)
        self._writer.cached(request.cache)
        self.names = self._conversation.names

    def system(self, messages: list[Message], instruction: str | None) -> dict[str, Any] | None:
        """The leading system messages, and what we add to them."""
        parts: list[Members] = []
        for message in messages:
            if message.name is not None:
                self._losses.dropped(f"{message.at}.name")
            self._losses.extra(message.at, message.extra)
            parts += [
                part for text in system_texts(message, self._losses) if (part := self._writer.text(text)) is not None
            ]
        if instruction is not None:
            parts.append({"text": instruction})
        return {"parts": parts} if parts else None

    def written(self) -> list[dict[str, Any]]:
        """The contents as they are sent."""
        answered: list[str] = []
        out = []
        # Told anew only for a trailing turn of the model's, which is answered by going on.
        self._conversation.written(prefill=False)
        for turn in self._conversation.turns:
            parts = self._parts(turn, answered)
            out.append({"role": "model" if turn.role == "assistant" else "user", "parts": parts})
            answered = [part["functionCall"]["id"] for part in parts if "functionCall" in part]
        return out

    def _parts(self, turn: Turn, called: list[str]) -> list[Members]:
        """A turn's parts, laid flat; results in the order of the calls that they answer."""
        if turn.text is not None:
            return [{"text": turn.text}]
        order = {id_: position for position, id_ in enumerate(called)}
        results = sorted(turn.results, key=lambda part: order.get(part["functionResponse"]["id"], 0))
        parts: list[Members] = list(results)
        for result in results:
            parts += self._writer.following.get(result["functionResponse"]["id"], ())
        for part in turn.blocks:
            if PARTS in part:
                parts += part[PARTS]
            elif parts and _signs_text(part) and _is_plain_text(parts[-1]):
                parts[-1] = {**parts[-1], "thoughtSignature": part["thoughtSignature"]}
            else:
                parts.append(part)
        self._stand_in(parts)
        return parts

    def _stand_in(self, parts: list[Members]) -> None:
        """The model refuses a turn whose first call has no signature; a call of another's never had one."""
        if not self._row.call_signatures_needed:
            return
        first = next((i for i, part in enumerate(parts) if "functionCall" in part), None)
        if first is not None and "thoughtSignature" not in parts[first]:
            parts[first] = {**parts[first], "thoughtSignature": STAND_IN}


def _signs_text(part: Members) -> bool:
    return part.get("text") == "" and "thoughtSignature" in part


def _is_plain_text(part: Members) -> bool:
    return bool(part.get("text")) and "thought" not in part and "thoughtSignature" not in part
