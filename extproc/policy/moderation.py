"""``moderation``: a service is asked whether what a client says, and what a model answers, may go on.

Two services are known by what they document: ``openai`` (the moderations API, which others serve too) and ``webhook``,
one of the operator's own: it is sent ``{"phase", "text", "model", "request_id"}`` and answers ``{"flagged",
"categories"}``.

An answer that is not streamed is judged whole. A streamed one by windows, ``realtime``: nothing goes on that the
service has not cleared; or at its end, ``final``: the client has it by then, and the record says what came of it. With
each part goes the end of what came before it, so that nothing hides by being cut in two.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from ..credentials.secrets import Secret
from ..effects import HttpAnswer, HttpCall, Pairs
from ..frozen import Frozen
from ..llm.events import ResponseEvent, ResponseStarted, TextDelta, ThinkingDelta, ToolInputDelta
from ..llm.request import Request
from .base import ALL_OF_IT, Asking, Context, Deny, Make, Policy, Unavailable, Window
from .given import Given
from .texts import Scope, said_in

OPENAI_URL = "https://api.openai.com/v1/moderations"
OVERLAP = 100
"""Characters of what came before that are shown again."""


class _Verdict(msgspec.Struct, frozen=True):
    """What a webhook answers."""

    flagged: bool
    categories: list[str] = []


class _Result(msgspec.Struct, frozen=True):
    flagged: bool
    categories: dict[str, bool | None] = {}


class _Moderation(msgspec.Struct, frozen=True):
    """What the moderations API answers: a result for each text."""

    results: list[_Result]


class _Service(Frozen):
    url: str
    key: Secret | None
    model: str
    categories: frozenset[str]
    """Those that count; empty: what the service calls flagged."""
    seconds: float
    body: Callable[[_Service, str, str, str, Context], bytes]
    """Of phase, text and model."""
    found: Callable[[bytes], _Verdict]
    """Raises msgspec.DecodeError, and ValidationError, which is one."""


class _Rules(Frozen):
    service: _Service
    wanted: Scope | None
    """``None``: requests are not looked at."""
    answers: bool
    streamed: Window
    max_chars: int
    status: int
    message: str


def configure(given: Given) -> Make:
    service = _service(given)
    everyone, history = given.flag("match_all_roles"), given.flag("match_all_conversation_history")
    wanted = Scope(everyone, history, given.flag("tool_results", everyone), given.flag("tool_arguments", everyone))
    request, answers = given.flag("check_request", True), given.flag("check_response")
    if not request and not answers:
        raise given.error("check_request", "it or check_response must be true")
    mode = given.choice("stream_check_mode", ("realtime", "final"))
    interval = given.count("stream_check_interval", 400) or 400
    status = given.count("deny_code", 200, least=200) or 200
    if status != 200 and not 400 <= status <= 599:
        raise given.error("deny_code", "expected 200 (an answer that refuses) or an error's status, 400 to 599")
    rules = _Rules(
        service,
        wanted if request else None,
        answers,
        Window(interval) if mode == "realtime" else Window(ALL_OF_IT, hold=False),
        given.count("max_chars", 8000, least=2 * OVERLAP) or 8000,
        status,
        given.text("deny_message", "The content was flagged by moderation"),
    )
    return lambda context: Moderation(rules, context)


def _service(given: Given) -> _Service:
    openai = given.choice("provider", ("webhook", "openai")) == "openai"
    return _Service(
        given.url("endpoint", OPENAI_URL if openai else None),
        given.secret("api_key") if openai else given.secret_if_any("api_key"),
        given.text("model", "omni-moderation-latest") if openai else "",
        frozenset(given.texts("categories") or ()),
        given.seconds("timeout", 5.0),
        _to_openai if openai else _to_webhook,
        _from_openai if openai else msgspec.json.Decoder(_Verdict).decode,
    )


def _to_openai(service: _Service, phase: str, text: str, model: str, context: Context) -> bytes:
    return msgspec.json.encode({"model": service.model, "input": text})


def _from_openai(body: bytes) -> _Verdict:
    results = msgspec.json.decode(body, type=_Moderation).results
    if not results:
        raise msgspec.DecodeError("no results")
    names = [name for result in results for name, is_so in result.categories.items() if is_so]
    return _Verdict(any(result.flagged for result in results), names)


def _to_webhook(service: _Service, phase: str, text: str, model: str, context: Context) -> bytes:
    asked = {"phase": phase, "text": text, "model": model, "request_id": context.request_id}
    return msgspec.json.encode(asked)


class Moderation(Policy):
    """Of one exchange."""

    def __init__(self, rules: _Rules, context: Context) -> None:
        self._rules = rules
        self._context = context
        self._model = ""
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

    def _judged(self, phase: str, text: str, goes_on: Request | list[ResponseEvent]) -> Asking:
        for piece in _pieces(text, self._rules.max_chars):
            verdict = yield from self._asked(phase, piece)
            service = self._rules.service
            wanted = service.categories.intersection(verdict.categories) if service.categories else None
            if wanted or (wanted is None and verdict.flagged):
                names = sorted(wanted or verdict.categories)
                self._context.facts["moderation_flagged"] = phase
                self._context.facts["moderation_categories"] = ",".join(names)[:256]
                return Deny(self._rules.message, self._rules.status)
        return goes_on

    def _asked(self, phase: str, text: str) -> Asking:
        service, facts = self._rules.service, self._context.facts
        body = service.body(service, phase, text, self._model, self._context)
        call = HttpCall(service.url, headers=_headers(service.key), body=body, seconds=service.seconds)
        began = time.monotonic()
        result = yield call
        facts["moderation_calls"] = facts.get("moderation_calls", 0) + 1
        facts["moderation_ms"] = facts.get("moderation_ms", 0) + round((time.monotonic() - began) * 1000)
        if not isinstance(result, HttpAnswer):
            raise Unavailable(f"no answer of the service: {result}")
        if result.status != 200:
            raise Unavailable(f"the service answered {result.status}")
        try:
            return service.found(result.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # What it says may quote what it was asked about.
            raise Unavailable("the service's answer cannot be read") from None


def _headers(key: Secret | None) -> Pairs:
    sent = (("content-type", "application/json"),)
    return sent if key is None else (*sent, ("authorization", f"Bearer {key.reveal()}"))


def _pieces(text: str, most: int) -> Iterator[str]:
    """*text* in parts of *most* characters at most, each beginning with the end of the one before."""
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate has no UTF-8
    at = 0
    while True:
        yield text[at : at + most]
        if at + most >= len(text):
            return
        at += most - OVERLAP
