"""A request between this API and itself, mended where a translated turn of before left what the API would refuse.

A conversation may have been answered by another provider meanwhile (failover): then its history holds thinking that
other providers sealed, in signatures of our own making, and call ids with signatures behind them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ...llm import marker
from ...llm.losses import LossReport
from ..shared.fragments import string
from ..shared.mending import members_of, mended, mended_within
from ..shared.naming import without_seals

_MARK: Final = f'"{marker.PREFIX}'.encode()

_decode: Final = msgspec.json.Decoder().decode


def mend(body: bytes, losses: LossReport) -> bytes:
    """*body* itself when there is nothing to mend, or when it cannot be read: then the upstream says so. Messages that
    need nothing keep their bytes."""
    # Bedrock bounds the length of an id.
    body = without_seals(body, losses)
    if _MARK not in body:
        return body
    return mended(body, "messages", lambda raw, at: _message(raw, at, losses))


def _message(raw: msgspec.Raw, at: str, losses: LossReport) -> msgspec.Raw | None:
    """*raw* itself, or without what is sealed; ``None`` when nothing is left of it."""
    if _MARK not in bytes(raw):
        return raw
    return mended_within(raw, members_of(raw), "content", at, lambda block, place: _block(block, place, losses))


def _block(raw: msgspec.Raw, at: str, losses: LossReport) -> msgspec.Raw | None:
    """*raw* itself; ``None`` for thinking that no model of Bedrock's has signed."""
    if _MARK not in bytes(raw):
        return raw
    block: Any = _decode(raw)
    for name in ("reasoningContent", "reasoningText"):
        block = block.get(name) if type(block) is dict else None
    if type(block) is not dict or not marker.is_mark(string(block, "signature")):
        return raw
    losses.dropped(at, "thinking of another provider")
    return None
