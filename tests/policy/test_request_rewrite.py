from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import msgspec
import pytest

from extproc import Answer, Call, Translation, dialects
from extproc.credentials import gcp
from extproc.dialects.base import Answering, Meta, ResponseHead
from extproc.effects import Awaited, Done, Effect, Failed, Failure, HttpAnswer, HttpCall, Result
from extproc.llm.events import (
    BlockEnded,
    ResponseEnded,
    ResponseEvent,
    ResponseStarted,
    StopReason,
    TextDelta,
    TextStarted,
    Usage,
)
from extproc.llm.losses import LossReport
from extproc.llm.request import Message, Request
from extproc.route import RouteError, compile_route
from tests.support.sigv4 import verified

from .clients import CLIENTS, ENV, PROVIDER, asked, exchange, heard, read, said, text_of, texts, written

T = TypeVar("T")
PROMPT = "Translate what the user says to English; answer with the JSON alone."
AWS = {"access_key_id": "AKID", "secret_access_key": "aws-secret"}
AUTH: dict[str, Any] = {
    "openai_chat": {"header": {"authorization": "Bearer own-key"}},
    "anthropic_messages": {"header": {"x-api-key": "own-key"}},
    "openai_responses": {"header": {"authorization": "Bearer own-key"}},
    "bedrock_converse": {"aws": AWS},
    "gemini": {"header": {"x-goog-api-key": "own-key"}},
}
HOSTS = {
    "openai_chat": "https://api.openai.com/v1/chat/completions",
    "anthropic_messages": "https://api.anthropic.com/v1/messages",
    "openai_responses": "https://api.openai.com/v1/responses",
    "bedrock_converse": "https://bedrock-runtime.eu-west-1.amazonaws.com/model/rewriter/converse",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/models/rewriter:generateContent",
}
models = pytest.mark.parametrize("model", CLIENTS)


def members(model: str, **more: Any) -> dict[str, Any]:
    name, conf = PROVIDER[model]
    return {
        "prompt": PROMPT, "provider": name, "auth": AUTH[model], "upstream": model, "options": {"model": "rewriter"},
        **conf, **more,
    }  # fmt: skip


class Model:
    """An upstream of that API: it answers *text* to every request."""

    def __init__(self, dialect: str, text: str, stop: StopReason = StopReason.END, status: int = 200) -> None:
        self.dialect = dialects.get(dialect)
        self.text = text
        self.stop = stop
        self.status = status
        self.calls: list[HttpCall] = []

    def __call__(self, effect: Effect) -> Result:
        if isinstance(effect, Awaited):
            return Done()
        self.calls.append(effect)
        head = ResponseHead(self.status, [("content-type", "application/json")])
        if self.status != 200:
            return HttpAnswer(self.status, tuple(head.headers), b'{"error": {"message": "no"}}')
        request = Request(dialect=self.dialect.name, model="rewriter", messages=[])
        emitter = self.dialect.response_emitter(Answering(request, head, Meta(), ENV, LossReport()))
        events: list[ResponseEvent] = [
            ResponseStarted("r1", "rewriter-1", Usage(7)), TextStarted(0), TextDelta(0, self.text), BlockEnded(0),
            ResponseEnded(self.stop, Usage(7, 5)),
        ]  # fmt: skip
        return HttpAnswer(200, tuple(head.headers), b"".join([emitter.emit(event) for event in events]))

    def read(self) -> Request:
        (call,) = self.calls
        return read(self.dialect.name, call.url, call.body)


def served(steps: Generator[Effect, Result, T], service: Callable[[Effect], Result]) -> T:
    try:
        effect = next(steps)
        while True:
            effect = steps.send(service(effect))
    except StopIteration as ended:
        value: T = ended.value
        return value


def rewritten(
    t: Translation, service: Callable[[Effect], Result], *messages: Message, headers: Any = ()
) -> Call | Answer:
    call = written(t.client or "", *(messages or [Message("user", "Bonjour")]))
    return served(t.requesting(call.body, call.method, call.path, list(headers)), service)


