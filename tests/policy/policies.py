"""Policies that tests register: each shows one thing that the protocol allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from extproc import policy
from extproc.effects import HttpAnswer, HttpCall
from extproc.llm.events import ResponseEvent, TextDelta
from extproc.llm.request import Message, Request
from extproc.policy.base import ALL_OF_IT, Asking, Context, Deny, Make, Policy, Unavailable, Window
from extproc.policy.given import Given


def marker(given: Given) -> Make:
    """Adds a user's message, and signs every text of the answer."""
    text, signs = given.text("text"), given.flag("signs")

    class Marker(Policy):
        window = Window() if signs else None

        def on_request(self, request: Request) -> Request:
            return replace(request, messages=[*request.messages, Message("user", text)])

        def on_events(self, events: list[ResponseEvent], last: bool) -> list[ResponseEvent]:
            return [replace(e, text=e.text.upper()) if isinstance(e, TextDelta) else e for e in events]

    return lambda context: Marker()


def words(given: Given) -> Make:
    """Denies requests and answers with one of its words in them."""
    unwanted, status = given.texts("deny") or [], given.count("status", 200)
    chars, holds = given.count("window", 0, least=0), given.flag("hold", True)
    window = Window(ALL_OF_IT if chars is None else chars, holds)

    class Words(Policy):
        def __init__(self) -> None:
            self.window = window

        def on_request(self, request: Request) -> Request | Deny:
            text = str(request.messages)
            return Deny("not this", status) if any(word in text for word in unwanted) else request

        def on_events(self, events: list[ResponseEvent], last: bool) -> list[ResponseEvent] | Deny:
            text = "".join(e.text for e in events if isinstance(e, TextDelta))
            return Deny("not that", status) if any(word in text for word in unwanted) else events

    return lambda context: Words()


def service(given: Given) -> Make:
    """Asks a service about everything: what it does not answer with 200 is denied; a 503 says nothing."""
    url, answers = given.text("url"), given.flag("answers")

    class Service(Policy):
        window = Window() if answers else None

        def __init__(self, context: Context) -> None:
            self._context = context

        def _ask(self, it: Any, text: str) -> Asking:
            result = yield HttpCall(url, body=text.encode(), seconds=20.0)
            if not isinstance(result, HttpAnswer) or result.status == 503:
                raise Unavailable(str(result))
            self._context.facts["service_status"] = result.status
            return it if result.status == 200 else Deny("the service says no")

        def on_request(self, request: Request) -> Asking:
            return self._ask(request, "request")

        def on_events(self, events: list[ResponseEvent], last: bool) -> Asking:
            return self._ask(events, "last" if last else "events")

    return Service


def broken(given: Given) -> Make:
    def make(context: Context) -> Policy:
        raise ZeroDivisionError

    return make


def illegal(given: Given) -> Make:
    class Illegal(Policy):
        window = Window()

        def on_events(self, events: list[ResponseEvent], last: bool) -> list[ResponseEvent]:
            return events[1:]

    return lambda context: Illegal()


@pytest.fixture
def policies(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for kind in (marker, words, service, broken, illegal):
        monkeypatch.setitem(policy.KINDS, kind.__name__, kind)
    yield
