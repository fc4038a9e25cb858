from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Call, Refused, Translation
from extproc.dialects.gemini.words import STAND_IN

from .helpers import Json, reported, to_gemini, translation

CHAT, MESSAGES = "openai_chat", "anthropic_messages"
HI: Json = {"role": "user", "content": "hi"}
CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]
NEW, OLD = "gemini-3-pro-preview", "gemini-2.5-flash"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
DECLARED = {"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}


def chat(model: str = NEW, **members: Any) -> tuple[Json, set[str]]:
    t, sent = to_gemini(CHAT, {"model": model, "messages": [HI], **members})
    return sent, reported(t)


def config(model: str = NEW, **members: Any) -> Any:
    return chat(model, **members)[0].get("generationConfig")


@pytest.mark.parametrize(
    ("members", "expected", "losses"),
    [
        ({}, None, set()),
        ({"max_completion_tokens": 9, "temperature": 1.5, "top_p": 0.5, "top_k": 3, "seed": 7},
         {"maxOutputTokens": 9, "temperature": 1.5, "topP": 0.5, "topK": 3, "seed": 7}, set()),
        ({"presence_penalty": 0.5, "frequency_penalty": -1}, {"presencePenalty": 0.5, "frequencyPenalty": -1}, set()),
        ({"stop": list("abcdef")}, {"stopSequences": list("abcde")}, {"stop[5]:dropped"}),
        ({"max_tokens": 10**6}, {"maxOutputTokens": 65536}, {"max_tokens:clamped"}),
        ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}, set()),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
         {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}, set()),
        ({"user": "u", "prompt_cache_key": "k", "service_tier": "scale"}, None,
         {"user:dropped", "prompt_cache_key:dropped", "service_tier:dropped"}),
        ({"generationConfig": {"media_resolution": "MEDIA_RESOLUTION_LOW"}, "temperature": 0},
         {"mediaResolution": "MEDIA_RESOLUTION_LOW", "temperature": 0}, set()),
        ({"logit_bias": {"1": 2}, "x_new": 1}, None, {"logit_bias:dropped", "x_new:dropped"}),
    ],
)  # fmt: skip
def test_generation_config(members: Json, expected: Any, losses: set[str]) -> None:
    sent, lost = chat(**members)
    assert (sent.get("generationConfig"), lost) == (expected, losses)
    assert sent["contents"] == CONTENTS


@pytest.mark.parametrize(
    ("model", "effort", "expected", "losses"),
    [
        (NEW, "low", {"thinkingLevel": "low", "includeThoughts": True}, set()),
        (NEW, "medium", {"thinkingLevel": "high", "includeThoughts": True}, {"reasoning_effort:downgraded"}),
        (NEW, "minimal", {"thinkingLevel": "low", "includeThoughts": True}, {"reasoning_effort:downgraded"}),
        (NEW, "none", {"thinkingLevel": "low"}, {"reasoning_effort:downgraded"}),
        ("gemini-3.5-flash", "medium", {"thinkingLevel": "medium", "includeThoughts": True}, set()),
        ("gemini-3.5-flash", "max", {"thinkingLevel": "high", "includeThoughts": True},
         {"reasoning_effort:downgraded"}),
        ("gemini-3.5-flash", "none", {"thinkingLevel": "minimal"}, {"reasoning_effort:downgraded"}),
        (OLD, "none", {"thinkingBudget": 0}, set()),
        (OLD, "low", {"thinkingBudget": 1024, "includeThoughts": True}, set()),
        (OLD, "high", {"thinkingBudget": 24576, "includeThoughts": True}, set()),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}, {"reasoning_effort:downgraded"}),
        ("gemini-2.0-flash", "high", None, {"reasoning_effort:dropped"}),
        ("gemini-2.0-flash", "none", None, set()),
        ("a-tuned-one", "max", {"thinkingLevel": "max", "includeThoughts": True}, set()),
    ],
)  # fmt: skip
def test_effort(model: str, effort: str, expected: Any, losses: set[str]) -> None:
    sent, lost = chat(model, reasoning_effort=effort)
    assert ((sent.get("generationConfig") or {}).get("thinkingConfig"), lost) == (expected, losses)


