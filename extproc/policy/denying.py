"""How a policy denies, as its operator wants it said: ``deny_code``, ``deny_as`` and ``deny_message``."""

from __future__ import annotations

from ..frozen import Frozen
from .base import Deny
from .given import Given


class Denying(Frozen):
    status: int
    refusal: bool
    message: str

    def deny(self, text: str) -> Deny:
        """Unless the operator says otherwise, the client is told *text*."""
        return Deny(self.message or text, self.status, refusal=self.refusal)


def denying(given: Given) -> Denying:
    given.guards = True
    status = given.count("deny_code", 200, least=200)
    if status != 200 and not 400 <= status <= 599:
        raise given.error("deny_code", "expected 200 (an answer that refuses) or an error's status, 400 to 599")
    refusal = given.choice("deny_as", ("refusal", "answer")) == "refusal"
    return Denying(status, refusal, given.text("deny_message", ""))
