"""A request between this API and itself, mended where a translated turn of before left what the API would refuse.

A conversation may have been answered by another provider meanwhile (failover): then its history holds signatures of our
own making. A call gets what Google documents for calls of other models; elsewhere a signature may be missing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...llm.losses import LossReport
from ..base import encode
from .signatures import OURS, is_ours
from .words import STAND_IN

_NAMES = ("thoughtSignature", "thought_signature")
_CALLS = ("functionCall", "function_call")
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode


def mend(body: bytes, losses: LossReport) -> bytes:
    """*body* itself when there is nothing to mend, or when it cannot be read: then the upstream says so. Contents that
    need nothing keep their bytes."""
    if b'"' + OURS not in body:
        return body
    try:
        members = _decode_object(body)
        contents = _decode_array(members["contents"])
        mended = [_content(raw, f"contents[{i}]", losses) for i, raw in enumerate(contents)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return body
    if all(new is old for new, old in zip(mended, contents, strict=True)):
        return body
    members["contents"] = msgspec.Raw(encode(mended))
    return encode(members)


def _content(raw: msgspec.Raw, at: str, losses: LossReport) -> msgspec.Raw:
    if OURS not in bytes(raw):
        return raw
    content: Any = _decode(raw)
    parts = content.get("parts") if type(content) is dict else None
    changed = False
    kept: list[Any] = []
    for j, part in enumerate(parts if type(parts) is list else ()):
        mended = _part(part, f"{at}.parts[{j}]", losses)
        changed = changed or mended is not part
        if mended:
            kept.append(mended)
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
