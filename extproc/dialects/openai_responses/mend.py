"""A request between this API and itself, mended where a translated turn of before left what the API would refuse.

A conversation may have been answered by another provider meanwhile (failover): then its history holds thinking that
other providers sealed, or none, in items of our own making, and call ids with signatures behind them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ...llm import marker
from ...llm.losses import LossReport
from ..base import encode
from ..shared.mending import mended
from ..shared.naming import without_seals
from .words import CARRIER, SIGNER

_OURS = (CARRIER, marker.PREFIX)
_SEALED: Final = b"encrypted_content"
_MAY_MATTER: Final = tuple(f'"{prefix}'.encode() for prefix in _OURS)

_decode: Final = msgspec.json.Decoder().decode


def mend(body: bytes, losses: LossReport, signer: str = SIGNER) -> bytes:
    """*body* itself when there is nothing to mend, or when it cannot be read: then the upstream says so. Items that
    need nothing keep their bytes. *signer*: whose seals the upstream can read; those of others are labelled, but for
    OpenAI's."""
    body = without_seals(body, losses)
    foreign = signer != SIGNER and _SEALED in body
    if not foreign and not any(mark in body for mark in _MAY_MATTER):
        return body
    return mended(body, "input", lambda raw, at: _item(raw, at, losses, signer))


def _item(raw: msgspec.Raw, at: str, losses: LossReport, signer: str) -> msgspec.Raw | None:
    """*raw* itself, or as *signer* sealed it; ``None`` for thinking that was sealed by another, or by nobody."""
    if _SEALED not in bytes(raw):
        return raw
    item: Any = _decode(raw)
    sealed = item.get("encrypted_content") if type(item) is dict and item.get("type") == "reasoning" else None
    if type(sealed) is not str or not sealed or (signer == SIGNER and not sealed.startswith(_OURS)):
        return raw
    own = marker.unsealed(sealed)
    if own is not None and own.signer == signer and own.encrypted:
        return msgspec.Raw(encode({**item, "encrypted_content": own.encrypted}))
    losses.dropped(at, "thinking of another provider")
    return None
