from __future__ import annotations

import base64
from typing import Any

import pytest

from extproc.dialects.gemini.words import STAND_IN
from extproc.llm.failures import ProtocolError
from extproc.llm.request import (
    Audio,
    Document,
    Image,
    Message,
    Opaque,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

from .helpers import ASKED, Json, blocks, parse


@pytest.mark.parametrize("spelled", [str, lambda name: name.replace("Type", "_type").replace("Data", "_data")])
def test_parts(spelled: Any) -> None:
    data, kind, file = spelled("inlineData"), spelled("mimeType"), spelled("fileData")
    uri = "file_uri" if spelled is not str else "fileUri"
    at = "contents[0].parts[0]"
    table: list[tuple[Json, Any]] = [
        ({data: {kind: "image/png", "data": "AA=="}}, Image(Source("base64", "AA==", "image/png"), at)),
        ({data: {kind: "audio/wav", "data": "AA=="}}, Audio("AA==", "wav", at)),
        ({data: {kind: "application/pdf", "data": "-_8="}},
         Document(Source("base64", "+/8=", "application/pdf"), at=at)),
        ({file: {kind: "image/png", uri: "https://e.x/a"}}, Image(Source("url", "https://e.x/a", "image/png"), at)),
        ({file: {uri: "gs://b/a.pdf"}}, Document(Source("file", "gs://b/a.pdf", None, "gemini"), at=at)),
        ({"videoMetadata": {"fps": 1}, file: {uri: "https://youtu.be/x"}},
         Document(Source("url", "https://youtu.be/x"), at=at, extra={"videoMetadata": {"fps": 1}})),
        ({"executableCode": {"code": "1"}},
         Opaque("gemini", {"type": "executableCode", "executableCode": {"code": "1"}}, at, essential=True)),
    ]  # fmt: skip
    for part, expected in table:
        assert blocks(part) == [expected]


def test_a_text_alone_is_a_string_and_a_role_may_be_missing() -> None:
    request = parse(contents=[{"parts": [{"text": "a"}]}, {"role": "model", "parts": {"text": "b"}}, ASKED])
    assert request.messages[1:] == [Message("assistant", "b", "contents[1]"), Message("user", "hi", "contents[2]")]
    assert request.messages[0].content == [Text("a", "contents[0].parts[0]")]


@pytest.mark.parametrize(
    ("instruction", "texts"),
    [
        ({"parts": [{"text": "a"}, {"text": "b"}]}, ["a", "b"]),
        ({"role": "system", "parts": {"text": "a"}}, ["a"]),
        ("a", "a"),
        ({"parts": []}, None),
        (None, None),
    ],
)
def test_system_instruction(instruction: Any, texts: Any) -> None:
    for name in ("systemInstruction", "system_instruction"):
        system = parse(**{name: instruction}).system
        found = system[0].content if system else None
        assert (found if isinstance(found, str) or found is None else [x.text for x in found]) == texts  # type: ignore[union-attr]
        assert not system or system[0].at == name


def test_thoughts_and_signatures() -> None:
    at = [f"contents[0].parts[{i}]" for i in range(4)]
    said = blocks(
        {"text": "t", "thought": True},
        {"text": "a", "thoughtSignature": "S"},
        {"functionCall": {"id": "c", "name": "f", "args": {"x": 1}}, "thought_signature": "T"},
        {"function_call": {"id": "d", "name": "f"}, "thoughtSignature": STAND_IN},
        role="model",
    )
    assert said == [
        Thinking("t", at=at[0]),
        Text("a", at[1]),
        Thinking("", "S", None, "google-gemini-v1", at=at[1]),
        ToolCall("c", "f", input={"x": 1}, at=at[2], signature="T"),
        ToolCall("d", "f", input={}, at=at[3]),
    ]


def test_what_collects_a_stream_in_pieces_is_one_turn() -> None:
    seal = base64.b64encode(b"gw1.s.anthropic-claude-v1.SIG").decode()
    pieces: list[list[Json]] = [
        [{"text": "let ", "thought": True}],
        [{"text": "me see", "thought": True}],
        [{"text": "", "thought": True, "thoughtSignature": seal}],
        [{"text": "a"}],
        [{"text": "b"}],
        [{"functionCall": {"id": "c", "name": "f"}}],
        [{"functionCall": {"id": "d", "name": "f"}}],
        [{"text": ""}],
    ]
    results = [{"functionResponse": {"id": id_, "name": "f", "response": {"output": "x"}}} for id_ in "dc"]
    contents = [ASKED, *({"role": "model", "parts": parts} for parts in pieces), {"role": "user", "parts": results}]
    _, answer, after = parse(contents=contents).messages
    assert isinstance(answer.content, list)
    thinking, text, *calls = answer.content
    assert isinstance(thinking, Thinking)
    assert (thinking.text, thinking.signature, thinking.signer) == ("let me see", "SIG", "anthropic-claude-v1")
    assert isinstance(text, Text) and text.text == "ab"
    assert [call.id for call in calls if isinstance(call, ToolCall)] == ["c", "d"]
    assert [result.id for result in after.content if isinstance(result, ToolResult)] == ["d", "c"]


@pytest.mark.parametrize(
    ("response", "content", "is_error"),
    [
        ({"output": "x"}, "x", None),
        ({"result": "x"}, "x", None),
        ({"error": "x"}, "x", True),
        ({"error": {"code": 3}}, '{"code":3}', True),
        ({"output": {"a": 1}}, '{"output":{"a":1}}', None),
        ({"error": "x", "output": "y"}, '{"error":"x","output":"y"}', None),
        ({}, "", None),
    ],
)
def test_results(response: Json, content: str, is_error: bool | None) -> None:
    call = {"role": "model", "parts": [{"functionCall": {"name": "f"}}]}
    result = {"functionResponse": {"name": "f", "response": response}}
    [read] = blocks(result, before=[ASKED, call])
    assert (read.content, read.is_error) == (content, is_error)


def test_calls_without_ids_are_answered_by_name() -> None:
    calls = [{"functionCall": {"name": name}} for name in ("f", "g", "f")]
    results = [{"functionResponse": {"name": name, "response": {"output": name}}} for name in ("g", "f", "f")]
    contents = [ASKED, {"role": "model", "parts": calls}, {"role": "user", "parts": results}]
    _, answer, after = parse(contents=contents).messages
    ids = [call.id for call in answer.content if isinstance(call, ToolCall)]
    assert len(set(ids)) == 3 and all(ids)
    assert [r.id for r in after.content if isinstance(r, ToolResult)] == [ids[1], ids[0], ids[2]]


def test_media_in_a_result() -> None:
    call = {"role": "model", "parts": [{"functionCall": {"id": "c", "name": "f"}}]}
    part = {"inlineData": {"mimeType": "image/png", "data": "AA==", "displayName": "x"}}
    response = {"id": "c", "name": "f", "response": {"output": "see"}, "parts": [part]}
    [result] = blocks({"functionResponse": response}, before=[ASKED, call])
    text, image = result.content
    assert (text.text, image.source.data) == ("see", "AA==")


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        ([], "contents: at least one"),
        ([{"role": "owner", "parts": []}], "contents[0].role: expected user or model, got 'owner'"),
        ([{"parts": 3}], "contents[0].parts: expected an array, got an integer"),
        ([{"parts": [3]}], "contents[0].parts[0]: expected an object, got an integer"),
        ([{"parts": [{}]}], "contents[0].parts[0]: the part is empty"),
        ([{"parts": [{"inlineData": {"mimeType": "image/png"}}]}], "contents[0].parts[0].inlineData.data: is missing"),
        ([{"parts": [{"functionCall": {"name": "f"}}]}], "can only be in a model's content"),
        ([{"parts": [{"text": "t", "thought": True}]}], "only a model's content holds thoughts"),
        ([ASKED, {"role": "model", "parts": [{"functionResponse": {}}]}], "can only be in a user's content"),
    ],
)
def test_what_the_api_does_not_allow(contents: list[Any], problem: str) -> None:
    with pytest.raises(ProtocolError) as error:
        parse(contents=contents)
    assert problem in str(error.value)