@pytest.mark.parametrize(
    ("model", "thinking", "expected", "losses"),
    [
        (OLD, {"type": "enabled", "budget_tokens": 3000}, {"thinkingBudget": 3000, "includeThoughts": True}, set()),
        (OLD, {"type": "enabled", "budget_tokens": 90000}, {"thinkingBudget": 24576, "includeThoughts": True},
         {"thinking:clamped"}),
        (OLD, {"type": "adaptive"}, {"thinkingBudget": -1, "includeThoughts": True}, set()),
        (OLD, {"type": "adaptive", "display": "omitted"}, {"thinkingBudget": -1}, set()),
        (OLD, {"type": "disabled"}, {"thinkingBudget": 0}, set()),
        (NEW, {"type": "enabled", "budget_tokens": 3000}, {"thinkingLevel": "low", "includeThoughts": True},
         {"thinking:rewritten"}),
        (NEW, {"type": "adaptive"}, {"includeThoughts": True}, set()),
        (NEW, {"type": "disabled"}, {"thinkingLevel": "low"}, {"thinking:downgraded"}),
    ],
)  # fmt: skip
def test_claudes_thinking(model: str, thinking: Json, expected: Any, losses: set[str]) -> None:
    t, sent = to_gemini(MESSAGES, {"model": model, "max_tokens": 9, "messages": [HI], "thinking": thinking})
    assert (sent["generationConfig"].get("thinkingConfig"), reported(t)) == (expected, losses)


# ---- contents


@pytest.mark.parametrize(
    ("messages", "contents"),
    [
        ([HI, {"role": "user", "content": "there"}], [{"role": "user", "parts": [{"text": "hi"}, {"text": "there"}]}]),
        ([HI, {"role": "system", "content": "s"}],
         [{"role": "user", "parts": [{"text": "hi"}, {"text": "<system>\ns\n</system>"}]}]),
        ([{"role": "assistant", "content": "a"}, HI],
         [{"role": "user", "parts": [{"text": "."}]}, {"role": "model", "parts": [{"text": "a"}]}, CONTENTS[0]]),
        ([HI, {"role": "assistant", "content": "a"}],
         [CONTENTS[0], {"role": "model", "parts": [{"text": "a"}]},
          {"role": "user", "parts": [{"text": "Continue."}]}]),
        ([HI, {"role": "assistant", "content": "a", "reasoning_content": "t"}, HI],
         [CONTENTS[0], {"role": "model", "parts": [{"text": "t", "thought": True}, {"text": "a"}]}, CONTENTS[0]]),
    ],
)  # fmt: skip
def test_turns(messages: list[Json], contents: list[Json]) -> None:
    assert chat(messages=messages)[0]["contents"] == contents


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "a"}, {"text": "a"}),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
         {"inlineData": {"mimeType": "image/png", "data": "AA=="}}),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "high"}},
         {"inlineData": {"mimeType": "image/png", "data": "AA=="},
          "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"}}),
        ({"type": "image_url", "image_url": {"url": "https://e.x/a.png?x=1"}},
         {"fileData": {"mimeType": "image/png", "fileUri": "https://e.x/a.png?x=1"}}),
        ({"type": "image_url", "image_url": {"url": "https://e.x/a"}}, {"fileData": {"fileUri": "https://e.x/a"}}),
        ({"type": "image_url", "image_url": {"url": "gs://b/photo.png"}},
         {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/photo.png"}}),
        ({"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
         {"inlineData": {"mimeType": "audio/mp3", "data": "AA=="}}),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}},
         {"inlineData": {"mimeType": "application/pdf", "data": "AA=="}}),
    ],
)  # fmt: skip
def test_parts(part: Json, expected: Json) -> None:
    sent, _ = chat(messages=[{"role": "user", "content": [part]}])
    assert sent["contents"] == [{"role": "user", "parts": [expected]}]


