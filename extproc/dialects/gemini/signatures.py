"""Thinking of other providers, in the one thing that Gemini's clients keep of thinking: ``thoughtSignature``.

Some clients keep the parts that are thoughts, some drop them from the conversation; all of them send back what stands
on a call. So a thought has its own seal, and the first call behind it bears a *carrier*: the thoughts before it, with
their texts. Both are base64 of our own, which SDKs may write in either alphabet.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from ...llm import marker
from ...llm.failures import ProtocolError
from ...llm.request import Thinking
from ..base import encode
from ..shared.reading import decode
from .words import SIGNER

OURS: Final = base64.b64encode(marker.PREFIX.encode())[:5]
"""How the base64 of ``gw1.`` begins, whatever follows."""
_FROM_URL: Final = str.maketrans("-_", "+/")


def is_ours(signature: str) -> bool:
    return signature.encode("utf-8", "replace").startswith(OURS)


def seal(text: str, signature: str | None, encrypted: str | None, signer: str) -> str | None:
    """The signature to show on a thought; ``None`` for one that its provider did not sign."""
    if signer == SIGNER and signature:
        return signature
    if signer == marker.SIGNER or not (signature or encrypted):
        return None
    return _written(marker.sealed(marker.Seal(signer, signature, encrypted)))


def carry(thoughts: list[Thinking], own: str | None) -> str | None:
    """The signature for a call behind *thoughts* of another provider's; *own*: what its provider gave with the call."""
    if own or not thoughts:
        return own
    members = [[each.text, each.signature, each.encrypted, each.signer] for each in thoughts]
    return _written(f"{marker.PREFIX}c.{encode(members).decode()}")


def read_seal(signature: str) -> marker.Seal | None:
    """What ``seal`` made of another provider's; ``None`` for any other text."""
    return marker.unsealed(_read(signature))


def read_carrier(signature: str, at: str) -> list[Thinking]:
    """The thoughts that a call's *signature* carries; none when it is the provider's own."""
    text = _read(signature)
    if text is None or not text.startswith(f"{marker.PREFIX}c."):
        return []
    try:
        members = decode(text[len(marker.PREFIX) + 2 :].encode(), at)
    except ProtocolError:
        return []
    found = []
    for each in members if type(members) is list else ():
        if type(each) is list and len(each) == 4 and type(each[0]) is str and type(each[3]) is str:
            found.append(Thinking(each[0], _text(each[1]), _text(each[2]), each[3], at=at))
    return found


def _written(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode()


def _read(signature: str) -> str | None:
    if not is_ours(signature):
        return None
    bare = signature.rstrip("=").translate(_FROM_URL)
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode()
    except ValueError:  # no base64, no ASCII, or no UTF-8
        return None


def _text(value: Any) -> str | None:
    return value if type(value) is str and value else None
