from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc import Answer, Call, Translation
from extproc.effects import Failed, Failure, HttpAnswer, HttpCall, Result
from extproc.llm.request import Image, Message, Source
from extproc.route import RouteError

from .clients import CLIENTS, PAIRS, exchange, read, said, written
from .test_moderation import served

EMBEDDINGS = {"endpoint": "http://embed.test/v1/embeddings", "model": "small", "api_key": "sk-embed"}
QDRANT = {"kind": "qdrant", "endpoint": "http://store.test:6333/", "collection": "a b", "api_key": "sk-store"}
HTTP = {"endpoint": "http://find.test/", "api_key": "sk-find"}
FOUND = [("Paris is large.", "cities.md"), ("Lyon is old.", "")]
TURNS = [Message("user", "one"), Message("assistant", "two"), Message("user", "how large is Paris?")]
PNG = Image(Source("base64", "iVBORw0KGgo=", "image/png"))


class Services:
    """Embeddings as OpenAI documents them, Qdrant as it does, and a store of our own shape."""

    def __init__(self, found: list[tuple[str, str]] = FOUND) -> None:
        self.found = found
        self.calls: list[HttpCall] = []

    def __call__(self, call: HttpCall) -> Result:
        self.calls.append(call)
        body, headers = msgspec.json.decode(call.body), dict(call.headers)
        answer: dict[str, Any]
        if "embed.test" in call.url:
            assert headers["authorization"] == "Bearer sk-embed"
            assert body == {"model": "small", "input": "how large is Paris?"}
            answer = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1]}]}
        elif "store.test" in call.url:
            assert call.url == "http://store.test:6333/collections/a%20b/points/query"
            assert headers["api-key"] == "sk-store" and "authorization" not in headers
            assert body == {"query": [0.5, -1], "limit": 4, "with_payload": True}
            points = [
                {"id": at, "version": 3, "score": 0.9, "payload": {"text": text, "source": source}}
                for at, (text, source) in enumerate(self.found)
            ]
            answer = {"result": {"points": points}, "status": "ok", "time": 0.001}
        else:
            assert headers["authorization"] == "Bearer sk-find"
            assert (body["query"], body["top_k"]) == ("how large is Paris?", 4)
            answer = {"documents": [{"text": text, "source": source} for text, source in self.found]}
        return HttpAnswer(200, (), msgspec.json.encode(answer))


def rag(client: str, upstream: str, **members: Any) -> Translation:
    return exchange(client, upstream, {"rag": {"search": QDRANT, "embeddings": EMBEDDINGS, **members}})


def asked(t: Translation, service: Any, *messages: Message, stream: bool = False) -> Call | Answer:
    call = written(t.client or "", *(messages or TURNS), stream=stream)
    return served(t.requesting(call.body, call.method, call.path), service)


@pytest.mark.rows("B29")
@pytest.mark.parametrize("search", [QDRANT, HTTP])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_what_is_found_goes_on_with_the_question(client: str, upstream: str, stream: bool, search: Any) -> None:
    t, services = rag(client, upstream, search=search, template="Known:\n{{passages}}"), Services()
    call = asked(t, services, stream=stream)
    assert isinstance(call, Call) and len(services.calls) == 2
    texts = [text for _, text in said(read(upstream, call.path, call.body))]
    assert texts == ["one", "two", TURNS[2].content, "Known:\n[1] cities.md\nParis is large.\n\n[2]\nLyon is old."]
    assert (t.policy_facts["rag_found"], t.policy_facts["rag_used"]) == (2, 2)
    assert b"sk-" not in call.body and "sk-" not in str(call.headers)


@pytest.mark.parametrize("client", CLIENTS)
def test_where_nothing_is_found_or_asked_the_bytes_stay(client: str) -> None:
    for services, messages, calls in ((Services([]), TURNS, 2), (Services(), [Message("user", [PNG])], 0)):
        sent = written(client, *messages)
        call = served(rag(client, client).requesting(sent.body, sent.method, sent.path), services)
        assert isinstance(call, Call) and call.body == sent.body and len(services.calls) == calls


def test_an_answer_that_the_client_has_begun_stays_the_last() -> None:
    begun = [TURNS[2], Message("assistant", "It is")]
    call = asked(rag("anthropic_messages", "anthropic_messages"), Services(), *begun)
    assert isinstance(call, Call)
    roles = [role for role, _ in said(read("anthropic_messages", call.path, call.body))]
    assert roles == ["user", "user", "assistant"]


def test_a_service_of_ones_own_needs_no_vector_and_the_room_is_bounded() -> None:
    t, services = exchange("openai_chat", "openai_chat", {"rag": {"search": HTTP, "max_chars": 30}}), Services()
    call = asked(t, services)
    assert isinstance(call, Call) and b"Paris is large." in call.body and b"Lyon" not in call.body
    assert [msgspec.json.decode(each.body)["vector"] for each in services.calls] == [None]
    assert (t.policy_facts["rag_found"], t.policy_facts["rag_used"]) == (2, 1)


@pytest.mark.parametrize("broken", ["embed.test", "store.test"])
@pytest.mark.parametrize(
    "result",
    [Failed(Failure.TIMEOUT), HttpAnswer(404), HttpAnswer(200, (), b"{}"), HttpAnswer(200, (), b'{"data":[]}')],
)
def test_a_service_that_cannot_say(broken: str, result: Result) -> None:
    services = Services()

    def service(call: HttpCall) -> Result:
        return result if broken in call.url else services(call)

    closed = asked(rag("openai_chat", "openai_chat"), service)
    assert isinstance(closed, Answer) and closed.status == 503
    t = rag("openai_chat", "openai_chat", fail="open")
    call = asked(t, service)
    assert isinstance(call, Call) and call.body == written("openai_chat", *TURNS).body
    assert t.policy_facts["rag_skipped"] is True


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({}, "rag.search: is needed"),
        ({"search": QDRANT}, "rag.embeddings: is needed"),
        ({"search": {"kind": "qdrant", "endpoint": "http://s"}}, "rag.search.collection: is needed"),
        ({"search": {"endpoint": "s"}}, "rag.search.endpoint: expected a URL"),
        ({"search": {**HTTP, "collection": "c"}}, "rag.search.collection: unknown key"),
        ({"search": HTTP, "embeddings": {}}, "rag.embeddings.model: is needed"),
        ({"search": HTTP, "template": "x"}, "rag.template: must have {{passages}}"),
        ({"search": HTTP, "top_k": 0}, "rag.top_k: expected a whole number"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(members: dict[str, Any], says: str) -> None:
    with pytest.raises(RouteError) as wrong:
        exchange("openai_chat", "openai_chat", {"rag": members})
    assert says in str(wrong.value)
