"""A request between this API and itself, mended where a translated turn of before left what the API would refuse.

A conversation may have been answered by another provider meanwhile (failover): then its history holds thinking that
other providers sealed, or none, in items of our own making, and call ids with signatures behind them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...llm import marker
from ...llm.losses import LossReport
from ..base import encode
from ..shared.naming import without_seals
from .words import CARRIER

_OURS = (CARRIER, marker.PREFIX)
_MAY_MATTER = tuple(f'"{prefix}'.encode() for prefix in _OURS)

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode


def mend(body: bytes, losses: LossReport) -> bytes:
    """*body* itself when there is nothing to mend, or when it cannot be read: then the upstream says so. Items that
    need nothing keep their bytes."""
    body = without_seals(body, losses)
    if not any(mark in body for mark in _MAY_MATTER):
        return body
    try:
        members = _decode_object(body)
        items = _decode_array(members["input"])
        kept = [raw for i, raw in enumerate(items) if not _is_ours(raw, f"input[{i}]", losses)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return body
    if len(kept) == len(items):
        return body
    members["input"] = msgspec.Raw(encode(kept))
    return encode(members)


def _is_ours(raw: msgspec.Raw, at: str, losses: LossReport) -> bool:
    """Whether an item is thinking that this provider has not sealed."""
    if not any(mark in bytes(raw) for mark in _MAY_MATTER):
        return False
    item: Any = _decode(raw)
    sealed = item.get("encrypted_content") if type(item) is dict and item.get("type") == "reasoning" else None
    if type(sealed) is not str or not sealed.startswith(_OURS):
        return False
    losses.dropped(at, "thinking of another provider")
    return True