@pytest.mark.rows("B28")
@models
@pytest.mark.parametrize("client", CLIENTS)
def test_a_model_of_any_provider_rewrites_the_body(client: str, model: str) -> None:
    wanted = written(client, Message("user", "Good day"))
    service = Model(model, wanted.body.decode())
    t = exchange(client, "openai_chat", {"request_rewrite": members(model)})
    call = rewritten(t, service)
    assert isinstance(call, Call), call
    assert said(read("openai_chat", call.path, call.body)) == [("user", "Good day")]
    # What it was asked: the prompt, and what the client sent, as it sent it.
    sent = said(service.read())
    assert sent == [("system", PROMPT), ("user", written(client, Message("user", "Bonjour")).body.decode())]
    assert service.calls[0].url == HOSTS[model]
    facts = t.policy_facts
    assert facts["request_rewrite_input_tokens"] == 7 and facts["request_rewrite_output_tokens"] == 5
    assert facts["request_rewrite_model"] in ("rewriter-1", "rewriter") and facts["request_rewrite_ms"] >= 0


@pytest.mark.rows("B28")
@pytest.mark.parametrize("client", CLIENTS)
def test_what_was_rewritten_is_streamed_as_it_was_asked(client: str) -> None:
    wanted = written(client, Message("user", "Good day"), stream=True)
    t = exchange(client, "openai_chat", {"request_rewrite": members("openai_chat")})
    call = written(client, Message("user", "Bonjour"), stream=True)
    service = Model("openai_chat", wanted.body.decode())
    sent = served(t.requesting(call.body, call.method, call.path, []), service)
    assert isinstance(sent, Call), sent
    assert read("openai_chat", sent.path, sent.body).stream and said(read("openai_chat", sent.path, sent.body)) == [
        ("user", "Good day")
    ]
    assert text_of(heard(t, texts("Hel", "lo"), stream=True)) == "Hello"


@pytest.mark.rows("B28")
@models
def test_only_its_own_credential_goes_with_it(model: str) -> None:
    theirs = [("authorization", "Bearer the-clients"), ("x-api-key", "the-clients"), ("cookie", "the-clients")]
    service = Model(model, written("openai_chat", Message("user", "x")).body.decode())
    route = {"auth": {"header": {"authorization": "Bearer the-routes"}}}
    t = exchange("openai_chat", "openai_chat", {"request_rewrite": members(model)}, **route)
    call = rewritten(t, service, headers=theirs)
    (aside,) = service.calls
    assert "the-clients" not in str(aside.headers) and "the-routes" not in str(aside.headers)
    assert isinstance(call, Call) and "own-key" not in str(call.all_headers()) and "aws" not in str(call.all_headers())
    if model == "bedrock_converse":
        path = aside.url.partition(".com")[2]
        host = aside.url.split("/")[2]
        assert verified("POST", path, {**dict(aside.headers), "host": host}, aside.body, AWS["secret_access_key"])
    else:
        assert [value for _, value in aside.headers if value.endswith("own-key")]


def test_a_token_of_googles_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import Future

    fetched: Future[None] = Future()
    monkeypatch.setattr(gcp.GcpAuth, "__init__", lambda self, *_: None)
    monkeypatch.setattr(gcp.GcpAuth, "begin", lambda self: Awaited(fetched, 1.0))
    monkeypatch.setattr(gcp.GcpAuth, "token", lambda self: "token-1")
    monkeypatch.setenv("GCP_SERVICE_ACCOUNT", "{}")
    where = {"provider_conf": {"project_id": "p", "region": "europe-west1"}}
    service = Model("openai_chat", written("openai_chat", Message("user", "x")).body.decode())
    asks = {"prompt": PROMPT, "provider": "vertex-ai", "auth": {"gcp": {}}, "options": {"model": "rewriter"}, **where}
    t = exchange("openai_chat", "openai_chat", {"request_rewrite": asks})
    assert isinstance(rewritten(t, service), Call)
    (call,) = service.calls
    assert call.url.startswith("https://europe-west1-aiplatform.googleapis.com/v1/projects/p/")
    assert dict(call.headers)["authorization"] == "Bearer token-1"


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "  ```\n{}\n```\n"])
def test_a_fence_around_the_answer_is_left_out(around: str) -> None:
    body = written("openai_chat", Message("user", "Good day")).body.decode()
    service = Model("anthropic_messages", around.replace("{}", body))
    t = exchange("openai_chat", "openai_chat", {"request_rewrite": members("anthropic_messages")})
    call = rewritten(t, service)
    assert isinstance(call, Call) and said(read("openai_chat", call.path, call.body)) == [("user", "Good day")]


def broken(effect: Effect) -> Result:
    return Failed(Failure.TIMEOUT)


