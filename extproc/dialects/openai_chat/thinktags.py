"""Reasoning that a server leaves in the text, between tags (Qwen and DeepSeek R1 behind a server without a parser)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_TAGS: Final = {
    "<think>": "</think>", "<mm:think>": "</mm:think>", "<reasoning>": "</reasoning>", "<thought>": "</thought>",
    "<seed:think>": "</seed:think>", "[THINK]": "[/THINK]", "\u25c1think\u25b7": "\u25c1/think\u25b7",
}  # fmt: skip
"""Opening tag -> closing tag: MiniMax's is the second, Gemini's the fourth; then Seed's, Mistral's, Kimi's."""
_MOST_BLANKS: Final = 256
"""That may stand before a tag: more of them are an answer's."""


class ThinkTags:
    """Cuts text that comes in pieces into reasoning and answer. Only a tag at the very start opens reasoning; no more
    is held back than what may still become a tag. *opened*: the template has written the opening tag, so that the
    answer begins within reasoning, and may hold the closing one alone."""

    __slots__ = ("_closes", "_held", "_opened", "_state", "_thought")

    def __init__(self, *, opened: bool = False) -> None:
        self._state = self._at_start
        self._held = ""
        self._opened = opened
        self._thought = False  # some of it was told
        self._closes: tuple[str, ...] = tuple(_TAGS.values())

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """Pairs: whether it is reasoning, and the text."""
        held, self._held = self._held, ""
        return self._state(held + text)

    def end(self) -> Iterator[tuple[bool, str]]:
        """What was held back."""
        held, self._held = self._held, ""
        if held:
            yield self._state == self._in_thinking or (self._opened and self._state == self._at_start), held

    def _at_start(self, text: str) -> Iterator[tuple[bool, str]]:
        bare = text.lstrip()
        if len(text) - len(bare) > _MOST_BLANKS:
            bare = text
        for tag, close in _TAGS.items():
            if bare.startswith(tag):
                self._state, self._closes = self._in_thinking, (close,)
                yield from self._in_thinking(bare[len(tag) :])
                return
        if any(tag.startswith(bare) for tag in _TAGS):
            self._held = text
        elif self._opened:
            self._state = self._in_thinking
            yield from self._in_thinking(text)
        else:
            self._state = self._in_text
            yield False, text

    def _in_thinking(self, text: str) -> Iterator[tuple[bool, str]]:
        found = min(((at, close) for close in self._closes if (at := text.find(close)) >= 0), default=None)
        if found is not None:
            at, close = found
            if text[:at].strip() or (at and self._thought):
                yield True, text[:at]
            self._state = self._behind
            yield from self._behind(text[at + len(close) :])
            return
        keep = max(_kept(text, close) for close in self._closes)
        if not self._thought and not text[: len(text) - keep].strip() and len(text) <= _MOST_BLANKS:
            # Nothing but line ends between the tags (Qwen, told not to think) is no reasoning.
            keep = len(text)
        self._thought = self._thought or keep < len(text)
        self._held = text[len(text) - keep :]
        if keep < len(text):
            yield True, text[: len(text) - keep]

    def _behind(self, text: str) -> Iterator[tuple[bool, str]]:
        """The line ends between reasoning and answer belong to neither."""
        text = text.lstrip("\r\n")
        if text:
            self._state = self._in_text
            yield False, text

    def _in_text(self, text: str) -> Iterator[tuple[bool, str]]:
        if text:
            yield False, text


def _kept(text: str, tag: str) -> int:
    """How many characters at the end of *text* may be the beginning of *tag*."""
    return next((n for n in range(len(tag) - 1, 0, -1) if text.endswith(tag[:n])), 0)