def test_documents_of_text_and_search_results_are_told_between_tags() -> None:
    text = {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "abc"}}
    found = {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]}
    marked = {"type": "text", "text": "?", "cache_control": {"type": "ephemeral"}}
    turn = {"role": "user", "content": [text, found, marked]}
    t, sent = to_gemini(MESSAGES, {"model": NEW, "max_tokens": 9, "messages": [turn]})
    assert [part["text"] for part in sent["contents"][0]["parts"]] == [
        '<document title="T">\nabc\n</document>', '<search_result title="t" source="s">\nx\n</search_result>', "?",
    ]  # fmt: skip
    assert "cache_control:dropped" in reported(t)


CALL = {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}
RESULT = {"type": "tool_result", "tool_use_id": "c"}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
PNG_PART = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}


def answered(result: Json, model: str = NEW, *after: Json) -> list[Json]:
    turns = [HI, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": [RESULT | result, *after]}]
    _, sent = to_gemini(MESSAGES, {"model": model, "max_tokens": 9, "messages": turns})
    parts: list[Json] = sent["contents"][2]["parts"]
    return parts


@pytest.mark.parametrize(
    ("result", "response"),
    [
        ({"content": "rain"}, {"output": "rain"}),
        ({"content": '{"temp": 15.0}'}, {"temp": 15.0}),
        ({"content": "[1]"}, {"output": "[1]"}),
        ({"content": "{broken"}, {"output": "{broken"}),
        ({"content": "no", "is_error": True}, {"error": "no"}),
        ({"content": ""}, {"output": ""}),
        ({}, {"output": ""}),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"output": "a\nb"}),
    ],
)
def test_results(result: Json, response: Json) -> None:
    assert answered(result) == [{"functionResponse": {"id": "c", "name": "f", "response": response}}]


def test_media_in_results_and_behind_them() -> None:
    result = {"content": [{"type": "text", "text": "see"}, PNG]}
    inside = {"id": "c", "name": "f", "response": {"output": "see"}, "parts": [PNG_PART]}
    assert answered(result, NEW, {"type": "text", "text": "?"}) == [{"functionResponse": inside}, {"text": "?"}]
    outside = {"id": "c", "name": "f", "response": {"output": "see"}}
    assert answered(result, OLD, {"type": "text", "text": "?"}) == [
        {"functionResponse": outside}, PNG_PART, {"text": "?"},
    ]  # fmt: skip


def test_results_stand_in_the_order_of_their_calls() -> None:
    calls = [{"id": x, "type": "function", "function": {"name": x, "arguments": '{"n":1e2}'}} for x in "ab"]
    results = [{"role": "tool", "tool_call_id": x, "content": x} for x in "ba"]
    sent, lost = chat(messages=[HI, {"role": "assistant", "tool_calls": calls}, *results])
    model, user = sent["contents"][1:]
    assert [part["functionCall"] for part in model["parts"]] == [
        {"id": "a", "name": "a", "args": {"n": 100.0}}, {"id": "b", "name": "b", "args": {"n": 100.0}},
    ]  # fmt: skip
    assert [part.get("thoughtSignature") for part in model["parts"]] == [STAND_IN, None]
    assert [part["functionResponse"]["name"] for part in user["parts"]] == ["a", "b"]
    assert lost == set()


def test_a_call_that_has_no_result_is_refused() -> None:
    with pytest.raises(Refused, match="the tool call has no result"):
        to_gemini(MESSAGES, {"model": NEW, "max_tokens": 9, "messages": [HI, {"role": "assistant", "content": [CALL]}]})


def test_arguments_that_are_no_object_are_kept_and_said() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{bad"}}
    turns = [HI, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "a", "content": "x"}]
    sent, lost = chat(OLD, messages=turns)
    [part] = sent["contents"][1]["parts"]
    assert part == {"functionCall": {"id": "a", "name": "f", "args": {"INVALID_JSON": "{bad"}}}
    assert lost == {"messages[1].tool_calls[0]:rewritten"}