@pytest.mark.parametrize(
    "service",
    [
        Model("openai_chat", "I cannot do that."),
        Model("openai_chat", '["a"]'),
        Model("openai_chat", '{"messages": [', StopReason.MAX_TOKENS),
        Model("openai_chat", "{}", StopReason.REFUSAL),
        Model("openai_chat", "", status=429),
        lambda _: HttpAnswer(200, (("content-type", "text/html"),), b"<html>"),
        lambda _: HttpAnswer(302, (("location", "http://elsewhere"),)),
        broken,
    ],
)
@models
def test_what_cannot_be_rewritten_is_what_fail_says(service: Callable[[Effect], Result], model: str) -> None:
    if isinstance(service, Model):
        service = Model(model, service.text, service.stop, service.status)
    t = exchange("openai_chat", "openai_chat", {"request_rewrite": members(model)})
    closed = rewritten(t, service)
    assert isinstance(closed, Answer) and closed.status == 503 and t.denied_by == "request_rewrite"
    t = exchange("openai_chat", "openai_chat", {"request_rewrite": members(model, fail="open")})
    call = rewritten(t, service)
    assert isinstance(call, Call) and said(read("openai_chat", call.path, call.body)) == [("user", "Bonjour")]
    assert t.policy_facts["request_rewrite_skipped"] is True


def test_options_and_override_are_those_of_a_route() -> None:
    asks = members(
        "openai_chat",
        options={"model": "small", "temperature": 0},
        override={"endpoint": "http://127.0.0.1:8080/v1/chat/completions?tenant=a", "llm_options": {"max_tokens": 9}},
        timeout=3,
    )
    service = Model("openai_chat", written("openai_chat", Message("user", "x")).body.decode())
    t = exchange("openai_chat", "anthropic_messages", {"request_rewrite": asks})
    rewritten(t, service)
    (call,) = service.calls
    assert (call.url, call.seconds) == ("http://127.0.0.1:8080/v1/chat/completions?tenant=a", 3.0)
    body = msgspec.json.decode(call.body)
    assert (body["model"], body["temperature"], body["max_completion_tokens"]) == ("small", 0, 9)


def test_the_next_policies_see_what_was_rewritten() -> None:
    guard = {"prompt_guard": {"deny_patterns": ["secret"]}}
    service = Model("openai_chat", written("openai_chat", Message("user", "a secret")).body.decode())
    t = exchange("openai_chat", "openai_chat", guard, {"request_rewrite": members("openai_chat")})
    assert isinstance(rewritten(t, service), Answer) and t.denied_by == "prompt_guard"


def test_without_somebody_who_asks_it_cannot_say() -> None:
    t = exchange("openai_chat", "openai_chat", {"request_rewrite": members("openai_chat")})
    answer = asked(t, written("openai_chat", Message("user", "hi")))
    assert isinstance(answer, Answer) and answer.status == 503


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"prompt": None}, "policies[0].request_rewrite.prompt: is needed"),
        ({"prompt": " "}, "policies[0].request_rewrite.prompt: is empty"),
        ({"provider": None}, "policies[0].request_rewrite.provider: is needed"),
        ({"provider": "nobody"}, "policies[0].request_rewrite: provider: unknown provider 'nobody'"),
        ({"auth": None}, "policies[0].request_rewrite: auth: provider openai needs one"),
        ({"auth": {"heder": {}}}, "policies[0].request_rewrite: unknown key 'auth.heder'"),
        ({"options": {}}, "policies[0].request_rewrite.options.model: is needed"),
        ({"options": {"model": "m", "stream": True}}, "policies[0].request_rewrite.options.stream: "),
        ({"upstream": "gemini"}, "policies[0].request_rewrite: upstream: provider openai does not speak 'gemini'"),
        ({"provider": "openai-compatible"}, "policies[0].request_rewrite.override.endpoint: is needed"),
        ({"auth": {"header": {"a": "${NOT_SET_ANYWHERE}"}}}, "policies[0].request_rewrite: auth.header.a: "),
        (
            {"upstream": "openai_embeddings"},
            "policies[0].request_rewrite: openai_embeddings is no API for conversations",
        ),
        ({"policies": []}, "policies[0].request_rewrite.policies: unknown key"),
        ({"timeout": 0}, "policies[0].request_rewrite.timeout: expected a number of seconds"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(changed: dict[str, Any], says: str) -> None:
    asks = {name: value for name, value in {**members("openai_chat"), **changed}.items() if value is not None}
    with pytest.raises(RouteError) as wrong:
        compile_route([{"provider": "openai", "auth": "none", "policies": [{"request_rewrite": asks}]}])
    assert says in str(wrong.value)
