"""An answer in JSON that a model put into a fence of Markdown, because nothing but an instruction asked for JSON."""

from __future__ import annotations

import re
from typing import Final

_OPENS: Final = re.compile(r"\s*`{3,}[ \t]*[A-Za-z0-9]{0,8}[ \t]*(?:\r?\n|(?=[{\[]))")
_MAY_OPEN: Final = re.compile(r"\s*`*(?:(?<=```)[ \t]*[A-Za-z0-9]{0,8}[ \t]*\r?)?\Z")
_MAY_CLOSE: Final = re.compile(r"(?:\s*\n[ \t]*`+\s*|`+\s*|\s+)\Z")
_CLOSES: Final = re.compile(r"\s*\n[ \t]*`{3,}\s*\Z")
_CLOSES_JSON: Final = re.compile(r"`{3,}\s*\Z")
"""Right behind the last bracket."""
_CLOSED_BEFORE: Final = re.compile(r"\n[ \t]*```\s*[^\s`]")
"""A fence that something stands behind: it was no fence around all of the answer."""
_MOST: Final = 256
"""Characters that are held back; more of them are no fence."""


class Fence:
    """Takes the fence from a text that is one fenced block. No more is held back than what may still be a fence; where
    words follow the end of it, they and the end stay, and so does the beginning unless it is too late."""

    __slots__ = ("_held", "_last", "_opening", "_state")

    def __init__(self) -> None:
        self._state = "start"
        self._held = ""
        self._last = ""  # character of what was told
        self._opening = ""  # as long as nothing of what is within was told

    def feed(self, text: str) -> str:
        if self._state == "plain":
            return text
        text = self._held + text
        self._held = ""
        if self._state == "start":
            found = _OPENS.match(text)
            if found is None:
                if len(text) <= _MOST and _MAY_OPEN.match(text):
                    self._held = text
                    return ""
                self._state = "plain"
                return text
            self._state, self._opening, text = "within", found.group(), text[found.end() :]
        return self._within(text)

    def end(self) -> str:
        """What was held back, if it is no end of a fence."""
        held, self._held = self._held, ""
        closes = _CLOSES.match(held) or (self._last in ("}", "]") and _CLOSES_JSON.match(held))
        return "" if self._state == "within" and closes else held

    def _within(self, text: str) -> str:
        if _CLOSED_BEFORE.search(text):
            self._state = "plain"
            return self._opening + text
        found = _MAY_CLOSE.search(text, max(0, len(text) - _MOST))
        if found is not None:
            self._held, text = text[found.start() :], text[: found.start()]
        if text:
            self._opening, self._last = "", text[-1]
        return text
