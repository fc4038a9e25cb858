"""Reasoning that a server leaves in the text, between tags (Qwen and DeepSeek R1 behind a server without a parser)."""

from __future__ import annotations

from collections.abc import Iterator

_TAGS = {"<think>": "</think>", "<mm:think>": "</mm:think>"}
"""Opening tag -> closing tag; the second pair is MiniMax's."""


class ThinkTags:
    """Cuts text that comes in pieces into reasoning and answer. Only a tag at the very start opens reasoning; no more
    is held back than what may still become a tag."""

    __slots__ = ("_close", "_held", "_state")

    def __init__(self) -> None:
        self._state = self._at_start
        self._held = ""
        self._close = ""

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """Pairs: whether it is reasoning, and the text."""
        held, self._held = self._held, ""
        return self._state(held + text)

    def end(self) -> Iterator[tuple[bool, str]]:
        """What was held back."""
        held, self._held = self._held, ""
        if held:
            yield self._state == self._in_thinking, held

    def _at_start(self, text: str) -> Iterator[tuple[bool, str]]:
        bare = text.lstrip()
        for tag, close in _TAGS.items():
            if bare.startswith(tag):
                self._state, self._close = self._in_thinking, close
                yield from self._in_thinking(bare[len(tag) :])
                return
        if any(tag.startswith(bare) for tag in _TAGS):
            self._held = text
            return
        self._state = self._in_text
        yield False, text

    def _in_thinking(self, text: str) -> Iterator[tuple[bool, str]]:
        thinking, tag, rest = text.partition(self._close)
        if tag:
            if thinking:
                yield True, thinking
            self._state = self._behind
            yield from self._behind(rest)
            return
        keep = next((n for n in range(len(self._close) - 1, 0, -1) if text.endswith(self._close[:n])), 0)
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