@pytest.mark.parametrize(
    ("details", "parts"),
    [
        ({"format": "google-gemini-v1", "signature": "S", "text": ""}, [{"text": "a", "thoughtSignature": "S"}]),
        ({"format": "google-gemini-v1", "signature": "S", "text": "t"},
         [{"text": "t", "thought": True, "thoughtSignature": "S"}, {"text": "a"}]),
        ({"format": "anthropic-claude-v1", "signature": "S", "text": "t"}, [{"text": "a"}]),
    ],
)  # fmt: skip
def test_signatures_of_texts_and_thoughts(details: Json, parts: list[Json]) -> None:
    """A signature without a text is that of the text before it, by its place among the blocks."""
    detail = {"type": "reasoning.text", "index": 1 if not details["text"] else 0, **details}
    answer = {"role": "assistant", "content": "a", "reasoning_details": [detail]}
    assert chat(messages=[HI, answer, HI])[0]["contents"][1]["parts"] == parts


# ---- tools


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


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"n": 2}, "n must be 1"),
        ({"logprobs": True}, "logprobs is not supported"),
        ({"modalities": ["text", "audio"]}, "audio output is not supported"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]}, "file ids"),
        ({"reasoning_effort": "huge"}, "reasoning_effort must be one of"),
    ],
)
def test_what_cannot_be_carried_is_refused(members: Json, problem: str) -> None:
    with pytest.raises(Refused, match=problem):
        chat(**members)


def test_members_of_this_api_by_a_client_of_another() -> None:
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]
    sent, lost = chat(safety_settings=settings, labels={"team": "x"}, service_tier="flex")
    assert (sent["safetySettings"], sent["labels"], sent["serviceTier"]) == (settings, {"team": "x"}, "flex")
    assert lost == set()


def test_beside_a_cached_content_stands_nothing_that_it_holds() -> None:
    turns = [{"role": "system", "content": "s"}, HI]
    sent, lost = chat(cached_content="cachedContents/1", messages=turns, tools=[TOOL], tool_choice="auto")
    assert sent == {"contents": CONTENTS, "cachedContent": "cachedContents/1"}
    assert lost == {"system:dropped", "tools:dropped", "tool_choice:dropped"}


# ---- the route


@pytest.mark.rows("B8", "D1")
@pytest.mark.parametrize(
    ("provider", "route", "path"),
    [
        ("gemini", {}, "/v1beta/models/gemini-2.5-flash:generateContent"),
        ("vertex-ai", {"provider_conf": {"project_id": "p", "region": "r"}},
         "/v1/projects/p/locations/r/publishers/google/models/gemini-2.5-flash:generateContent"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("model", ["gemini-2.5-flash", "models/gemini-2.5-flash", "google/gemini-2.5-flash"])
def test_where_it_goes(provider: str, route: Json, path: str, model: str) -> None:
    for stream in (False, True):
        t = translation(CHAT, provider=provider, **route)
        call = t.request(json.dumps({"model": model, "messages": [HI], "stream": stream}).encode())
        assert isinstance(call, Call)
        streamed = path.replace(":generate", ":streamGenerate") + "?alt=sse"
        assert (call.method, call.path) == ("POST", streamed if stream else path)
        assert t.model_sent == model and b"model" not in call.body


def test_a_routes_options_and_limit_stand_where_this_api_has_them() -> None:
    options = {"temperature": 0.1, "model": "gemini-2.5-pro"}
    override = {"llm_options": {"max_tokens": 5}}
    body = {"model": "x", "messages": [HI], "temperature": 1, "max_tokens": 99, "top_p": 0.5}
    _, sent = to_gemini(CHAT, body, options=options, override=override)
    assert sent == {
        "contents": CONTENTS, "generationConfig": {"maxOutputTokens": 5, "temperature": 0.1, "topP": 0.5},
    }  # fmt: skip


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3-pro-preview"])
def test_disabled_thinking_wins_over_an_effort(model: str) -> None:
    t = Translation("anthropic_messages", "gemini", route={"provider": "gemini", "auth": "none"}, now=0)
    body: Any = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": "x"}]}
    body |= {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}
    sent = json.loads(t.request(json.dumps(body).encode()).body)
    assert sent["generationConfig"]["thinkingConfig"] in ({"thinkingBudget": 0}, {"thinkingLevel": "low"})
    assert "output_config.effort:downgraded" in [str(loss) for loss in t.losses]
