"""What each store is asked, and what its answer means. How ``rag`` uses them is in ``test_rag.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from extproc.credentials.secrets import Secret, resolve
from extproc.effects import Failed, Failure, HttpAnswer, HttpCall, Result
from extproc.policy.base import PolicyError, Served, Unavailable
from extproc.policy.given import Given
from extproc.policy.stores import STORES, Lookup, Passage, Store

ASKED = Lookup("how large is Paris?", [0.5, -1.0], 2, 3.0)
MEMBERS: dict[str, dict[str, Any]] = {
    "http": {"endpoint": "http://s.test/find"},
    "qdrant": {"endpoint": "http://s.test", "collection": "c"},
    "chroma": {"endpoint": "http://s.test", "collection": "c"},
    "azure_ai_search": {"endpoint": "http://s.test", "index": "i", "vector_field": "v", "api_key": "SECRET"},
}
EMPTY: dict[str, Any] = {
    "http": {"documents": []},
    "qdrant": {"result": {"points": []}},
    "chroma": {"ids": [[]], "documents": [[]], "metadatas": [[]]},
    "azure_ai_search": {"value": []},
}
ODD: dict[str, Any] = {
    "http": {"documents": [{"text": "a"}]},
    "qdrant": {"result": {"points": [{"payload": None}, {"payload": {"text": 3}}, {"payload": {"text": "a"}}]}},
    "chroma": {"ids": [["1", "2"]], "documents": [[None, "a"]], "metadatas": None},
    "azure_ai_search": {"value": [None, {"content": "a", "more": 1}]},
}
"""Records without a text, or without a source."""
kinds = pytest.mark.parametrize("kind", sorted(STORES))


class Operator:
    def secret(self, path: str, text: str) -> Secret:
        return resolve(text, {})

    def served(self, path: str, members: Mapping[str, Any], *, embeds: bool = False) -> Served:
        raise AssertionError("no model is asked")


def store(kind: str, **members: Any) -> Store:
    given = Given({**MEMBERS[kind], **members}, "search", Operator())
    made = STORES[kind](given)
    given.finish()
    return made


def found(made: Store, *answers: Result) -> tuple[list[Passage], list[HttpCall]]:
    """What it finds when it is answered *answers*, in order, and what it has asked."""
    steps, calls = made.find(ASKED), []
    try:
        effect = next(steps)
        for answer in answers:
            assert isinstance(effect, HttpCall)
            calls.append(effect)
            effect = steps.send(answer)
    except StopIteration as ended:
        return ended.value, calls
    raise AssertionError(f"it asks once more: {effect}")


def answered(kind: str, value: Any, status: int = 200) -> list[Result]:
    body = HttpAnswer(status, (), msgspec.json.encode(value))
    looked_up = HttpAnswer(200, (), b'{"id": "5c2a", "name": "c"}')
    return [looked_up, body] if kind == "chroma" else [body]


@kinds
def test_nothing_may_be_found(kind: str) -> None:
    passages, calls = found(store(kind), *answered(kind, EMPTY[kind]))
    assert passages == [] and all(call.seconds == 3.0 for call in calls)


@kinds
def test_records_without_a_text_or_a_source(kind: str) -> None:
    passages, _ = found(store(kind), *answered(kind, ODD[kind]))
    assert passages in ([Passage("a")], []), "of two records at most"


@kinds
@pytest.mark.parametrize(
    "answer",
    [
        Failed(Failure.TIMEOUT),
        HttpAnswer(500, (), b"{}"),
        HttpAnswer(302, (("location", "http://elsewhere"),)),
        HttpAnswer(200, (), b"<html>"),
        HttpAnswer(200, (), b"\xff"),
        HttpAnswer(200, (), b"{}"),
    ],
)
def test_what_is_no_answer(kind: str, answer: Result) -> None:
    *before, _ = answered(kind, {})
    with pytest.raises(Unavailable, match="search: "):
        found(store(kind), *before, answer)


def test_a_collection_of_chromas_that_is_not_there() -> None:
    missing = HttpAnswer(404, (), b"{}")
    with pytest.raises(Unavailable, match="it answered 404"):
        found(store("chroma"), missing)
    with pytest.raises(Unavailable, match="it answered 404"):
        found(store("chroma"), *answered("chroma", {}, 404))


def test_chromas_tenant_and_database() -> None:
    made = store("chroma", tenant="t 1", database="d/1", api_key="SECRET")
    _, (first, second) = found(made, *answered("chroma", EMPTY["chroma"]))
    where = "http://s.test/api/v2/tenants/t%201/databases/d%2F1/collections"
    assert (first.method, first.url) == ("GET", f"{where}/c")
    assert (second.method, second.url) == ("POST", f"{where}/5c2a/query")
    assert dict(second.headers)["x-chroma-token"] == "SECRET"


@kinds
def test_no_key_shows(kind: str) -> None:
    made = store(kind, api_key="SECRET")
    _, calls = found(made, *answered(kind, EMPTY[kind]))
    assert "SECRET" in str([call.headers for call in calls]) and "SECRET" not in f"{made!r} {calls!r}"


@kinds
def test_what_it_does_not_know_is_said(kind: str) -> None:
    with pytest.raises(PolicyError, match="unknown key"):
        store(kind, colour="blue")
    with pytest.raises(PolicyError, match="expected a URL"):
        store(kind, endpoint="s.test")
    with pytest.raises(PolicyError, match="expected a URL"):
        store(kind, endpoint="http://s.test/\r\nhost: x")
