from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc import Answer, Call, Translation
from extproc.effects import Effect, Failed, Failure, HttpAnswer, HttpCall, Result
from extproc.llm.request import Image, Message, Source
from extproc.route import RouteError, compile_route

from .clients import CLIENTS, PAIRS, exchange, read, said, written
from .test_moderation import served

EMBEDDINGS = {"endpoint": "http://embed.test/v1/embeddings", "model": "small", "api_key": "sk-embed"}
PROVIDER = {
    "provider": "openai",
    "auth": {"header": {"authorization": "Bearer sk-embed"}},
    "options": {"model": "small"},
}
QDRANT = {"kind": "qdrant", "endpoint": "http://store.test:6333/", "collection": "a b", "api_key": "sk-store"}
CHROMA = {"kind": "chroma", "endpoint": "http://chroma.test:8000/", "collection": "a b", "api_key": "sk-store"}
AZURE = {
    "kind": "azure_ai_search", "endpoint": "https://ours.search.windows.net", "index": "a-b", "api_key": "sk-store",
    "vector_field": "contentVector", "source_field": "path",
}  # fmt: skip
HTTP = {"endpoint": "http://find.test/", "api_key": "sk-find"}
FOUND = [("Paris is large.", "cities.md"), ("Lyon is old.", "")]
TURNS = [Message("user", "one"), Message("assistant", "two"), Message("user", "how large is Paris?")]
PNG = Image(Source("base64", "iVBORw0KGgo=", "image/png"))
COLLECTIONS = "http://chroma.test:8000/api/v2/tenants/default_tenant/databases/default_database/collections"


class Services:
    """Embeddings as OpenAI documents them, each store as it does, and one of our own shape."""

    def __init__(self, found: list[tuple[str, str]] = FOUND) -> None:
        self.found = found
        self.calls: list[HttpCall] = []
        self.id = "5c2a"
        """Of Chroma's collection."""

    def __call__(self, call: Effect) -> Result:
        assert isinstance(call, HttpCall)
        self.calls.append(call)
        body, headers = msgspec.json.decode(call.body or b"null"), dict(call.headers)
        host = call.url.split("/")[2].partition(":")[0]
        answer = {
            "embed.test": self.embeddings,
            "api.openai.com": self.embeddings,
            "store.test": self.qdrant,
            "chroma.test": self.chroma,
            "ours.search.windows.net": self.azure,
            "find.test": self.own,
        }[host](call.url, body, headers)
        return answer if isinstance(answer, HttpAnswer) else HttpAnswer(200, (), msgspec.json.encode(answer))

    def embeddings(self, url: str, body: Any, headers: dict[str, str]) -> Any:
        assert url.endswith("/v1/embeddings") and headers["authorization"] == "Bearer sk-embed"
        assert (body["model"], body["input"]) == ("small", "how large is Paris?")
        return {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1]}]}

    def qdrant(self, url: str, body: Any, headers: dict[str, str]) -> Any:
        assert url == "http://store.test:6333/collections/a%20b/points/query"
        assert headers["api-key"] == "sk-store" and "authorization" not in headers
        assert body == {"query": [0.5, -1], "limit": 4, "with_payload": True}
        points = [
            {"id": at, "version": 3, "score": 0.9, "payload": {"text": text, "source": source}}
            for at, (text, source) in enumerate(self.found)
        ]
        return {"result": {"points": points}, "status": "ok", "time": 0.001}

    def chroma(self, url: str, body: Any, headers: dict[str, str]) -> Any:
        assert headers["x-chroma-token"] == "sk-store" and "authorization" not in headers
        if body is None:
            assert url == f"{COLLECTIONS}/a%20b"
            return {"id": self.id, "name": "a b", "metadata": None, "dimension": 2, "tenant": "default_tenant"}
        if url != f"{COLLECTIONS}/{self.id}/query":
            return HttpAnswer(404, (), b'{"error":"NotFoundError","message":"Collection does not exist"}')
        assert body == {"query_embeddings": [[0.5, -1]], "n_results": 4, "include": ["documents", "metadatas"]}
        return {
            "ids": [[str(at) for at, _ in enumerate(self.found)]],
            "documents": [[text for text, _ in self.found]],
            "metadatas": [[{"source": source} if source else None for _, source in self.found]],
            "distances": None, "embeddings": None, "uris": None, "include": ["documents", "metadatas"],
        }  # fmt: skip

    def azure(self, url: str, body: Any, headers: dict[str, str]) -> Any:
        assert url == "https://ours.search.windows.net/indexes/a-b/docs/search?api-version=2024-07-01"
        assert headers["api-key"] == "sk-store" and "authorization" not in headers
        (query,) = body["vectorQueries"]
        assert (query["fields"], query["k"]) == ("contentVector", 4)
        assert (body["select"], body["top"]) == ("content,path", 4)
        wanted = {"vector": [0.5, -1]} if query["kind"] == "vector" else {"text": "how large is Paris?"}
        assert wanted.items() <= query.items()
        found = [{"@search.score": 0.8, "content": text, "path": source or None} for text, source in self.found]
        return {"@odata.context": "x", "value": found}

    def own(self, url: str, body: Any, headers: dict[str, str]) -> Any:
        assert headers["authorization"] == "Bearer sk-find"
        assert (body["query"], body["top_k"]) == ("how large is Paris?", 4)
        return {"documents": [{"text": text, "source": source} for text, source in self.found]}


