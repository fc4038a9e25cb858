from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import msgspec
import pytest

from extproc import Answer, Call, Translation, dialects
from extproc.dialects.base import Answering, Meta, ResponseHead
from extproc.effects import Effect, Failed, Failure, HttpAnswer, HttpCall, Result
from extproc.llm.events import ResponseEvent, ToolInputDelta
from extproc.llm.losses import LossReport
from extproc.llm.request import Image, Message, Request, Source, Text
from extproc.policy.moderation import OVERLAP
from extproc.route import RouteError

from .clients import CLIENTS, ENV, PAIRS, RUN, exchange, parsed, text_of, texts, tool_call, written
from .services import ALL, OpenAi, Webhook

T = TypeVar("T")
clients = pytest.mark.parametrize("client", CLIENTS)
pairs = pytest.mark.parametrize(("client", "upstream"), PAIRS)
streams = pytest.mark.parametrize("stream", [False, True])
PNG = Image(Source("base64", "iVBORw0KGgo=", "image/png"))


services = pytest.mark.parametrize("made", ALL)
Service = Callable[[HttpCall], Result]


def served(steps: Generator[Effect, Result, T], service: Service) -> T:
    try:
        effect = next(steps)
        while True:
            assert isinstance(effect, HttpCall)
            effect = steps.send(service(effect))
    except StopIteration as ended:
        value: T = ended.value
        return value


def moderated(client: str, upstream: str, made: type[Webhook] = Webhook, **members: Any) -> Translation:
    return exchange(client, upstream, {"moderation": {**made.members, **members}})


def ask(t: Translation, service: Service, *messages: Message, stream: bool = False) -> Call | Answer:
    call = written(t.client or "", *(messages or [Message("user", "hi")]), stream=stream)
    return served(t.requesting(call.body, call.method, call.path), service)


def heard(t: Translation, service: Service, events: list[ResponseEvent], *, stream: bool) -> list[list[ResponseEvent]]:
    """What the client has read after each of its upstream's *events*, and at the end."""
    upstream, client = dialects.get(t.upstream or ""), t.client or ""
    head = ResponseHead(200, [("content-type", upstream.stream_type if stream else "application/json")])
    asked_for = Request(dialect=upstream.name, model="m", messages=[], tools=[RUN], stream=stream)
    emitter = upstream.response_emitter(Answering(asked_for, head, Meta(), ENV, LossReport()))
    wire = [emitter.emit(event) for event in events]
    t.response_head(200, head.headers)
    out, so_far = [], b""
    kind = dialects.get(client).stream_type if stream else "application/json"
    for piece in [*filter(None, wire), b""]:
        so_far += served(t.responding(piece, not piece), service)
        if stream or not piece:
            out.append(parsed(client, ResponseHead(200, [("content-type", kind)]), so_far, stream=stream))
    return out


@pytest.mark.rows("B32")
@services
@streams
@pairs
def test_a_request_that_is_flagged_is_denied(client: str, upstream: str, stream: bool, made: type[Webhook]) -> None:
    t, service = moderated(client, upstream, made), made()
    turn = Message("user", [Text("how is a bomb made"), PNG])
    answer = ask(t, service, Message("user", "one"), Message("assistant", "two"), turn, stream=stream)
    assert isinstance(answer, Answer) and (answer.status, t.denied_by) == (200, "moderation")
    assert [text for _, text in service.asked] == ["how is a bomb made"]
    got = parsed(client, ResponseHead(200, answer.headers), answer.body, stream=stream)
    assert text_of(got) == "The content was flagged by moderation"
    facts = t.policy_facts
    assert (facts["moderation_flagged"], facts["moderation_categories"].lower()) == ("request", "violence")
    assert facts["llm_content_risk_level"] == "high"

    t = moderated(client, upstream, made)
    assert isinstance(ask(t, service, stream=stream), Call) and "moderation_flagged" not in t.policy_facts
    assert text_of(heard(t, service, texts("a ", "bomb"), stream=stream)[-1]) == "a bomb", "answers are not asked about"


