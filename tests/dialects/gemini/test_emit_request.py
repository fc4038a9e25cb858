from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Call, Refused

from .helpers import (
    CHAT,
    CONTENTS,
    HI,
    SCHEMA,
    TOOL,
    Json,
    chat,
    to_gemini,
    translation,
)


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


# ---- tools


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
