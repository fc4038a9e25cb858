"""``rag``: what a store of documents holds about the user's question goes to the model with it.

The question is embedded by a service that speaks OpenAI's embeddings API, and the nearest passages are asked of
``qdrant``, or of a service of the operator's (``http``): it is sent ``{"query", "vector", "top_k"}``, and answers
``{"documents": [{"text", "source"}]}``. They become a message of the user's behind the question, so that they stand
where the API has messages. A turn in which the user says nothing (a tool's result, an image) asks for nothing.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from ..credentials.secrets import Secret
from ..effects import HttpAnswer, HttpCall
from ..frozen import Frozen
from ..llm.request import Message, Request
from .base import Asking, Context, Make, Policy, Unavailable
from .given import Given
from .texts import Scope, said_in

OPENAI_URL = "https://api.openai.com/v1/embeddings"
PASSAGES = "{{passages}}"
TEMPLATE = f"Passages that may help to answer, each with its number and its source:\n\n{PASSAGES}"
MAX_QUESTION = 8000
"""Characters; of a longer one the last are looked for."""


class _Passage(msgspec.Struct, frozen=True):
    text: str
    source: str = ""


class _Documents(msgspec.Struct, frozen=True):
    documents: list[_Passage]


class _Embedding(msgspec.Struct, frozen=True):
    embedding: list[float]


class _Embeddings(msgspec.Struct, frozen=True):
    data: list[_Embedding]


class _Point(msgspec.Struct, frozen=True):
    payload: dict[str, Any] | None = None


class _Points(msgspec.Struct, frozen=True):
    points: list[_Point]


class _Result(msgspec.Struct, frozen=True):
    """What Qdrant's ``points/query`` answers."""

    result: _Points


class _Embedder(Frozen):
    url: str
    key: Secret | None
    model: str


class _Store(Frozen):
    url: str
    key: Secret | None
    is_qdrant: bool
    text_field: str
    source_field: str


class _Rules(Frozen):
    embedder: _Embedder | None
    store: _Store
    top_k: int
    max_chars: int
    template: str
    seconds: float


def configure(given: Given) -> Make:
    store = _store(given.part("search"))
    embedder = None if not store.is_qdrant and not given.has("embeddings") else _embedder(given.part("embeddings"))
    template = given.text("template", TEMPLATE)
    if PASSAGES not in template:
        raise given.error("template", f"must have {PASSAGES} in it")
    top_k, chars = given.count("top_k", 4) or 4, given.count("max_chars", 20_000) or 20_000
    rules = _Rules(embedder, store, top_k, chars, template, given.seconds("timeout", 5.0))
    return lambda context: Rag(rules, context)


def _embedder(given: Given) -> _Embedder:
    made = _Embedder(given.url("endpoint", OPENAI_URL), given.secret_if_any("api_key"), given.text("model"))
    given.finish()
    return made


def _store(given: Given) -> _Store:
    is_qdrant = given.choice("kind", ("http", "qdrant")) == "qdrant"
    url, key = given.url("endpoint"), given.secret_if_any("api_key")
    text, source = "", ""
    if is_qdrant:
        url = f"{url.rstrip('/')}/collections/{quote(given.text('collection'), safe='')}/points/query"
        text, source = given.text("text_field", "text"), given.text("source_field", "source")
    given.finish()
    return _Store(url, key, is_qdrant, text, source)


class Rag(Policy):
    """Of one exchange."""

    def __init__(self, rules: _Rules, context: Context) -> None:
        self._rules = rules
        self._facts = context.facts

    def on_request(self, request: Request) -> Request | Asking:
        question = "\n".join(said for said in said_in(request, Scope()) if said.strip())[-MAX_QUESTION:]
        return self._with_passages(request, question.encode("utf-8", "replace").decode()) if question else request

    def _with_passages(self, request: Request, question: str) -> Asking:
        began = time.monotonic()
        try:
            vector = (yield from self._embedded(question)) if self._rules.embedder is not None else None
            found = yield from self._found(question, vector)
        finally:
            self._facts["rag_ms"] = round((time.monotonic() - began) * 1000)
        text = self._shown(found)
        if not text:
            return request
        added = Message("user", self._rules.template.replace(PASSAGES, text))
        messages = request.messages
        if messages[-1].role == "assistant":  # an answer that the client has begun itself stays the last
            return replace(request, messages=[*messages[:-1], added, messages[-1]])
        return replace(request, messages=[*messages, added])

    def _embedded(self, question: str) -> Asking:
        embedder = self._rules.embedder
        assert embedder is not None
        headers = _bearer(embedder.key)
        body = {"model": embedder.model, "input": question}
        answer = yield from self._asked("embeddings", embedder.url, headers, body, _Embeddings)
        if not answer.data:
            raise Unavailable("embeddings: no vector in its answer")
        return answer.data[0].embedding

    def _found(self, question: str, vector: list[float] | None) -> Asking:
        store, most = self._rules.store, self._rules.top_k
        if not store.is_qdrant:
            body = {"query": question, "vector": vector, "top_k": most}
            answer = yield from self._asked("search", store.url, _bearer(store.key), body, _Documents)
            return answer.documents[:most]
        headers = {} if store.key is None else {"api-key": store.key.reveal()}
        body = {"query": vector, "limit": most, "with_payload": True}
        answer = yield from self._asked("search", store.url, headers, body, _Result)
        payloads = [point.payload or {} for point in answer.result.points[:most]]
        texts = [(payload.get(store.text_field), payload.get(store.source_field)) for payload in payloads]
        return [_Passage(text, str(source or "")) for text, source in texts if isinstance(text, str)]

    def _asked(self, who: str, url: str, headers: dict[str, str], body: dict[str, Any], kind: type) -> Asking:
        sent = (("content-type", "application/json"), *headers.items())
        result = yield HttpCall(url, headers=sent, body=msgspec.json.encode(body), seconds=self._rules.seconds)
        if not isinstance(result, HttpAnswer):
            raise Unavailable(f"{who}: no answer: {result}")
        if result.status != 200:
            raise Unavailable(f"{who}: it answered {result.status}")
        try:
            return msgspec.json.decode(result.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Unavailable(f"{who}: its answer cannot be read") from None

    def _shown(self, found: list[_Passage]) -> str:
        """Whole passages, as many as there is room for."""
        shown: list[str] = []
        left = self._rules.max_chars
        for passage in found:
            text = f"[{len(shown) + 1}] {passage.source}".rstrip() + f"\n{passage.text}"
            left -= len(text)
            if left < 0:
                break
            shown.append(text)
        self._facts["rag_found"], self._facts["rag_used"] = len(found), len(shown)
        return "\n\n".join(shown)


def _bearer(key: Secret | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key.reveal()}"}
