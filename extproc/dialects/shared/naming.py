"""Names and ids that one API allows and another does not: rewritten so that the same always becomes the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from ...llm import marker
from ...llm.losses import LossReport
from ...names import remembered

_IN_NAME: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_-]")
_NAME_HEAD: Final = 55
MISTRALS: Final = 9
"""A longest id of nine stands for Mistral's rule: exactly nine letters and digits (its chat templates check it)."""
_NINE: Final = re.compile(r"[A-Za-z0-9]{9}")


def hash8(text: str) -> str:
    """Eight hexadecimal digits that stand for *text*."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@remembered(4096)
def tool_name(name: str) -> str:
    """*name* if it is 1 to 64 of ``[A-Za-z0-9_-]``, which OpenAI and Anthropic both demand; else its legal characters
    and a hash of the whole. Depends on the name alone, so that a conversation's history agrees with its tools."""
    if 0 < len(name) <= 64 and not name.strip(_IN_NAME):
        return name
    return f"{_NOT_IN_NAME.sub('', name)[:_NAME_HEAD]}_{hash8(name)}"


_KEY: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_NOT_IN_KEY: Final = re.compile(r"[^A-Za-z0-9_.-]")


def property_names(names: Iterable[str]) -> dict[str, str]:
    """Those of *names* that Anthropic refuses as a property of a tool's input -> what they become there: no two of
    *names* become the same."""
    names = list(names)
    taken = {name for name in names if _KEY.match(name)}
    renamed: dict[str, str] = {}
    for name in names:
        if name in taken or name in renamed:
            continue
        fitting = f"{_NOT_IN_KEY.sub('', name)[:_NAME_HEAD]}_{hash8(name)}"
        while fitting in taken:
            fitting = f"_{hash8(fitting)}"
        renamed[name] = fitting
        taken.add(fitting)
    return renamed


class ToolIds:
    """Tool call ids as one upstream takes them. Calls and results go through the same instance, in the order of the
    conversation: of two ids that become the same, the later one gets a hash behind it, so that what was sent before
    stays as it was."""

    def __init__(self, illegal: re.Pattern[str] | None = None, max_length: int | None = None) -> None:
        self._illegal = illegal
        self._max = max_length
        self._known: dict[str, str] = {}
        self._used: set[str] = set()

    def __call__(self, id_: str) -> str:
        known = self._known.get(id_)
        if known is None:
            known = self._fitted(id_)
            if known in self._used:
                longer = f"{known}_{hash8(id_)}"
                known = self._fitted(longer) if self._max == MISTRALS else self._cut(longer, id_)
            self._known[id_] = known
            self._used.add(known)
        return known

    def _fitted(self, id_: str) -> str:
        if self._max == MISTRALS and not _NINE.fullmatch(id_):
            return hashlib.sha256(id_.encode("utf-8", "surrogatepass")).hexdigest()[:MISTRALS]
        return self._cut(self._illegal.sub("_", id_) if self._illegal else id_, id_)

    def _cut(self, text: str, id_: str) -> str:
        if self._max is None or len(text) <= self._max:
            return text
        return f"{text[: self._max - 9]}_{hash8(id_)}"


_SEALED_ID: Final = re.compile(
    rb'("(?:id|call_id|tool_call_id|tool_use_id|toolUseId)"\s*:\s*"[^"\\]*?)' + marker.IN_ID.encode() + rb'[bt][\w-]+"'
)


def without_seals(body: bytes, losses: LossReport) -> bytes:
    """A request's *body*, its call ids as their provider made them; *body* itself when nothing is sealed behind any."""
    if marker.IN_ID.encode() not in body:
        return body
    mended, count = _SEALED_ID.subn(rb'\1"', body)
    if not count:
        return body
    losses.rewritten("messages", "call ids, without the signatures of another provider")
    return mended


def made_tool_id(response_id: str, position: int, prefix: str) -> str:
    """An id for a call that came without one: *prefix* and 24 hexadecimal digits."""
    return prefix + hashlib.sha256(f"{response_id}:{position}".encode()).hexdigest()[:24]


def unused_id(id_: str, used: set[str]) -> str:
    """*id_*, or where a call in *used* has it already, *id_* and a hash; adds it to *used*. Some servers count their
    calls anew in each answer (``call_0``), and clients of APIs whose ids are unique drop the second one from the
    conversation without a word, with its result (Claude Code 2.1.197)."""
    made = id_
    if made in used:
        # Those before it have taken the first of these names: the next is found without trying each.
        taken, free = 0, 1
        while _name(id_, free) in used:
            taken, free = free, free * 2
        while free - taken > 1:
            middle = (taken + free) // 2
            if _name(id_, middle) in used:
                taken = middle
            else:
                free = middle
        made = _name(id_, free)
    used.add(made)
    return made


def _name(id_: str, turn: int) -> str:
    return f"{id_}_{hash8(f'{id_}:{turn}')}"
