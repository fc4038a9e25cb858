"""How a policy denies, as its operator wants it said: ``deny_code``, ``deny_as`` and ``deny_message``."""

from __future__ import annotations

from ..frozen import Frozen
from .base import Deny
from .given import Given


class Denying(Frozen):
    status: int
    way: str
    message: str

    def deny(self, text: str) -> Deny:
        """Unless the operator says otherwise, the client is told *text*."""
        refusal, worded = self.way != "answer", self.way == "worded_refusal"
        return Deny(self.message or text, self.status, refusal=refusal, worded=worded)


def denying(given: Given) -> Denying:
    given.guards = True
    status = given.count("deny_code", 200, least=200)
    if status != 200 and not 400 <= status <= 599:
        raise given.error("deny_code", "expected 200 (an answer that refuses) or an error's status, 400 to 599")
    way = given.choice("deny_as", ("refusal", "worded_refusal", "answer"))
    return Denying(status, way, given.text("deny_message", ""))