def rag(client: str, upstream: str, **members: Any) -> Translation:
    return exchange(client, upstream, {"rag": {"search": QDRANT, "embeddings": EMBEDDINGS, **members}})


def asked(t: Translation, service: Any, *messages: Message, stream: bool = False) -> Call | Answer:
    call = written(t.client or "", *(messages or TURNS), stream=stream)
    return served(t.requesting(call.body, call.method, call.path), service)


@pytest.mark.rows("B29")
@pytest.mark.parametrize("search", [QDRANT, CHROMA, AZURE, HTTP], ids=lambda search: search.get("kind", "http"))
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_what_is_found_goes_on_with_the_question(client: str, upstream: str, stream: bool, search: Any) -> None:
    t, services = rag(client, upstream, search=search, template="Known:\n{{passages}}"), Services()
    call = asked(t, services, stream=stream)
    assert isinstance(call, Call) and sum(each.method == "POST" for each in services.calls) == 2
    texts = [text for _, text in said(read(upstream, call.path, call.body))]
    assert texts == ["one", "two", TURNS[2].content, "Known:\n[1] cities.md\nParis is large.\n\n[2]\nLyon is old."]
    assert (t.policy_facts["rag_found"], t.policy_facts["rag_used"]) == (2, 2)
    assert b"sk-" not in call.body and "sk-" not in str(call.headers)


def test_whose_model_embeds_the_question_may_be_said_as_in_a_route() -> None:
    services = Services()
    assert isinstance(asked(rag("openai_chat", "openai_chat", embeddings=PROVIDER), services), Call)
    assert services.calls[0].url == "https://api.openai.com/v1/embeddings"


def test_azure_can_make_the_vector_itself() -> None:
    t, services = exchange("openai_chat", "openai_chat", {"rag": {"search": AZURE}}), Services()
    assert isinstance(asked(t, services), Call) and t.policy_facts["rag_used"] == 2
    (call,) = services.calls
    assert msgspec.json.decode(call.body)["vectorQueries"][0]["kind"] == "text"


def test_chromas_collection_is_looked_up_once_and_again_when_it_is_another() -> None:
    # A route of its own: what it keeps lives as long as the route does.
    asks = {"rag": {"search": CHROMA, "embeddings": EMBEDDINGS, "timeout": 4.25}}
    route = compile_route([{"provider": "openai", "auth": "none", "policies": [asks]}])
    services = Services()
    kinds = []
    for changed in ("5c2a", "5c2a", "77ff", "77ff"):
        services.id, before = changed, len(services.calls)
        t = Translation("openai_chat", "openai_chat", route=route, now=1.0, request_id="id")
        assert isinstance(asked(t, services), Call) and t.policy_facts["rag_used"] == 2
        kinds.append([call.method for call in services.calls[before:]])
    assert kinds == [["POST", "GET", "POST"], ["POST", "POST"], ["POST", "POST", "GET", "POST"], ["POST", "POST"]]


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

    def service(call: Effect) -> Result:
        return result if isinstance(call, HttpCall) and broken in call.url else services(call)

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
        ({"search": CHROMA}, "rag.embeddings: is needed"),
        ({"search": {"kind": "pinecone"}}, "rag.search.kind: choose one of: http, azure_ai_search, chroma, qdrant"),
        ({"search": {**AZURE, "vector_field": None}}, "rag.search.vector_field: is needed"),
        (
            {"search": HTTP, "embeddings": {**PROVIDER, "provider": "anthropic"}},
            "rag.embeddings: anthropic is no API for embeddings",
        ),
        ({"search": HTTP, "embeddings": {**PROVIDER, "auth": None}}, "rag.embeddings: auth: provider openai needs one"),
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
