"""What was asked and answered, in a span."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from extproc.telemetry.payloads import Payloads
from extproc.tracing.content import OMITTED, attributes_of

from .exchanges import ASKED, BEGAN, DONE, content

decode = msgspec.json.decode


def told(
    kept: Payloads, client: str = "anthropic_messages", path: str = "/v1/messages", **changed: Any
) -> dict[str, Any]:
    made = attributes_of(replace(BEGAN, path=path), replace(DONE, client=client, **changed), kept)
    return {name: value if name == OMITTED else decode(value) for name, value in made.items()}


def test_messages_with_their_parts() -> None:
    made = told(content())
    assert OMITTED not in made
    assert made["gen_ai.system_instructions"] == [{"type": "text", "content": "Be brief."}]
    user, assistant, tool, again = made["gen_ai.input.messages"]
    assert user == {"role": "user", "parts": [
        {"type": "text", "content": "Rome?"},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "base64_length": 8},
        {"type": "uri", "modality": "image", "uri": "https://x.example/y.png"},
    ]}  # fmt: skip
    call = {"type": "tool_call", "id": "t1", "name": "get_weather", "arguments": {"city": "Rome", "key": "***"}}
    assert assistant == {"role": "assistant", "parts": [call]}, "our secrets are in no span"
    assert tool == {"role": "tool", "parts": [{"type": "tool_call_response", "id": "t1", "response": "sunny"}]}
    assert again == {"role": "user", "parts": [{"type": "text", "content": "and Oslo?"}]}
    assert made["gen_ai.tool.definitions"] == [
        {"type": "function", "name": "get_weather", "description": "of a city", "parameters": {"type": "object"}}
    ]


def test_a_streamed_answer_is_whole() -> None:
    (answer,) = told(content())["gen_ai.output.messages"]
    thought, text, call, opaque = answer["parts"]
    assert (answer["role"], answer["finish_reason"]) == ("assistant", "tool_call")
    assert thought == {"type": "reasoning", "content": "hm"}
    assert text == {"type": "text", "content": "Let me see, ***."}
    assert call == {
        "type": "tool_call", "id": "t2", "name": "get_weather", "arguments": {"city": "Oslo", "password": "hidden"},
    }  # fmt: skip
    assert opaque == {"type": "server_tool_use"}


def test_members_that_nobody_is_to_see_are_not_put_together_either() -> None:
    made = told(content(redact=("password", "city")))
    text = msgspec.json.encode(made).decode()
    assert "hidden" not in text and "Rome" not in text.replace("Rome?", "") and "Oslo\\" not in text
    (answer,) = made["gen_ai.output.messages"]
    assert answer["parts"][2]["arguments"] == {"city": "***", "password": "***"}


@pytest.mark.parametrize(
    ("name", "asked", "answered"),
    [
        ("text", ["Rome?", "and Oslo?"], ["Let me ", "hm"]),
        ("system", ["Be brief."], []),
        ("input", ['"city":"Rome"'], ['"city":"Oslo"']),
        ("input_schema", ['"parameters":{"type":"object"'], []),
        ("source", ["x.example", "image/png"], []),
        ("url", ["x.example"], []),
        ("messages", ["Rome", "sunny", "Oslo?"], []),
        ("delta", [], ["Let me "]),
        ("partial_json", [], ['"city":"Oslo"']),
        ("arguments", [], ['"city":"Oslo"']),
        ("content", ["Rome", "sunny", "Oslo?"], ["Let me "]),
    ],
)
def test_what_must_not_be_seen_is_not_seen_by_another_name(name: str, asked: list[str], answered: list[str]) -> None:
    """A span calls the members of every API by the names of the conventions."""
    everything, text = (msgspec.json.encode(told(content(redact=each))).decode() for each in ((), (name,)))
    for hidden in asked + answered:
        assert hidden in everything and hidden not in text, hidden


def test_a_call_that_was_cut_off_stays_a_text() -> None:
    kept = content()
    kept.answer()[0].blocks[2].parts.pop()  # type: ignore[union-attr]
    made = told(kept, finish="")
    (answer,) = made["gen_ai.output.messages"]
    assert answer["parts"][2]["arguments"] == '{"city": "Oslo", "pass' and answer["finish_reason"] == "error"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (b"x" * 70_000, "the request is longer than --records-payload-bytes"),
        (b'{"model": "best", "messages": 3}', "the request cannot be read"),
        (b"no JSON", "the request cannot be read"),
    ],
)
def test_what_is_not_shown_is_said(asked: bytes, why: str) -> None:
    made = told(content(asked))
    assert made[OMITTED] == why and "gen_ai.input.messages" not in made and made["gen_ai.output.messages"]


DEEP = b'{"model":"m","max_tokens":9,"messages":[%s,{"role":"assistant","content":[%s]},%s]}' % (
    b'{"role":"user","content":"hi"}',
    b'{"type":"tool_use","id":"t","name":"f","input":{"a":' + b"[" * 900 + b"]" * 900 + b"}}",
    b'{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"r"}]}',
)  # fmt: skip


def test_what_is_nested_too_deep_is_said_and_the_rest_shown() -> None:
    made = told(content(DEEP))
    assert "nested too deep" in made[OMITTED] or "cannot be read" in made[OMITTED]
    assert "gen_ai.input.messages" not in made and made["gen_ai.output.messages"]


def test_an_answer_beyond_the_bound_is_cut_and_said() -> None:
    made = told(content({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}, bound=80))
    assert "the answer's end" in made[OMITTED]
    assert made["gen_ai.input.messages"][0]["parts"] == [{"type": "text", "content": "hi"}]
    (answer,) = made["gen_ai.output.messages"]
    assert answer["parts"][0] == {"type": "reasoning", "content": "hm"}


@pytest.mark.parametrize(
    ("client", "path", "asked"),
    [
        ("openai_chat", "/v1/chat/completions", {"model": "m", "messages": [
            {"role": "system", "content": "S"}, {"role": "user", "content": "hi"}]}),
        ("openai_responses", "/v1/responses", {"model": "m", "instructions": "S", "input": "hi"}),
        ("gemini", "/v1beta/models/m:generateContent", {
            "systemInstruction": {"parts": [{"text": "S"}]},
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
        ("bedrock_converse", "/model/m/converse", {
            "system": [{"text": "S"}], "messages": [{"role": "user", "content": [{"text": "hi"}]}]}),
        ("anthropic_messages", "/v1/messages", {
            "model": "m", "max_tokens": 1, "system": "S", "messages": [{"role": "user", "content": "hi"}]}),
    ],
)  # fmt: skip
def test_every_api_says_the_same(client: str, path: str, asked: dict[str, Any]) -> None:
    made = told(content(asked), client, path)
    assert made["gen_ai.system_instructions"] == [{"type": "text", "content": "S"}]
    assert made["gen_ai.input.messages"] == [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]


def test_other_blocks_have_a_part_each() -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "D"}}
    nested = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "N"}]}}
    found = {"type": "search_result", "source": "https://s", "title": "T", "content": [{"type": "text", "text": "F"}]}
    file = {"type": "image", "source": {"type": "file", "file_id": "f1"}}
    turn = {"role": "user", "content": [document, nested, found, file, {"type": "of-tomorrow"}]}
    made = told(content({**ASKED, "messages": [turn]}))
    (message,) = made["gen_ai.input.messages"]
    kinds = [part["type"] for part in message["parts"]]
    assert kinds == ["text", "document", "search_result", "file", "of-tomorrow"]


def test_nothing_kept_is_nothing_shown() -> None:
    kept = Payloads(10, content()._mask)
    kept.asked(b"")
    assert told(kept) == {}
