"""A request between this API and itself, mended where a translated turn of before left what the API would refuse.

A conversation may have been answered by another provider meanwhile (failover): then its history holds signatures of our
own making. A call gets what Google documents for calls of other models; elsewhere a signature may be missing.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ...llm.losses import LossReport
from ..base import encode
from ..shared.mending import members_of, mended, mended_within
from .signatures import OURS, is_ours
from .words import STAND_IN

_NAMES = ("thoughtSignature", "thought_signature")
_CALLS = ("functionCall", "function_call")
_decode: Final = msgspec.json.Decoder().decode


def mend(body: bytes, losses: LossReport) -> bytes:
    """*body* itself when there is nothing to mend, or when it cannot be read: then the upstream says so. Contents that
    need nothing keep their bytes, and so do their parts."""
    if b'"' + OURS not in body:
        return body
    return mended(body, "contents", lambda raw, at: _content(raw, at, losses))


def _content(raw: msgspec.Raw, at: str, losses: LossReport) -> msgspec.Raw | None:
    """*raw* itself, or mended; ``None`` when nothing is left of it."""
    if OURS not in bytes(raw):
        return raw
    return mended_within(raw, members_of(raw), "parts", at, lambda part, place: _part(part, place, losses))


def _part(raw: msgspec.Raw, at: str, losses: LossReport) -> msgspec.Raw | None:
    if OURS not in bytes(raw):
        return raw
    part: Any = _decode(raw)
    if type(part) is not dict:
        return raw
    name = next((name for name in _NAMES if type(part.get(name)) is str and is_ours(part[name])), None)
    if name is None:
        return raw
    losses.rewritten(f"{at}.{name}", "the signature of another provider")
    if any(call in part for call in _CALLS):
        return msgspec.Raw(encode({**part, name: STAND_IN}))
    rest = {key: value for key, value in part.items() if key != name}
    return None if rest.keys() <= {"text", "thought"} and not rest.get("text") else msgspec.Raw(encode(rest))
