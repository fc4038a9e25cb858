from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Refused
from extproc.dialects.base import ClientCall
from extproc.llm.request import (
    Output,
    Reasoning,
    Sampling,
)

from .helpers import ASKED, CHAT, DIALECT, MESSAGES, PARAMETERS, Json, from_gemini, parse, reported

# ---- the path


@pytest.mark.parametrize(
    ("path", "model", "stream", "array"),
    [
        ("/v1beta/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro", False, False),
        ("/v1/models/m:streamGenerateContent?alt=sse", "m", True, False),
        ("/x/v1beta/models/m:streamGenerateContent?key=k&alt=sse", "m", True, False),
        ("/v1beta/models/m:streamGenerateContent?key=k", "m", True, True),
        ("/v1beta/models/m:streamGenerateContent?alt=json", "m", True, True),
        ("/v1beta/models/a%2Fb:generateContent/", "a/b", False, False),
        ("/v1beta1/projects/p/locations/r/publishers/google/models/m:generateContent", "m", False, False),
        ("/v1/projects/p/locations/r/endpoints/123:generateContent", "123", False, False),
        ("/anything", "", False, False),
    ],
)
def test_the_path_says_model_and_stream(path: str, model: str, stream: bool, array: bool) -> None:
    request = parse(path)
    assert (request.model, request.stream, request.client_state.array) == (model, stream, array)
    if path != "/anything":
        asked = DIALECT.peek(path, {})
        assert (asked.model, asked.stream) == (model, stream)


def test_a_model_in_the_body_counts_where_the_path_names_none() -> None:
    assert parse("/anything", model="models/x").model == "x"
    assert parse(model="models/x").model == "m"


# ---- the configuration


def test_sampling_in_either_spelling() -> None:
    expected = Sampling(9, 0.5, 0.9, 40, ["x"], 7, 0.25, -0.5)
    humps = {"maxOutputTokens": 9, "temperature": 0.5, "topP": 0.9, "topK": 40.0, "stopSequences": ["x"], "seed": 7,
             "frequencyPenalty": 0.25, "presencePenalty": -0.5}  # fmt: skip
    assert parse(generationConfig=humps).sampling == expected
    snakes = {"max_output_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop_sequences": ["x"], "seed": 7,
              "frequency_penalty": 0.25, "presence_penalty": -0.5}  # fmt: skip
    request = parse(generation_config=snakes)
    assert request.sampling == expected
    assert request.path_of("max_tokens") == "generation_config.max_output_tokens"


@pytest.mark.parametrize(
    ("config", "reasoning", "shown"),
    [
        (None, Reasoning(), False),
        ({"includeThoughts": True}, Reasoning(display="summarized"), True),
        ({"thinkingBudget": 0}, Reasoning("off", exclude=True), False),
        ({"thinkingBudget": -1, "includeThoughts": True}, Reasoning("adaptive", display="summarized"), True),
        ({"thinking_budget": 512}, Reasoning("budget", None, 512, exclude=True), False),
        ({"thinkingLevel": "LOW"}, Reasoning(None, "low", exclude=True), False),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, Reasoning(exclude=True), False),
    ],
)
def test_thinking(config: Any, reasoning: Reasoning, shown: bool) -> None:
    request = parse(generationConfig={"thinkingConfig": config})
    assert (request.reasoning, request.client_state.thoughts) == (reasoning, shown)


@pytest.mark.parametrize(
    ("config", "output"),
    [
        ({}, None),
        ({"responseMimeType": "text/plain"}, None),
        ({"responseMimeType": "application/json"}, Output("json_object")),
        ({"responseMimeType": "application/json", "responseJsonSchema": PARAMETERS},
         Output("json_schema", PARAMETERS)),
        ({"response_mime_type": "application/json", "response_schema": {"type": "STRING"}},
         Output("json_schema", {"type": "string"})),
    ],
)  # fmt: skip
def test_output(config: Json, output: Output | None) -> None:
    assert parse(generationConfig=config).output == output


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"generationConfig": {"candidateCount": 2}}, "generationConfig.candidateCount: more than one candidate"),
        ({"generation_config": {"response_logprobs": True}}, "generation_config.response_logprobs: logprobs are"),
        ({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}, "output of another kind than text"),
        ({"generationConfig": {"responseMimeType": "text/x.enum"}}, "one of several words"),
        ({"cachedContent": "cachedContents/1"}, "cachedContent is not supported"),
        ({"contents": [{"parts": [{"fileData": {"fileUri": "gs://b/a.png", "mimeType": "image/png"}}]}]}, "file ids"),
        ({"contents": [{"parts": [{"executableCode": {"code": "x"}}]}]}, "content of type 'executableCode'"),
        ({"tools": [{"codeExecution": {}}]}, "the tool 'codeExecution' is not supported"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens: must be at least 1"),
    ],
)
@pytest.mark.parametrize(("upstream", "provider"), [(CHAT, "openai"), (MESSAGES, "anthropic")])
def test_what_another_upstream_cannot_do_is_refused_in_this_apis_words(
    members: Json, problem: str, upstream: str, provider: str
) -> None:
    with pytest.raises(Refused) as refused:
        from_gemini(upstream, {"contents": [ASKED], **members}, provider)
    error = json.loads(refused.value.body)["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert problem in error["message"]


def test_what_only_tunes_is_reported() -> None:
    members = {
        "safetySettings": [{"category": "x"}], "labels": {"a": "b"}, "x_new": 1, "serviceTier": "flex",
        "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW", "topK": 3, "newOne": 1},
        "toolConfig": {"retrievalConfig": {"languageCode": "de"}},
    }  # fmt: skip
    t, sent = from_gemini(CHAT, {"contents": [ASKED], **members}, "openai")
    assert sent["service_tier"] == "flex"
    assert reported(t) == {
        "safetySettings:dropped", "labels:dropped", "x_new:dropped", "generationConfig.mediaResolution:dropped",
        "generationConfig.newOne:dropped", "generationConfig.topK:dropped", "toolConfig.retrievalConfig:dropped",
    }  # fmt: skip
    assert reported(from_gemini(CHAT, {"contents": [ASKED], "safetySettings": [], "labels": {}}, "openai")[0]) == set()


def test_whole_requests_to_other_apis() -> None:
    body = {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            ASKED,
            {"role": "model", "parts": [{"functionCall": {"id": "c", "name": "f", "args": {"a": "x"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "c", "name": "f", "response": {"error": "no"}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": PARAMETERS}]}],
        "generationConfig": {"maxOutputTokens": 9, "stopSequences": ["END"]},
    }
    _, chat = from_gemini(CHAT, body, "openai", model="gpt-4o")
    assert chat == {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"x"}'}}]},
            {"role": "tool", "tool_call_id": "c", "content": "Error: no"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}],
        "max_completion_tokens": 9, "stop": ["END"],
    }  # fmt: skip
    _, messages = from_gemini(MESSAGES, body, "anthropic", model="claude-sonnet-4-5")
    assert messages["messages"][1:] == [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"a": "x"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c", "content": "no", "is_error": True}]},
    ]  # fmt: skip


# ---- counting


@pytest.mark.parametrize("wrap", [False, True])
def test_an_estimate_where_nobody_counts(wrap: bool) -> None:
    body: Json = {"contents": [{"parts": [{"text": "word " * 400}]}]}
    if wrap:
        body = {"generateContentRequest": {"model": "models/m", **body}}
    path = "/v1beta/models/m:countTokens"
    counted = json.loads(DIALECT.estimate(ClientCall("POST", path, [], json.dumps(body).encode())))
    assert counted == {"totalTokens": 406}
