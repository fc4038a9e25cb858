from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.shared.media import as_text, standard_base64
from extproc.llm.request import (
    Document,
    Image,
    Message,
    Opaque,
    Request,
    SearchResult,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from extproc.policy.texts import Scope, said_in, strings, text_of, wants_results, with_text

CALL = ToolCall("c", "f", '{"q": "argument"}')
REQUEST = Request(
    dialect="d",
    model="m",
    system=[Message("system", "system")],
    messages=[
        Message("user", "first"),
        Message("assistant", [Thinking("thought"), Text("answer")]),
        Message("user", [Text("second"), Image(Source("url", "u"))]),
        Message("assistant", [Text("calling"), CALL]),
        Message("tool", [ToolResult("c", [Text("result")])]),
    ],
)


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        # The last turn is the calls and their results: nobody but tools has said anything in it.
        (Scope(), []),
        (Scope(results=True), ["result"]),
        (Scope(arguments=True), ['{"q": "argument"}']),
        (Scope(history=True), ["first", "second"]),
        (Scope(everyone=True), ["system", "calling"]),
        (
            Scope(True, True, True, True),
            ["system", "first", "thought", "answer", "second", "calling", '{"q": "argument"}', "result"],
        ),
    ],
    ids=repr,
)
def test_of_whom_and_of_what(scope: Scope, said: list[str]) -> None:
    assert list(said_in(REQUEST, scope)) == said


@pytest.mark.parametrize(
    ("roles", "said"), [("u", "0"), ("uu", "01"), ("uau", "2"), ("uauu", "23"), ("uaua", "23"), ("a", "")]
)
def test_the_last_turn_is_what_comes_behind_the_last_answer(roles: str, said: str) -> None:
    messages = [Message("user" if role == "u" else "assistant", str(n)) for n, role in enumerate(roles)]
    request = Request(dialect="d", model="m", messages=messages)
    assert "".join(said_in(request, Scope())) == "".join(n for n in said if roles[int(n)] == "u")


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (Document(Source("text", "data"), title="title", context="context"), ["title", "context", "data"]),
        (Document(None, blocks=[Text("inner")]), ["inner"]),
        (Document(Source("base64", "AA==")), []),
        (SearchResult("source", "title", [Text("found")]), ["title", "found"]),
        (Opaque("d", {"type": "x", "n": [1, "deep"]}), ["type", "x", "n", "deep"]),
    ],
    ids=repr,
)
def test_every_kind_of_part(block: Any, said: list[str]) -> None:
    request = Request(dialect="d", model="m", messages=[Message("user", [block])])
    assert list(said_in(request, Scope())) == said


def test_who_waits_for_results() -> None:
    assert wants_results(Message("assistant", [CALL])) and not wants_results(Message("assistant", "text"))


def test_texts_of_any_depth_in_their_order() -> None:
    deep: Any = "end"
    for _ in range(5000):
        deep = [deep]
    assert list(strings(deep)) == ["end"]
    assert list(strings({"a": ["b", {"c": "d"}], "e": None, "f": 1})) == ["a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize(
    ("kind", "media_type", "text"),
    [
        ("base64", "text/plain", "hé"),
        ("base64", "text/csv; charset=utf-8", "hé"),
        ("base64", "application/json", "hé"),
        ("base64", "application/ld+json", "hé"),
        ("base64", " Text/Plain", "hé"),
        ("base64", "application/toml", "hé"),
        ("base64", "application/x-python", "hé"),
        ("base64", "model/gltf+json", "hé"),
        ("base64", "application/pdf", None),
        ("base64", "image/png", None),
        ("base64", None, None),
        ("url", "text/plain", None),
        ("file", "text/plain", None),
    ],
)
def test_documents_that_are_text(kind: Any, media_type: str | None, text: str | None) -> None:
    source = Source(kind, "aMOp", media_type)
    assert text_of(source) == text
    if text is not None:
        other = with_text(source, "x[EMAIL_1]")
        assert (text_of(other), other.media_type) == ("x[EMAIL_1]", media_type)


@pytest.mark.parametrize("data", ["fn4_", "fn4/", "fn4\n/", "fn4_YQ", "fn4_YQ=="])
def test_base64_is_read_as_the_dialects_read_it(data: str) -> None:
    source = Source("base64", data, "text/plain")
    assert text_of(source) == as_text(standard_base64(data)) and text_of(source) is not None


def test_a_document_that_is_no_base64_is_no_text() -> None:
    assert text_of(Source("base64", "a", "text/plain")) is None
    plain = Source("text", "as it is", "text/plain")
    assert text_of(plain) == "as it is" and with_text(plain, "other") == Source("text", "other", "text/plain")
