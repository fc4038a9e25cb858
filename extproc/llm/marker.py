"""Our own marks in what clients keep and send back: how a conversation remembers without anyone keeping state.

Some APIs demand a signature on every thinking block. Thinking that came without one gets a *mark*: an unkeyed hash of
the text, the same in every replica, by which we know it again. It proves nothing and must never reach a provider that
checks signatures.

Where a provider did sign, and the client's API has no place for another provider's signature, it travels *sealed*: in
the signature or the data of a thinking block, or behind a tool call's id, of which clients keep every character.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from ..frozen import Frozen

PREFIX: Final = "gw1."
SIGNER: Final = "extproc"
"""The ``signer`` of a Thinking block that bears the marker."""

IN_ID: Final = "_gw1_"
"""Parts a tool call's id from the signature that is sealed behind it: every API allows these characters in ids."""
FITTED: Final = "_gw0_"
"""Parts what an id looks like from the id itself, where an API allows fewer characters than the one it came from."""
_HEAD: Final = 24
"""Characters of such an id that are there for people."""
_NOT_IN_ID: Final = re.compile(r"[^A-Za-z0-9_-]")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}\Z")
_TO_URL: Final = str.maketrans("+/", "-_")
_FROM_URL: Final = str.maketrans("-_", "+/")


class Seal(Frozen):
    """What a provider gave with its thinking: a ``signature`` over the text, or the thinking itself, ``encrypted``."""

    signer: str
    signature: str | None = None
    encrypted: str | None = None


def mark(text: str) -> str:
    """The marker for a block of thinking."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:18]
    return PREFIX + base64.urlsafe_b64encode(digest).decode()


def is_mark(signature: str | None) -> bool:
    """Whether *signature* is of our own making: a mark, or a sealed one."""
    return signature is not None and signature.startswith(PREFIX)


def sealed(seal: Seal) -> str:
    """*seal* as one text, for a client whose API has a place for its own provider's only."""
    if seal.encrypted is not None:
        return f"{PREFIX}e.{seal.signer}.{seal.encrypted}"
    return f"{PREFIX}s.{seal.signer}.{seal.signature or ''}"


def unsealed(text: str | None) -> Seal | None:
    """What ``sealed`` made a text of; ``None`` for any other text."""
    if text is None or not text.startswith((f"{PREFIX}e.", f"{PREFIX}s.")):
        return None
    kind = text[len(PREFIX)]
    signer, dot, data = text[len(PREFIX) + 2 :].partition(".")
    if not dot or not data:
        return None
    return Seal(signer, encrypted=data) if kind == "e" else Seal(signer, data)


def fitted_id(id_: str) -> str:
    """*id_* in letters, digits, ``_`` and ``-``: others are written so that ``unsealed_id`` finds them again. Some
    providers count their calls by it (Kimi's ``functions.NAME:INDEX``)."""
    head, changed = _NOT_IN_ID.subn("_", id_)
    return f"{head[:_HEAD]}{FITTED}{_url64(id_)}" if changed else id_


def _as_it_was(fitted: str) -> str:
    if FITTED not in fitted:
        return fitted
    text = fitted.partition(FITTED)[2]
    try:
        id_ = base64.b64decode(_padded(text.translate(_FROM_URL)), validate=True).decode("utf-8", "surrogatepass")
    except ValueError:
        return fitted
    return id_ if fitted_id(id_) == fitted else fitted


def _url64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def sealed_id(id_: str, signature: str | None) -> str:
    """A call's *id_* with the *signature* of the call sealed behind it."""
    if not signature:
        return id_
    bare = signature.rstrip("=")
    if _BASE64.match(signature) and signature == _padded(bare):
        return f"{id_}{IN_ID}b{bare.translate(_TO_URL)}"
    return f"{id_}{IN_ID}t{_url64(signature)}"


def unsealed_id(id_: str) -> tuple[str, str | None]:
    """The id as the provider knows it, and the signature that was sealed behind it, to the character."""
    if IN_ID not in id_:
        return _as_it_was(id_), None
    own, _, sealed_text = id_.partition(IN_ID)
    if len(sealed_text) < 2 or sealed_text[0] not in "bt":
        return _as_it_was(id_), None
    data = _padded(sealed_text[1:].translate(_FROM_URL))
    if sealed_text[0] == "b":
        return _as_it_was(own), data
    try:
        return _as_it_was(own), base64.b64decode(data, validate=True).decode("utf-8", "surrogatepass")
    except ValueError:  # no base64, no ASCII, or no UTF-8
        return id_, None


def _padded(bare: str) -> str:
    return bare + "=" * (-len(bare) % 4)
