"""A request between this API and itself, mended where a translated turn of before left what the API would refuse.

A conversation may have been answered by another provider meanwhile (failover): then its history holds thinking with our
own marker, tool ids outside the API's pattern, and signatures of other makers who speak this API (``labels``). Claude
refuses what it did not sign; the others want the thinking of a turn that calls tools back.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from ...llm import marker, signers
from ...llm.losses import LossReport
from ..base import encode
from ..shared.mending import members_of, mended, mended_within
from ..shared.naming import ToolIds
from .labels import SEALS
from .vocabulary import ILLEGAL_IN_TOOL_ID

_MARK: Final = marker.PREFIX.encode()
# Every call in a history has its result, so that the calls' ids need no look of their own.
_BAD_RESULT_ID: Final = re.compile(rb'"tool_use_id"\s*:\s*"(?![a-zA-Z0-9_-]+")')
_THINKING: Final = re.compile(rb'"type"\s*:\s*"thinking"')
_EMPTY: Final = re.compile(rb'"signature"\s*:\s*(?:""|null)')
_MAY_MATTER = (b"tool_use", b"tool_result", b'"thinking"', _MARK)

_decode: Final = msgspec.json.Decoder().decode


def mend(body: bytes, losses: LossReport, signer: str = signers.CLAUDE) -> bytes:
    """*body* itself when there is nothing to mend, or when it cannot be read: then the upstream says so. Messages that
    need nothing keep their bytes. *signer*: whose signatures the upstream takes."""
    if _MARK not in body and not _BAD_RESULT_ID.search(body) and not (signer == signers.CLAUDE and _unsigned(body)):
        return body
    return mended(body, "messages", _Mender(losses, signer).message)


class _Mender:
    def __init__(self, losses: LossReport, signer: str) -> None:
        self._losses = losses
        self._signer = signer
        self._ids = ToolIds(ILLEGAL_IN_TOOL_ID)

    def message(self, raw: msgspec.Raw, at: str) -> msgspec.Raw | None:
        """*raw* itself, or mended; ``None`` when nothing is left of it."""
        if not any(word in bytes(raw) for word in _MAY_MATTER):
            return raw
        members = members_of(raw)
        content = members.get("content")
        if content is None or bytes(content).lstrip()[:1] != b"[":
            return raw
        return mended_within(raw, members, "content", at, self._block)

    def _block(self, raw: msgspec.Raw, at: str) -> msgspec.Raw | None:
        if not any(word in bytes(raw) for word in _MAY_MATTER):
            return raw
        block = members_of(raw)
        kind = _text(block.get("type"))
        if kind in SEALS:
            return self._thinking(raw, block, SEALS[kind], at)
        name = {"tool_use": "id", "tool_result": "tool_use_id"}.get(kind or "")
        id_ = _text(block.get(name)) if name else None
        if name is None or id_ is None or (fitting := self._ids(id_)) == id_:
            return raw
        self._losses.rewritten(f"{at}.{name}", "to the characters that the API takes")
        block[name] = msgspec.Raw(encode(fitting))
        return msgspec.Raw(encode(block))

    def _thinking(self, raw: msgspec.Raw, block: dict[str, msgspec.Raw], name: str, at: str) -> msgspec.Raw | None:
        seal = _text(block.get(name))
        if seal and not marker.is_mark(seal):
            return raw
        own = marker.unsealed(seal)
        if own is not None and own.signer == self._signer:
            block[name] = msgspec.Raw(encode(own.encrypted if own.signature is None else own.signature))
        elif name == "data" or self._signer == signers.CLAUDE or not _text(block.get("thinking")):
            self._losses.dropped(at, "thinking of another provider")
            return None
        elif not seal:
            return raw
        else:
            # Who does not check signatures wants the text.
            block[name] = msgspec.Raw(b'""')
        return msgspec.Raw(encode(block))


def _unsigned(body: bytes) -> bool:
    """Whether there is thinking that nobody signed."""
    if b'"thinking"' not in body:
        return False
    return bool(_EMPTY.search(body)) or len(_THINKING.findall(body)) > body.count(b'"signature"')


def _text(raw: Any) -> str | None:
    value = _decode(raw) if raw is not None else None
    return value if type(value) is str else None
