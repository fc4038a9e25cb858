"""Whose encrypted reasoning stands in an answer that passes: its host can read it, and nobody else. What OpenAI itself
gives bears no label."""

from __future__ import annotations

from typing import Any

from ..shared.labels import SealLabels


class ReasoningLabels(SealLabels):
    needles: tuple[bytes, ...] = (b"encrypted_content",)

    def in_whole(self, message: dict[str, Any]) -> bool:
        return self._items(message.get("output"))

    def in_event(self, message: dict[str, Any]) -> bool:
        response = message.get("response")
        labelled = self._items([message.get("item")])
        return (type(response) is dict and self._items(response.get("output"))) or labelled

    def _items(self, items: Any) -> bool:
        labelled = False
        for item in items if type(items) is list else ():
            if type(item) is dict and item.get("type") == "reasoning":
                labelled = self.label(item, "encrypted_content", encrypts=True) or labelled
        return labelled
