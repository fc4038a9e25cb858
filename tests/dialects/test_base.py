"""What every dialect says of its own wire: the request's address, what is read of it unread, an answer of our own."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from extproc import dialects
from extproc.dialects.base import (
    Asked,
    CountsTokens,
    Dialect,
    Env,
    ListsModels,
    ModelInPath,
    Operation,
    ResponseHead,
    Upstream,
    top_level,
)
from extproc.dialects.shared.embeds import EmbedInPath
from extproc.llm.events import ResponseEnded, ResponseFailed, StopReason, TextDelta, Usage
from extproc.llm.failures import ProtocolError
from extproc.llm.models import Model
from extproc.llm.request import Request

from ..properties.pipeline import NAMES, parse

ALL = [dialect for dialect in dialects.REGISTRY.values() if dialect.paths]
IN_PATH = [dialect for dialect in ALL if isinstance(dialect, ModelInPath)]
IN_BODY = [dialect for dialect in ALL if not isinstance(dialect, ModelInPath)]
ODD = "ti/tan v1:0"


def named(dialect: Dialect) -> str:
    return dialect.name


FUNCTIONS = [{"name": "a"}, {"name": "b"}]


@pytest.mark.parametrize(
    ("name", "body", "tools", "user"),
    [
        ("openai_chat", {"tools": FUNCTIONS, "user": "ann"}, 2, "ann"),
        ("openai_chat", {"user": "ann", "safety_identifier": "bob"}, 0, "bob"),
        ("openai_responses", {"tools": FUNCTIONS, "safety_identifier": "bob"}, 2, "bob"),
        ("openai_embeddings", {"input": "x", "user": "ann"}, 0, "ann"),
        ("anthropic_messages", {"tools": FUNCTIONS, "metadata": {"user_id": "ann"}}, 2, "ann"),
        ("anthropic_messages", {"metadata": {"user_id": '{"device_id": "d", "session_id": "s"}'}}, 0, "d"),
        ("gemini", {"tools": [{"functionDeclarations": FUNCTIONS}, {"googleSearch": {}}]}, 3, ""),
        ("gemini", {"tools": [{"function_declarations": FUNCTIONS}]}, 2, ""),
        ("bedrock_converse", {"toolConfig": {"tools": FUNCTIONS}}, 2, ""),
    ],
)
def test_what_a_request_offers_and_for_whom(name: str, body: dict[str, Any], tools: int, user: str) -> None:
    traits = dialects.get(name).traits(top_level(json.dumps(body).encode()))
    assert (traits.tools, traits.end_user) == (tools, user)


@pytest.mark.parametrize("dialect", ALL, ids=named)
@pytest.mark.parametrize("value", ["1", '"x"', "null", "{}", "[1, null]", "1e999"])
def test_what_cannot_be_read_is_offered_by_nobody(dialect: Dialect, value: str) -> None:
    members = ("tools", "toolConfig", "user", "safety_identifier", "metadata")
    body = "{" + ", ".join(f'"{member}": {value}' for member in members) + "}"
    traits = dialect.traits(top_level(body.encode()))
    assert traits.tools in (0, 2) and type(traits.end_user) is str


# ---- where a request goes


@pytest.mark.parametrize("dialect", ALL, ids=named)
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_dialect_asks_at_its_own_address_it_reads_there(dialect: Dialect, stream: bool) -> None:
    stem = "/models/{model}" if isinstance(dialect, ModelInPath) else dialect.paths[0]
    method, path = dialect.address(Upstream("p", stem), Asked(ODD, stream))
    asked = dialect.peek(path, {"model": ODD, "stream": stream})
    # Vectors come whole.
    assert method == "POST" and (asked.model, asked.stream) == (ODD, stream and not isinstance(dialect, EmbedInPath))
    # What makers have behind Bedrock's one path the route's `client` tells apart.
    assert dialects.detect(path, b"{}") == ("anthropic_bedrock" if path.endswith("/invoke") else dialect.name)


# ---- what is read of a request unread


@pytest.mark.parametrize("dialect", IN_BODY, ids=named)
@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (b'{"model": "m", "stream": true}', Asked("m", True)),
        (b'{"model": "m", "stream": "yes"}', Asked("m")),
        (b'{"model": ["m"], "stream": null}', Asked()),
        (b"{}", Asked()),
    ],
)
def test_of_a_body(dialect: Dialect, body: bytes, asked: Asked) -> None:
    found = dialect.peek(dialect.paths[0], top_level(body))
    assert (found.model, found.stream) == (asked.model, asked.stream)
    path, members = dialect.rename("/p?q", top_level(b'{"a" : 1.0, "model": "m"}'), "n")
    assert (path, members["model"], bytes(members["a"])) == ("/p?q", "n", b"1.0")


@pytest.mark.parametrize("dialect", IN_PATH, ids=named)
@pytest.mark.parametrize("query", ["", "?a=/x"])
def test_of_a_path(dialect: ModelInPath, query: str) -> None:
    members = top_level(b'{"model": "not this", "stream": true}')
    for stream, verb in enumerate(dialect.verbs):
        path = f"/any/model/{quote(ODD, safe='')}{verb.partition('?')[0]}{query}"
        asked = dialect.peek(path, members)
        assert (asked.model, asked.stream) == (ODD, bool(stream) and not isinstance(dialect, EmbedInPath))
        # Of what bodies name besides, tests/dialects/gemini_embeddings has more.
        unnamed = top_level(b'{"stream": true}')
        renamed, same = dialect.rename(path, unnamed, "a/b")
        assert renamed == path.replace(quote(ODD, safe=""), "a%2Fb") and same is unnamed


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 5000])
def test_a_body_that_is_no_object(body: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"^the request body is not a JSON object"):
        top_level(body)


# ---- answers of our own


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("worded", [False, True])
def test_a_denial_is_a_whole_answer_of_the_dialects_own(name: str, stream: bool, worded: bool) -> None:
    dialect = dialects.get(name)
    request = Request(dialect=name, model="m", messages=[], stream=stream)
    head, body = dialect.deny(request, "not that", Env(1.0, "id-1"), Usage(3, 0), worded=worded)
    assert head.status == 200
    expected = dialect.stream_type if stream else "application/json"
    assert head.header("content-type") == expected
    events = parse(name, body, ResponseHead(200, [("content-type", expected)]))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "not that"
    (ended,) = [event for event in events if isinstance(event, ResponseEnded)]
    assert ended.stop is StopReason.REFUSAL and ended.usage.input_tokens == 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stream", [False, True])
def test_a_denial_may_end_as_any_answer(name: str, stream: bool) -> None:
    request = Request(dialect=name, model="m", messages=[], stream=stream)
    head, body = dialects.get(name).deny(request, "not that", Env(1.0, "id-1"), Usage(0, 0), stop=StopReason.END)
    (ended,) = [event for event in parse(name, body, head) if isinstance(event, ResponseEnded)]
    assert ended.stop is StopReason.END and ended.usage.input_tokens == 0


@pytest.mark.parametrize("name", [name for name in dialects.REGISTRY if name not in NAMES])
def test_a_denial_where_answers_hold_no_text_is_an_error(name: str) -> None:
    request = Request(dialect=name, model="m", messages=[])
    head, body = dialects.get(name).deny(request, "not that", Env())
    assert head.status == 400 and "not that" in json.dumps(json.loads(body))


# ---- optional abilities


@pytest.mark.parametrize("dialect", ALL, ids=named)
def test_who_counts_is_asked_at_a_path_of_its_own(dialect: Dialect) -> None:
    counting = [path for path in dialect.paths if dialect.operation(path) is Operation.COUNT]
    assert bool(counting) == isinstance(dialect, CountsTokens)


@pytest.mark.parametrize("dialect", [each for each in ALL if isinstance(each, ListsModels)], ids=named)
def test_a_list_of_models_is_json_and_names_them(dialect: ListsModels) -> None:
    one = Model("m-1", "M One", "o", 1)
    assert "m-1" in json.dumps(json.loads(dialect.one_model(one)))
    both: Any = json.loads(dialect.all_models([one, Model("m-2", "M Two", "o")], ""))
    assert all(name in json.dumps(both) for name in ("m-1", "m-2"))


def test_a_failure_is_never_said_in_a_denial() -> None:
    for name in NAMES:
        request = Request(dialect=name, model="m", messages=[], stream=True)
        _, body = dialects.get(name).deny(request, "no", Env())
        answer = ResponseHead(200, [("content-type", dialects.get(name).stream_type)])
        assert not [event for event in parse(name, body, answer) if isinstance(event, ResponseFailed)]
