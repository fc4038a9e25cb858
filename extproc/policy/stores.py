"""The stores of documents that ``rag`` asks, each by what it documents: how a question is put, and where its answer has
the passages.

=================== ================================================================================================
``http``            a service of the operator's own, by the shape that docs/policies.md shows
``qdrant``          Qdrant's ``points/query`` (Qdrant 1.10 and later)
``chroma``          Chroma's API v2: the collection's id by its name, then ``query`` (Chroma 0.6 and later)
``azure_ai_search`` Azure AI Search, vector queries, api-version 2024-07-01
=================== ================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from ..credentials.secrets import Secret
from ..effects import Effect, HttpAnswer, HttpCall, Result
from ..frozen import Frozen
from .base import Unavailable
from .given import Given


class Passage(msgspec.Struct, frozen=True):
    text: str
    source: str = ""


Searching = Generator[Effect, Result, list[Passage]]


class Lookup(Frozen):
    """``vector`` is ``None`` where nobody embeds it. ``most``: so many passages; ``seconds`` for each call."""

    text: str
    vector: list[float] | None
    most: int
    seconds: float


class Store(Protocol):
    @property
    def needs_vector(self) -> bool: ...

    def find(self, question: Lookup) -> Searching:
        """The nearest passages, the best first. Raises Unavailable."""
        ...


def bearer(key: Secret | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key.reveal()}"}


def _asked(
    url: str, headers: dict[str, str], body: Any, seconds: float, method: str = "POST"
) -> Generator[Effect, Result, HttpAnswer]:
    """What the store answers, whatever its status."""
    sent = (("content-type", "application/json"), *headers.items())
    data = b"" if body is None else msgspec.json.encode(body)
    result = yield HttpCall(url, method, sent, data, seconds, safe=True)
    if not isinstance(result, HttpAnswer):
        raise Unavailable(f"search: no answer: {result}")
    return result


def _read(answer: HttpAnswer, kind: Any) -> Any:
    if answer.status != 200:
        raise Unavailable(f"search: it answered {answer.status}")
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unavailable("search: its answer cannot be read") from None


class _Fields(Frozen):
    """Where a record has its text and its source."""

    text: str
    source: str

    def passages(self, records: list[dict[str, Any] | None]) -> list[Passage]:
        found = [(record.get(self.text), record.get(self.source)) for record in records if record]
        return [Passage(text, str(source or "")) for text, source in found if isinstance(text, str)]


# ---- the operator's own


class _Documents(msgspec.Struct, frozen=True):
    documents: list[Passage]


class Http(Frozen):
    url: str
    key: Secret | None
    needs_vector: bool = False

    def find(self, question: Lookup) -> Searching:
        body = {"query": question.text, "vector": question.vector, "top_k": question.most}
        answer = yield from _asked(self.url, bearer(self.key), body, question.seconds)
        found: list[Passage] = _read(answer, _Documents).documents
        return found[: question.most]


# ---- Qdrant


class _Point(msgspec.Struct, frozen=True):
    payload: dict[str, Any] | None = None


class _Points(msgspec.Struct, frozen=True):
    points: list[_Point]


class _Queried(msgspec.Struct, frozen=True):
    result: _Points


class Qdrant(Frozen):
    url: str
    key: Secret | None
    fields: _Fields
    needs_vector: bool = True

    def find(self, question: Lookup) -> Searching:
        headers = {} if self.key is None else {"api-key": self.key.reveal()}
        body = {"query": question.vector, "limit": question.most, "with_payload": True}
        answer = yield from _asked(self.url, headers, body, question.seconds)
        points = _read(answer, _Queried).result.points
        return self.fields.passages([point.payload for point in points[: question.most]])


def _qdrant(given: Given) -> Store:
    url = f"{given.url('endpoint').rstrip('/')}/collections/{quote(given.text('collection'), safe='')}/points/query"
    return Qdrant(url, given.secret_if_any("api_key"), _fields(given))


def _fields(given: Given, text: str = "text") -> _Fields:
    return _Fields(given.text("text_field", text), given.text("source_field", "source"))


# ---- Chroma


class _Collection(msgspec.Struct, frozen=True):
    id: str


class _Nearest(msgspec.Struct, frozen=True):
    """A list for each vector that was asked about: one."""

    documents: list[list[str | None]]
    metadatas: list[list[dict[str, Any] | None]] | None = None


class Chroma:
    """It keeps the collection's id, which is asked for by name once, and again when it is no longer known."""

    needs_vector = True

    def __init__(self, url: str, name: str, key: Secret | None, source: str) -> None:
        self._url = url
        """Of the collections."""
        self._name = name
        self._key = key
        self._source = source
        self._id = ""

    def __repr__(self) -> str:
        return f"Chroma({self._url!r}, {self._name!r})"

    def find(self, question: Lookup) -> Searching:
        known = bool(self._id)
        if not known:
            yield from self._look_up(question)
        answer = yield from self._query(question)
        if answer.status == 404 and known:
            # Somebody has made the collection anew.
            yield from self._look_up(question)
            answer = yield from self._query(question)
        found: _Nearest = _read(answer, _Nearest)
        texts = found.documents[0] if found.documents else []
        sources = (found.metadatas or [[]])[0] or [None] * len(texts)
        pairs = zip(texts[: question.most], sources, strict=False)
        return [Passage(text, str((about or {}).get(self._source) or "")) for text, about in pairs if text]

    def _headers(self) -> dict[str, str]:
        return {} if self._key is None else {"x-chroma-token": self._key.reveal()}

    def _look_up(self, question: Lookup) -> Generator[Effect, Result, None]:
        self._id = ""
        url = f"{self._url}/{quote(self._name, safe='')}"
        answer = yield from _asked(url, self._headers(), None, question.seconds, "GET")
        self._id = _read(answer, _Collection).id

    def _query(self, question: Lookup) -> Generator[Effect, Result, HttpAnswer]:
        body = {
            "query_embeddings": [question.vector],
            "n_results": question.most,
            "include": ["documents", "metadatas"],
        }
        url = f"{self._url}/{quote(self._id, safe='')}/query"
        return (yield from _asked(url, self._headers(), body, question.seconds))


