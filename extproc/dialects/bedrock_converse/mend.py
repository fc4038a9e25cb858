"""A request between this API and itself, mended where a translated turn of before left what the API would refuse.

A conversation may have been answered by another provider meanwhile (failover): then its history holds thinking that
other providers sealed, in signatures of our own making, and call ids with signatures behind them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...llm import marker
from ...llm.losses import LossReport
from ..base import encode
from ..shared.naming import without_seals

_MARK = f'"{marker.PREFIX}'.encode()

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.json.Decoder().decode


def mend(body: bytes, losses: LossReport) -> bytes:
    """*body* itself when there is nothing to mend, or when it cannot be read: then the upstream says so. Messages that
    need nothing keep their bytes."""
    # Bedrock bounds the length of an id.
    body = without_seals(body, losses)
    if _MARK not in body:
        return body
    try:
        members = _decode_object(body)
        messages = _decode_array(members["messages"])
        mended = [_message(raw, f"messages[{i}]", losses) for i, raw in enumerate(messages)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return body
    if all(new is old for new, old in zip(mended, messages, strict=True)):
        return body
    members["messages"] = msgspec.Raw(encode([each for each in mended if each is not None]))
    return encode(members)


def _message(raw: msgspec.Raw, at: str, losses: LossReport) -> msgspec.Raw | None:
    """*raw* itself, or without what is sealed; ``None`` when nothing is left of it."""
    if _MARK not in bytes(raw):
        return raw
    message = _decode_object(raw)
    blocks = _decode_array(message["content"])
    kept = [block for j, block in enumerate(blocks) if not _is_ours(block, f"{at}.content[{j}]", losses)]
    if len(kept) == len(blocks):
        return raw
    message["content"] = msgspec.Raw(encode(kept))
    return msgspec.Raw(encode(message)) if kept else None


def _is_ours(raw: msgspec.Raw, at: str, losses: LossReport) -> bool:
    """Whether a block is thinking that no model of Bedrock's has signed."""
    if _MARK not in bytes(raw):
        return False
    block: Any = _decode(raw)
    for name in ("reasoningContent", "reasoningText"):
        block = block.get(name) if type(block) is dict else None
    if type(block) is not dict or not marker.is_mark(_text(block.get("signature"))):
        return False
    losses.dropped(at, "thinking of another provider")
    return True


def _text(value: Any) -> str | None:
    return value if type(value) is str else None
