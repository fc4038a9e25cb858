"""How an exchange ends, as a table of where it stood; and that the record is told to sinks as it is."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.exchange.ending import ending, ending_of_ours
from extproc.exchange.machine import Exchange, Shared
from extproc.exchange.phases import Phase
from extproc.exchange.router import Router
from extproc.exchange.translator import Translator
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.sinks import Sinks
from extproc.translation.translation import Translation

from .conversation import NOW, OPENAI, Conversation, leaf

CHAT: dict[str, Any] = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
COMPLETE = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def answered(*chunks: bytes, end: bool = False) -> Translation:
    translation = Translation("openai_chat", "openai_chat", now=NOW)
    translation.request(b'{"model":"gpt-5","stream":true,"messages":[{"role":"user","content":"hi"}]}')
    translation.response_head(200, [("content-type", "text/event-stream")])
    for chunk in chunks:
        translation.response_body(chunk)
    if end:
        translation.response_body(b"", end_of_stream=True)
    return translation


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.OVER])
def test_every_phase_has_an_ending(phase: Phase) -> None:
    assert ending(phase) is ending(phase, answered())


@pytest.mark.parametrize("phase", [Phase.WHOLE, Phase.STREAMING, Phase.ENDED])
def test_a_response_that_has_told_its_end_is_not_cut(phase: Phase) -> None:
    assert ending(phase, answered(COMPLETE)) is Ending.COMPLETE
    assert ending(phase, answered(b"", end=True)) is Ending.FAILED


@pytest.mark.parametrize(
    ("phase", "status", "expected"),
    [
        (Phase.OPEN, 400, Ending.REFUSED),
        (Phase.REQUEST, 500, Ending.REFUSED),
        (Phase.REQUEST, 200, Ending.ANSWERED),
        (Phase.SENT, 502, Ending.FAILED),
        (Phase.WHOLE, 502, Ending.FAILED),
        (Phase.STREAMING, 502, Ending.CUT),
    ],
)
def test_what_we_answered_ourselves(phase: Phase, status: int, expected: Ending) -> None:
    assert ending_of_ours(phase, status) is expected


class Listening:
    def __init__(self) -> None:
        self.told: list[tuple[str, Began, Any]] = []

    def started(self, began: Began) -> None:
        self.told.append(("started", began, None))

    def first_content(self, began: Began, seconds: float) -> None:
        self.told.append(("first content", began, seconds))

    def ended(self, began: Began, outcome: Outcome) -> None:
        self.told.append(("ended", began, outcome))


def listened(role: type[Exchange]) -> tuple[Conversation, Listening]:
    sink = Listening()
    times = iter(range(1000))
    return Conversation(
        role(Shared(lambda: NOW, lambda: NOW + next(times), lambda: "made-up", sinks=Sinks([sink])))
    ), sink


def test_what_nobody_asks_for_is_not_made() -> None:
    envoy, sink = listened(Translator)
    for told, each in ((sink.told, envoy), ([], Conversation())):
        each.headers("/v1/chat/completions", attributes=leaf(OPENAI))
        each.body(CHAT)
        outcome = each.exchange.close(wanted=False)
        assert (outcome.role, outcome.ending) == ("translator", Ending.CANCELLED)
        assert outcome.provider == ("openai" if told else "")
    assert sink.told[-1][2].provider == "openai"


def test_sinks_are_told_of_start_first_content_and_end() -> None:
    envoy, sink = listened(Translator)
    envoy.headers("/v1/chat/completions?key=secret", {"x-request-id": "id-7"}, attributes=leaf(OPENAI))
    assert [what for what, _, _ in sink.told] == ["started"], "at once"
    envoy.body({**CHAT, "stream": True})
    envoy.answer(200, {"content-type": "text/event-stream"})
    envoy.chunk(b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n')
    envoy.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n')
    envoy.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"b"}}]}\n\n')
    envoy.chunk(COMPLETE, end=True)
    outcome = envoy.close()
    assert [what for what, _, _ in sink.told] == ["started", "first content", "ended"]
    began = sink.told[0][1]
    assert began == Began("translator", NOW, "id-7", "POST", "/v1/chat/completions", "openai_chat")
    assert all(each is began for _, each, _ in sink.told)
    assert sink.told[1][2] == outcome.first_content_seconds and sink.told[2][2] is outcome


@pytest.mark.parametrize("role", [Translator, Router])
def test_an_end_has_a_start_even_if_nothing_came(role: type[Exchange]) -> None:
    envoy, sink = listened(role)
    outcome = envoy.close()
    assert [(what, each.role) for what, each, _ in sink.told] == [("started", role.role), ("ended", role.role)]
    assert outcome.ending is Ending.CANCELLED


def test_one_without_an_id_is_given_one() -> None:
    envoy, sink = listened(Translator)
    envoy.headers("/v1/chat/completions", attributes=leaf(OPENAI))
    assert sink.told[0][1].request_id == "made-up"