def _chroma(given: Given) -> Store:
    tenant, database = given.text("tenant", "default_tenant"), given.text("database", "default_database")
    where = f"tenants/{quote(tenant, safe='')}/databases/{quote(database, safe='')}/collections"
    url, name = f"{given.url('endpoint').rstrip('/')}/api/v2/{where}", given.text("collection")
    return Chroma(url, name, given.secret_if_any("api_key"), given.text("source_field", "source"))


# ---- Azure AI Search


class _Value(msgspec.Struct, frozen=True):
    value: list[dict[str, Any] | None]


class AzureAiSearch(Frozen):
    url: str
    key: Secret
    vector_field: str
    fields: _Fields
    needs_vector: bool = False
    """Without one it is asked to make the vector itself, by the index's vectorizer."""

    def find(self, question: Lookup) -> Searching:
        near: dict[str, Any] = {"kind": "text", "text": question.text}
        if question.vector is not None:
            near = {"kind": "vector", "vector": question.vector}
        near |= {"fields": self.vector_field, "k": question.most}
        names = [self.fields.text, *([self.fields.source] if self.fields.source else [])]
        body = {"vectorQueries": [near], "select": ",".join(names), "top": question.most}
        answer = yield from _asked(self.url, {"api-key": self.key.reveal()}, body, question.seconds)
        return self.fields.passages(_read(answer, _Value).value[: question.most])


def _azure(given: Given) -> Store:
    base, index = given.url("endpoint").rstrip("/"), quote(given.text("index"), safe="")
    url = f"{base}/indexes/{index}/docs/search?api-version=2024-07-01"
    # An index refuses to show a field that it has not.
    fields = _Fields(given.text("text_field", "content"), given.text("source_field", ""))
    return AzureAiSearch(url, given.secret("api_key"), given.text("vector_field"), fields)


STORES: dict[str, Callable[[Given], Store]] = {
    "http": lambda given: Http(given.url("endpoint"), given.secret_if_any("api_key")),
    "azure_ai_search": _azure,
    "chroma": _chroma,
    "qdrant": _qdrant,
}
"""By the name that ``rag.search.kind`` has for them."""
