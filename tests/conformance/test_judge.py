"""The judge must see what a bad gateway does."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from extproc.conformance.features import BY_NAME
from extproc.conformance.judge import Grade, Judge, Judgement, Reported, Script, Seen
from extproc.conformance.offline import Offline
from extproc.conformance.sides import AskedSide, AskingSide
from extproc.dialects.base import ClientCall, ResponseHead
from extproc.llm.losses import Action

Spoilt = Callable[[Seen], Seen]


class Bad(Offline):
    """A gateway that spoils what a good one does."""

    def __init__(self, client: str, spoil: Spoilt) -> None:
        super().__init__(client)
        self._spoil = spoil

    def ask(self, call: ClientCall, provider: AskedSide, script: Script) -> Seen:
        return self._spoil(super().ask(call, provider, script))


def members(call: ClientCall | None, **changed: object) -> ClientCall:
    assert call is not None
    body = {**msgspec.json.decode(call.body), **changed}
    return replace(call, body=msgspec.json.encode({k: v for k, v in body.items() if v is not None}))


def sent_without(name: str) -> Spoilt:
    return lambda seen: replace(seen, received=members(seen.received, **{name: None}))


def whole_only(spoil: Spoilt) -> Spoilt:
    return lambda seen: seen if seen.head.media_type == "text/event-stream" else spoil(seen)


def cut_short(seen: Seen) -> Seen:
    return replace(seen, body=seen.body[: len(seen.body) // 2])


def reporting(path: str, action: Action) -> Spoilt:
    return lambda seen: replace(seen, reported=seen.reported | {Reported(path, action)})


def said(name: str, spoil: Spoilt, client: str = "openai_chat", upstream: str = "anthropic_messages") -> Judgement:
    return Judge(Bad(client, spoil)).judge(AskingSide(client, "claude-opus-4-8"), AskedSide(upstream), BY_NAME[name])


def same(seen: Seen) -> Seen:
    return seen


def test_what_is_gone_without_a_word_is_silent() -> None:
    found = said("tools", sent_without("tools"))
    assert found.grade is Grade.SILENT and "get_weather" in found.detail and found.grade.is_fault


def test_what_is_gone_and_said_is_lost() -> None:
    def spoil(seen: Seen) -> Seen:
        tools = b'"tools"' in seen.received.body if seen.received else False
        return reporting("tools", Action.DROPPED)(sent_without("tools")(seen)) if tools else seen

    found = said("tools", spoil)
    assert found == Judgement(Grade.LOST, "tools:dropped") and not found.grade.is_fault


def test_what_every_request_loses_is_no_loss_of_a_feature() -> None:
    assert said("tools", reporting("x", Action.DROPPED)).grade is Grade.EXACT


def test_an_answer_that_breaks_off_is_broken() -> None:
    assert said("answer", cut_short).grade is Grade.BROKEN
    assert said("answer", whole_only(cut_short)).grade is Grade.BROKEN, "the worse of the two counts"


def test_a_cut_stream_that_looks_whole_is_silent() -> None:
    def healed(seen: Seen) -> Seen:
        whole = (
            b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
            b'[{"index":0,"delta":{"role":"assistant","content":"He"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        )
        return replace(seen, body=whole)

    assert said("cut", same).grade is Grade.EXACT
    assert said("cut", healed).grade is Grade.SILENT


def test_a_refusal_is_told_from_a_failure() -> None:
    def refuses(seen: Seen) -> Seen:
        body = b'{"error": {"message": "no", "type": "invalid_request_error", "code": null, "param": null}}'
        return Seen(None, frozenset(), ResponseHead(400, [("content-type", "application/json")]), body)

    assert said("tools", refuses) == Judgement(Grade.REFUSED, "no")
    found = said("tools", lambda seen: replace(refuses(seen), head=ResponseHead(500, seen.head.headers)))
    assert found.grade is Grade.BROKEN and "500" in found.detail


def test_no_answer_at_all_is_broken() -> None:
    def dies(seen: Seen) -> Seen:
        raise ConnectionResetError("reset by peer")

    assert said("text", dies) == Judgement(Grade.BROKEN, "reset by peer")


def test_a_request_that_its_upstream_cannot_read_is_broken() -> None:
    found = said("text", lambda seen: replace(seen, received=members(seen.received, messages="x")))
    assert found.grade is Grade.BROKEN and "cannot read" in found.detail


def test_a_lost_signature_is_seen() -> None:
    def forgets(seen: Seen) -> Seen:
        return replace(seen, body=seen.body.replace(b"c2lnbmVk", b"c2ln"))

    assert said("signatures", same).grade is Grade.EXACT
    assert said("signatures", forgets).grade is Grade.SILENT


@pytest.mark.parametrize(
    ("name", "client", "upstream"),
    [
        ("cache", "gemini", "anthropic_messages"),  # the client's API has none
        ("reasoning_usage", "openai_chat", "bedrock_converse"),  # the upstream's has none
        ("reasoning_usage", "bedrock_converse", "openai_chat"),
        ("signatures", "openai_chat", "openai_chat"),
    ],
)
def test_what_an_api_has_no_words_for_does_not_concern_it(name: str, client: str, upstream: str) -> None:
    assert said(name, same, client, upstream) == Judgement(Grade.ABSENT)


@pytest.mark.parametrize(
    ("name", "client", "upstream", "grade"),
    [
        ("json", "openai_chat", "anthropic_messages", Grade.EMULATED),
        ("one_call", "openai_chat", "gemini", Grade.LOST),
        ("audio", "openai_chat", "anthropic_messages", Grade.REFUSED),
        ("documents", "openai_chat", "bedrock_converse", Grade.MAPPED),
    ],
)
def test_grades_of_our_own_translation(name: str, client: str, upstream: str, grade: Grade) -> None:
    assert said(name, same, client, upstream).grade is grade


def test_the_worse_of_two_findings() -> None:
    exact, lost = Judgement(Grade.EXACT), Judgement(Grade.LOST)
    assert exact.or_worse(lost) is lost and lost.or_worse(exact) is lost
