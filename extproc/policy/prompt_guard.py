"""``prompt_guard``: what a prompt must say, and what it must not.

With ``allow_patterns``, what matches none of them is denied; what matches one of ``deny_patterns`` is denied all the
same. Looked at are the texts of the user's last turn; with ``match_all_roles`` of everybody, with
``match_all_conversation_history`` of every turn, as one text, so that nothing hides by being cut into parts. A turn
without any text (an image) has nothing to be looked at, and passes.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..frozen import Frozen
from ..llm.embeddings import EmbedRequest
from ..llm.request import Request
from .base import Context, Deny, Make, Policy
from .denying import Denying, denying
from .given import Given
from .patterns import Pattern, encoded, patterns
from .texts import Scope, said_in, texts_to_embed

UNWANTED = "Request contains prohibited content"
NOT_WANTED = "Request doesn't match allow patterns"


class _Rules(Frozen):
    allow: list[Pattern]
    deny: list[Pattern]
    wanted: Scope
    denying: Denying


def configure(given: Given) -> Make:
    allow, deny = patterns(given, "allow_patterns"), patterns(given, "deny_patterns")
    if not allow and not deny:
        raise given.error("deny_patterns", "it or allow_patterns must hold a pattern")
    everyone, history = given.flag("match_all_roles"), given.flag("match_all_conversation_history")
    wanted = Scope(everyone, history, given.flag("tool_results", everyone), given.flag("tool_arguments", everyone))
    mode = given.choice("fail_mode", ("", "skip", "warn", "error"))
    if mode:
        given.fail_open, given.quiet = mode != "error", mode == "skip"
    rules = _Rules(allow, deny, wanted, denying(given))
    return lambda context: PromptGuard(rules, context)


class PromptGuard(Policy):
    """Of one exchange."""

    counts = True

    def __init__(self, rules: _Rules, context: Context) -> None:
        self._rules = rules
        self._facts = context.facts

    def on_request(self, request: Request) -> Request | Deny:
        return self._judged(said_in(request, self._rules.wanted)) or request

    def on_embed(self, request: EmbedRequest) -> EmbedRequest | Deny:
        return self._judged(texts_to_embed(request)) or request

    def _judged(self, texts: Iterable[str]) -> Deny | None:
        rules = self._rules
        text = encoded(" ".join(said for said in texts if said))
        if not text.strip():
            return None
        if rules.allow and not any(pattern.found_in(text) for pattern in rules.allow):
            return self._denied("allow_patterns", NOT_WANTED)
        for pattern in rules.deny:
            if pattern.found_in(text):
                return self._denied(pattern.path, UNWANTED)
        return None

    def _denied(self, why: str, message: str) -> Deny:
        self._facts["prompt_guard_pattern"] = why
        return self._rules.denying.deny(message)
