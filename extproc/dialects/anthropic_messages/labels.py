"""Whose signatures stand in an answer that passes: several makers speak this API, and Claude's own bear no label."""

from __future__ import annotations

from typing import Any, Final

from ..shared.labels import SealLabels

SEALS: Final = {"thinking": "signature", "redacted_thinking": "data"}
"""Of each kind of block, the member that only its maker can read."""


class SignatureLabels(SealLabels):
    needles: tuple[bytes, ...] = (b"signature", b"redacted_thinking")

    def __init__(self, signer: str, max_event_bytes: int) -> None:
        super().__init__(signer, max_event_bytes)
        self._labelled: set[Any] = set()  # the blocks that have their label: a signature may come in pieces

    def in_whole(self, message: dict[str, Any]) -> bool:
        return self._blocks(message.get("content"))

    def in_event(self, message: dict[str, Any]) -> bool:
        kind, index = message.get("type"), message.get("index")
        if kind == "content_block_start":
            self._labelled.discard(index)
            labelled = self._block(message.get("content_block"))
            if labelled:
                self._labelled.add(index)
            return labelled
        if kind == "content_block_delta":
            delta = message.get("delta")
            if type(delta) is not dict or delta.get("type") != "signature_delta" or index in self._labelled:
                return False
            self._labelled.add(index)
            return self.label(delta, "signature", encrypts=False)
        started = message.get("message")
        return self._blocks((started if type(started) is dict else message).get("content"))

    def _blocks(self, content: Any) -> bool:
        labelled = False
        for block in content if type(content) is list else ():
            labelled = self._block(block) or labelled
        return labelled

    def _block(self, block: Any) -> bool:
        if type(block) is not dict or type(kind := block.get("type")) is not str or kind not in SEALS:
            return False
        return self.label(block, SEALS[kind], encrypts=kind == "redacted_thinking")
