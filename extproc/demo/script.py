"""What the scripted provider says, whatever API it is asked in. The same question always gets the same answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

CITIES = ("Paris", "Rome", "Tokyo", "Oslo")


@dataclass(frozen=True)
class Said:
    """A model's turn: text, or calls as (id's number, tool, input)."""

    text: str = ""
    calls: tuple[tuple[int, str, dict[str, Any]], ...] = ()

    @property
    def tokens(self) -> int:
        """Something that a client can take for a count of tokens."""
        return len(self.text.split()) + 12 * len(self.calls)


_ASIDE = re.compile(r"<((?:system|session|environment)[\w-]*)>.*?(</\1>|$)", re.DOTALL)
"""What agents put into a user's turn beside the user's words."""


def words(text: str) -> str:
    """What of *text* the user said."""
    return _ASIDE.sub("", text).strip()


def decide(question: str, tools: list[str], results: list[str], forced: str | None = None) -> Said:
    """The next turn of a model that was asked *question*, may call *tools*, and has just been given *results*.

    Only a tool ``get_weather`` is called of its own will: this also answers agents that would act on a call.
    """
    if results:
        return Said(f"Your tools say: {'; '.join(results)}. Pack accordingly.")
    tool = forced or next((name for name in tools if name.startswith("get_weather")), None)
    if tool is None:
        # The end of it: agents put their own instructions first.
        asked = " ".join(question.split())[-80:]
        return Said(f"I am a scripted provider and know one answer. You asked: {asked!r}. The sky is blue.")
    cities = [city for city in CITIES if re.search(rf"\b{city}\b", question)] or [CITIES[0]]
    return Said(calls=tuple((number, tool, {"city": city}) for number, city in enumerate(cities, 1)))


def pieces(text: str, size: int = 7) -> list[str]:
    """*text* cut as a model's stream cuts it: never where a reader would."""
    return [text[i : i + size] for i in range(0, len(text), size)]