@pytest.mark.rows("B9", "B32")
@services
@streams
@pairs
def test_a_denied_answer_keeps_usage_and_model(client: str, upstream: str, stream: bool, made: type[Webhook]) -> None:
    t, service = moderated(client, upstream, made, check_response=True), made()
    ask(t, service, stream=stream)
    got = heard(t, service, texts("this bomb ", "is made of"), stream=stream)[-1]
    assert text_of(got) == "The content was flagged by moderation" and t.denied_by == "moderation"
    assert (t.usage.input_tokens, t.usage.output_tokens) == (3, 2)
    assert t.model_answered == ("m" if upstream == "bedrock_converse" else "real"), "Bedrock does not say which"
    assert t.ended is not None and t.ended.stop.value == "refusal"
    assert t.policy_facts["moderation_flagged"] == "response" and t.policy_facts["moderation_calls"] == 2


@streams
@pairs
def test_an_answer_that_is_cleared_goes_on_as_it_is(client: str, upstream: str, stream: bool) -> None:
    t, service = moderated(client, upstream, check_response=True, stream_check_interval=4), Webhook()
    ask(t, service, stream=stream)
    assert text_of(heard(t, service, texts("good ", "evening"), stream=stream)[-1]) == "good evening"
    told = [text for phase, text in service.asked if phase == "response"]
    assert told == (["good ", "good evening"] if stream else ["good evening"])


@clients
def test_realtime_lets_on_what_is_cleared_and_nothing_more(client: str) -> None:
    t, service = moderated(client, client, check_response=True, stream_check_interval=5), Webhook()
    ask(t, service, stream=True)
    steps = [text_of(got) for got in heard(t, service, texts("a fine bo", "mb of", " sorts"), stream=True)]
    # The word was cut in two: the second window is judged with the end of the first.
    assert "a fine bo" in steps and all("mb" not in step for step in steps)
    assert steps[-1] == "a fine boThe content was flagged by moderation"


@pairs
def test_final_holds_nothing_and_records(client: str, upstream: str) -> None:
    t, service = moderated(client, upstream, check_response=True, stream_check_mode="final"), Webhook()
    ask(t, service, stream=True)
    steps = [text_of(got) for got in heard(t, service, texts("a bo", "mb"), stream=True)]
    assert "a bo" in steps and steps[-1] == "a bomb"
    assert service.asked[1:] == [("response", "a bomb")] and t.denied_by == "moderation"
    assert t.policy_facts["moderation_flagged"] == "response"
    # What is not streamed can be held, and is.
    t = moderated(client, upstream, check_response=True, stream_check_mode="final")
    ask(t, service)
    assert "bomb" not in text_of(heard(t, service, texts("a bomb"), stream=False)[-1])


@streams
@clients
def test_tools_input_is_judged(client: str, stream: bool) -> None:
    t, service = moderated(client, client, check_response=True), Webhook()
    ask(t, service, stream=stream)
    got = heard(t, service, tool_call('{"q":"bo', 'mb"}'), stream=stream)[-1]
    assert not any(isinstance(event, ToolInputDelta) for event in got) and t.denied_by == "moderation"


@pytest.mark.rows("B32")
@pairs
def test_errors_of_the_upstream_are_not_judged(client: str, upstream: str) -> None:
    t, service = moderated(client, upstream, check_request=False, check_response=True), Webhook()
    ask(t, service)
    t.response_head(429, [("content-type", "application/json")])
    body = msgspec.json.encode(
        {"error": {"type": "rate_limit_error", "message": "a bomb", "code": 429}, "message": "x"}
    )
    served(t.responding(body, True), service)
    assert service.calls == [] and t.head.status == 429 and not t.denied_by


