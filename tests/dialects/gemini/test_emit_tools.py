from __future__ import annotations

import json
from typing import Any

import pytest

from .helpers import (
    CHAT,
    DECLARED,
    HI,
    MESSAGES,
    NEW,
    SCHEMA,
    TOOL,
    Json,
    chat,
    reported,
    to_gemini,
)


def config(model: str = NEW, **members: Any) -> Any:
    return chat(model, **members)[0].get("generationConfig")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
         {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
         {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)  # fmt: skip
def test_tool_choice(choice: Any, expected: Any) -> None:
    sent, lost = chat(tools=[TOOL], **({"tool_choice": choice} if choice else {}))
    assert sent["tools"] == [DECLARED]
    assert (sent.get("toolConfig") or {}).get("functionCallingConfig") == expected
    assert lost == set()


def test_strict_tools_are_validated_and_parallel_calls_cannot_be_kept_from() -> None:
    strict = {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}
    sent, lost = chat(tools=[strict], parallel_tool_calls=False)
    assert sent["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert lost == {"parallel_tool_calls:dropped"}


def test_names_that_gemini_does_not_take_come_back() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("1st", "a b", "ok")]
    t, sent = to_gemini(CHAT, {"model": NEW, "messages": [HI], "tools": tools})
    first, second, third = (each["name"] for each in sent["tools"][0]["functionDeclarations"])
    assert first == "_1st" and second.startswith("ab_") and third == "ok"
    call = {"functionCall": {"name": second, "args": {}}}
    answer = {"candidates": [{"content": {"parts": [call]}, "finishReason": "STOP"}], "responseId": "r"}
    t.response_head(200, [("content-type", "application/json")])
    out = json.loads(t.response_body(json.dumps(answer).encode(), end_of_stream=True))
    assert out["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "a b"


def test_an_older_model_gets_googles_schemas_and_no_form_beside_tools() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    sent, lost = chat("gemini-2.0-flash", tools=[TOOL], response_format=form)
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert sent["tools"] == [{"functionDeclarations": [{"name": "f", "parameters": parameters}]}]
    assert "generationConfig" not in sent and "JSON Schema" in sent["systemInstruction"]["parts"][-1]["text"]
    assert lost == {"tools[0].function:rewritten", "response_format:emulated"}
    assert config("gemini-2.0-flash", response_format=form)["responseSchema"] == parameters


def test_free_form_tools_go_as_functions_with_one_text() -> None:
    custom = {"type": "custom", "custom": {"name": "sh", "description": "d"}}
    sent, lost = chat(tools=[custom])
    [declared] = sent["tools"][0]["functionDeclarations"]
    assert declared["name"] == "sh" and declared["parametersJsonSchema"]["required"] == ["input"]
    assert lost == {"tools[0]:emulated"}


def test_web_search_alone_and_beside_functions() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    asked: Json = {"model": NEW, "max_tokens": 9, "messages": [HI], "tools": [search]}
    t, sent = to_gemini(MESSAGES, asked)
    assert sent["tools"] == [{"googleSearch": {}}] and reported(t) == {"tools[0].max_uses:dropped"}
    t, sent = to_gemini(MESSAGES, asked | {"tools": [search, {"name": "f", "input_schema": SCHEMA}]})
    assert sent["tools"] == [DECLARED] and reported(t) == {"tools[0]:dropped"}
