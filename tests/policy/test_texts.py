from __future__ import annotations

from typing import Any

import pytest

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
from extproc.policy.texts import Scope, said_in, strings, wants_results

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
