"""Our own signature on thinking that no provider signed.

Some APIs demand a signature on every thinking block. Thinking that came without one gets this marker: an unkeyed hash
of the text, the same in every replica, by which we know it again when the client sends it back. It proves nothing and
must never reach a provider that checks signatures.
"""

from __future__ import annotations

import base64
import hashlib

PREFIX = "gw1."
SIGNER = "extproc"
"""The ``signer`` of a Thinking block that bears the marker."""


def mark(text: str) -> str:
    """The marker for a block of thinking."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:18]
    return PREFIX + base64.urlsafe_b64encode(digest).decode()


def is_mark(signature: str | None) -> bool:
    return signature is not None and signature.startswith(PREFIX)
