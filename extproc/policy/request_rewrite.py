"""``request_rewrite``: a model of the operator's rewrites what a client sends before anybody reads it.

The client's body goes, as a user's message under ``prompt`` as the system prompt, to the model that ``provider``,
``auth``, ``options`` and ``override`` name, in whichever API that provider has; what it answers is the body from there
on. It gets nothing else of the client's, no header and no key, and its own credential alone.
"""

from __future__ import annotations

import re
import time

import msgspec

from ..frozen import Frozen
from .base import Asking, Context, Make, ModelAnswer, Policy, Served, Unavailable
from .given import Given

_FENCED = re.compile(r"\s*```[a-zA-Z]*\s*\n(.*)\n\s*```\s*", re.DOTALL)
"""How models like to write JSON."""


class _Rules(Frozen):
    prompt: str
    served: Served
    seconds: float


def configure(given: Given) -> Make:
    prompt = given.text("prompt")
    if not prompt.strip():
        raise given.error("prompt", "is empty")
    rules = _Rules(prompt, given.served(), given.seconds("timeout", 20.0))
    return lambda context: RequestRewrite(rules, context)


class RequestRewrite(Policy):
    """Of one exchange."""

    def __init__(self, rules: _Rules, context: Context) -> None:
        self._rules = rules
        self._context = context

    def on_body(self, body: bytes) -> Asking:
        rules, context = self._rules, self._context
        began = time.monotonic()
        try:
            text = body.decode("utf-8", "replace")
            said = yield from context.models.answer(rules.served, rules.prompt, text, rules.seconds)
        finally:
            context.facts["request_rewrite_ms"] = round((time.monotonic() - began) * 1000)
        self._tell(said)
        return _body(said.text)

    def _tell(self, said: ModelAnswer) -> None:
        counts = {"input_tokens": said.usage.input_tokens, "output_tokens": said.usage.output_tokens}
        for name, count in counts.items():
            if count is not None:
                self._context.facts[f"request_rewrite_{name}"] = count
        self._context.facts["request_rewrite_model"] = said.model


def _body(text: str) -> bytes:
    """*text* as the body of a request. Raises Unavailable: that it is none is not the client's fault."""
    fenced = _FENCED.fullmatch(text)
    body = (text if fenced is None else fenced[1]).encode("utf-8", "replace")
    try:
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        raise Unavailable("what the model answered is no JSON object") from None
    return body