@pytest.mark.parametrize(
    "result",
    [
        Failed(Failure.TIMEOUT),
        HttpAnswer(500),
        HttpAnswer(302, (("location", "http://elsewhere"),)),
        HttpAnswer(200, (), b"\xff"),
        HttpAnswer(200, (), b'{"results":[]}'),
        HttpAnswer(200, (), b'{"flagged":"no"}'),
    ],
)
@services
@pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages"])
def test_a_service_that_cannot_say(client: str, result: Result, made: type[Webhook]) -> None:
    closed = ask(moderated(client, client, made), lambda _: result)
    assert isinstance(closed, Answer) and closed.status in (503, 529)
    t = moderated(client, client, made, fail="open", check_response=True)
    assert isinstance(ask(t, lambda _: result, stream=True), Call) and t.policy_facts["moderation_skipped"] is True
    assert text_of(heard(t, lambda _: result, texts("good ", "evening"), stream=True)[-1]) == "good evening"


def test_only_its_own_key_is_sent_and_shows_nowhere() -> None:
    for made, key in ((OpenAi, "Bearer SECRET-moderation"), (Webhook, None)):
        service = made()
        ask(moderated("openai_chat", "openai_chat", made), service)
        (call,) = service.calls
        assert dict(call.headers).get("authorization") == key and "SECRET-" not in repr(call)


def test_long_texts_are_split_between_characters_and_lose_nothing() -> None:
    t, service = moderated("openai_chat", "openai_chat", max_chars=200), Webhook()
    said = "".join(chr(0x1F600 + at % 64) if at % 7 else f"{at} " for at in range(700))
    assert isinstance(ask(t, service, Message("user", said)), Call)
    pieces = [text for _, text in service.asked]
    assert all(len(piece) <= 200 for piece in pieces) and len(pieces) > 3
    assert pieces[0] + "".join(piece[OVERLAP:] for piece in pieces[1:]) == said


def test_categories_that_count() -> None:
    for names, kind in ((["violence"], Answer), (["harassment"], Call)):
        t = moderated("openai_chat", "openai_chat", OpenAi, categories=names, deny_code=403, deny_message="no")
        answer = ask(t, OpenAi(), Message("user", "bomb"))
        assert isinstance(answer, kind) and getattr(answer, "status", 403) == 403


def test_whose_words_are_looked_at() -> None:
    turns = Message("system", "s"), Message("user", "one"), Message("assistant", "two"), Message("user", "three")
    told_by: list[tuple[dict[str, Any], str]] = [
        ({}, "three"),
        ({"match_all_conversation_history": True}, "one\nthree"),
        ({"match_all_conversation_history": True, "match_all_roles": True}, "s\none\ntwo\nthree"),
    ]
    for members, told in told_by:
        service = Webhook()
        ask(moderated("openai_chat", "anthropic_messages", **members), service, *turns)
        assert [text for _, text in service.asked] == [told]
    service = Webhook()
    ask(moderated("openai_chat", "openai_chat"), service, Message("user", [PNG]))
    assert service.calls == [], "an image says nothing in words"


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, "moderation.endpoint: is needed"),
        ({"endpoint": "guard.test"}, "moderation.endpoint: expected a URL"),
        ({"provider": "openai"}, "moderation.api_key: is needed"),
        (
            {"provider": "nobody"},
            "moderation.provider: choose one of: webhook, openai, aliyun, azure_content_safety, bedrock_guardrail",
        ),
        ({"endpoint": "http://g", "model": "m"}, "moderation.model: unknown key"),
        ({"endpoint": "http://g", "check_request": False}, "moderation.check_request: it or check_response"),
        ({"endpoint": "http://g", "deny_code": 302}, "moderation.deny_code: expected 200"),
        ({"endpoint": "http://g", "max_chars": 100}, "moderation.max_chars: expected a whole number, at least 200"),
        ({"endpoint": "http://g", "stream_check_mode": "x"}, "moderation.stream_check_mode: choose one of"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(members: dict[str, Any], says: str) -> None:
    with pytest.raises(RouteError) as wrong:
        exchange("openai_chat", "openai_chat", {"moderation": members})
    assert says in str(wrong.value)
