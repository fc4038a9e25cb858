"""A request between this API and itself, mended where a translated turn of before left what the API would refuse.

A conversation may have been answered by another provider meanwhile (failover): then its history holds signatures of our
own making. A call gets what Google documents for calls of other models; elsewhere a signature may be missing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...llm.losses import LossReport
from ..base import encode
from ..shared.mending import mended
from .signatures import OURS, is_ours
from .words import STAND_IN

_NAMES = ("thoughtSignature", "thought_signature")
_CALLS = ("functionCall", "function_call")
_decode = msgspec.json.Decoder().decode


def mend(body: bytes, losses: LossReport) -> bytes:
    """*body* itself when there is nothing to mend, or when it cannot be read: then the upstream says so. Contents that
    need nothing keep their bytes."""
    if b'"' + OURS not in body:
        return body
    return mended(body, "contents", lambda raw, at: _content(raw, at, losses))


def _content(raw: msgspec.Raw, at: str, losses: LossReport) -> msgspec.Raw:
    if OURS not in bytes(raw):
        return raw
    content: Any = _decode(raw)
    parts = content.get("parts") if type(content) is dict else None
    changed = False
    kept: list[Any] = []
    for j, part in enumerate(parts if type(parts) is list else ()):
        made = _part(part, f"{at}.parts[{j}]", losses)
        changed = changed or made is not part
        if made:
            kept.append(made)
    return msgspec.Raw(encode({**content, "parts": kept})) if changed else raw


def _part(part: Any, at: str, losses: LossReport) -> Any:
    """*part* itself, or mended; empty when nothing is left of it."""
    if type(part) is not dict:
        return part
    name = next((name for name in _NAMES if type(part.get(name)) is str and is_ours(part[name])), None)
    if name is None:
        return part
    losses.rewritten(f"{at}.{name}", "the signature of another provider")
    if any(call in part for call in _CALLS):
        return {**part, name: STAND_IN}
    rest = {key: value for key, value in part.items() if key != name}
    return {} if rest.keys() <= {"text", "thought"} and not rest.get("text") else rest
