"""``moderation``: a service is asked whether what a client says, and what a model answers, may go on.

Which services there are, and what each is sent, stands in ``moderators.py``.

An answer that is not streamed is judged whole. A streamed one by windows, ``realtime``: nothing goes on that the
service has not cleared; or at its end, ``final``: the client has it by then, and the record says what came of it. With
each part goes the end of what came before it, so that nothing hides by being cut in two.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator

import msgspec

from ..effects import Effect, HttpAnswer, Result
from ..frozen import Frozen
from ..llm.embeddings import EmbedRequest
from ..llm.events import ResponseEvent, ResponseStarted, TextDelta, ThinkingDelta, ToolInputDelta
from ..llm.request import Request
from .base import ALL_OF_IT, Asking, Context, Make, Policy, Unavailable, Window
from .denying import Denying, denying
from .given import Given
from .moderators import LEVELS, SERVICES, Moderator, Shown, Verdict
from .texts import Scope, said_in, texts_to_embed

OVERLAP = 100
"""Characters of what came before that are shown again."""
RISK = "llm_content_risk_level"
"""Under which name the highest level of risk is told, which APISIX's users know."""
REFUSAL = "The content was flagged by moderation"


class _Rules(Frozen):
    service: Moderator
    seconds: float
    categories: frozenset[str]
    """Those that count; empty: what the service calls flagged."""
    wanted: Scope | None
    """``None``: requests are not looked at."""
    answers: bool
    streamed: Window
    max_chars: int
    denying: Denying


def configure(given: Given) -> Make:
    service = SERVICES[given.choice("provider", tuple(SERVICES))](given)
    everyone, history = given.flag("match_all_roles"), given.flag("match_all_conversation_history")
    wanted = Scope(everyone, history, given.flag("tool_results", everyone), given.flag("tool_arguments", everyone))
    request, answers = given.flag("check_request", True), given.flag("check_response")
    if not request and not answers:
        raise given.error("check_request", "it or check_response must be true")
    mode = given.choice("stream_check_mode", ("realtime", "final"))
    interval = given.count("stream_check_interval", 400)
    chars = given.count("max_chars", service.max_chars, least=2 * OVERLAP)
    if chars > service.most_chars:
        raise given.error("max_chars", f"the service takes {service.most_chars} at most")
    rules = _Rules(
        service,
        given.seconds("timeout", 5.0),
        frozenset(given.texts("categories") or ()),
        wanted if request else None,
        answers,
        Window(interval) if mode == "realtime" else Window(ALL_OF_IT, hold=False),
        chars,
        denying(given),
    )
    return lambda context: Moderation(rules, context)


class Moderation(Policy):
    """Of one exchange."""

    def __init__(self, rules: _Rules, context: Context) -> None:
        self._rules = rules
        self._context = context
        self._model = ""
        self._began = time.monotonic()
        self._asked_so_far = 0
        self._ends: dict[int, str] = {}
        """Of each block of the answer, the last characters that have been judged."""

    def on_request(self, request: Request) -> Request | Asking:
        rules = self._rules
        self._model = request.model or ""
        if rules.answers:
            self.window = rules.streamed if request.stream else Window(ALL_OF_IT)
        if rules.wanted is None:
            return request
        text = "\n".join(said for said in said_in(request, rules.wanted) if said)
        return self._judged("request", text, request) if text.strip() else request

    def on_embed(self, request: EmbedRequest) -> EmbedRequest | Asking:
        self._model = request.model
        text = "\n".join(texts_to_embed(request)) if self._rules.wanted is not None else ""
        return self._judged("request", text, request) if text.strip() else request

    def on_events(self, events: list[ResponseEvent], last: bool) -> list[ResponseEvent] | Asking:
        text = "\n".join(self._said(events))
        return self._judged("response", text, events) if text.strip() else events

    def _said(self, events: list[ResponseEvent]) -> list[str]:
        """What is new in each block, behind the end of what was there."""
        new: dict[int, list[str]] = {}
        for event in events:
            if isinstance(event, (TextDelta, ThinkingDelta)):
                new.setdefault(event.block, []).append(event.text)
            elif isinstance(event, ToolInputDelta):
                new.setdefault(event.block, []).append(event.fragment)
            elif isinstance(event, ResponseStarted):
                self._model = event.model or self._model
        found = []
        for block, pieces in new.items():
            text = self._ends.get(block, "") + "".join(pieces)
            self._ends[block] = text[-OVERLAP:]
            found.append(text)
        return found

    def _judged(self, phase: str, text: str, goes_on: Request | EmbedRequest | list[ResponseEvent]) -> Asking:
        rules, facts = self._rules, self._context.facts
        for piece in _pieces(text, rules.max_chars):
            verdict = yield from self._asked(phase, piece)
            facts[RISK] = max(facts.get(RISK, LEVELS[0]), verdict.level, key=LEVELS.index)
            wanted = rules.categories.intersection(verdict.categories) if rules.categories else None
            if wanted or (wanted is None and verdict.flagged):
                facts["moderation_flagged"] = phase
                facts["moderation_categories"] = ",".join(sorted(wanted or verdict.categories))[:256]
                return rules.denying.deny(verdict.answer or REFUSAL)
        return goes_on

    def _asked(self, phase: str, text: str) -> Generator[Effect, Result, Verdict]:
        rules, context = self._rules, self._context
        began = time.monotonic()
        # A signature is good for some minutes, and a stream may take longer.
        now = context.now + began - self._began
        self._asked_so_far += 1
        shown = Shown(phase, text, self._model, context.request_id, self._asked_so_far, now)
        result = yield rules.service.call(shown, rules.seconds)
        facts = context.facts
        facts["moderation_calls"] = self._asked_so_far
        facts["moderation_ms"] = facts.get("moderation_ms", 0) + round((time.monotonic() - began) * 1000)
        if not isinstance(result, HttpAnswer):
            raise Unavailable(f"no answer of the service: {result}")
        if result.status != 200:
            raise Unavailable(f"the service answered {result.status}")
        try:
            return rules.service.verdict(result.body)
        except (msgspec.DecodeError, ValueError):
            # What it says may quote what it was asked about.
            raise Unavailable("the service's answer cannot be read") from None


def _pieces(text: str, most: int) -> Iterator[str]:
    """*text* in parts of *most* characters at most, each beginning with the end of the one before."""
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate has no UTF-8
    at = 0
    while True:
        yield text[at : at + most]
        if at + most >= len(text):
            return
        at += most - OVERLAP
