from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.shared.naming import sha256
from extproc.llm.failures import Unsupported
from extproc.llm.request import CacheMarker, Member, Output, Sampling

from .helpers import emit

CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}


def test_a_minimal_request() -> None:
    got = emit()
    assert got.body == {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    assert (got.call.method, got.call.path) == ("POST", "/v1/chat/completions")
    assert got.call.headers == [("content-type", "application/json")]
    assert got.losses == []


@pytest.mark.parametrize(
    ("provider", "model", "asked", "written", "losses"),
    [
        ("openai", "gpt-4o", 10, {"max_completion_tokens": 10}, []),
        ("openai", "gpt-4o", 20000, {"max_completion_tokens": 16384}, ["max_tokens:clamped"]),
        ("openai", "unknown", 99999999, {"max_completion_tokens": 99999999}, []),
        ("deepseek", "deepseek-chat", 10, {"max_tokens": 10}, []),
        ("azure-openai", "gpt-5.1", 10, {"max_completion_tokens": 10}, []),
    ],
)
def test_exactly_one_token_limit(provider: str, model: str, asked: int, written: Any, losses: list[str]) -> None:
    got = emit(model, provider=provider, sampling=Sampling(asked))
    assert {k: v for k, v in got.body.items() if "max" in k} == written
    assert got.losses == losses


def test_sampling() -> None:
    wish = Sampling(None, 0.3, 0.9, 5, [], 7, 0.5, -1)
    got = emit(sampling=wish)
    assert got.losses == ["top_k:dropped"]
    assert {k: v for k, v in got.body.items() if k not in ("model", "messages")} == {
        "temperature": 0.3, "top_p": 0.9, "frequency_penalty": 0.5, "presence_penalty": -1, "seed": 7,
    }  # fmt: skip
    assert emit(provider="openai-compatible", sampling=wish).body["top_k"] == 5


def test_models_without_sampling() -> None:
    got = emit("gpt-5.1", sampling=Sampling(None, 0.3, 1, 5, ["a"], 7, 0, 0.5))
    assert got.body.keys() == {"model", "messages", "seed"}
    assert got.losses == ["temperature:dropped", "presence_penalty:dropped", "top_k:dropped", "stop[0]:dropped"]


def test_stop_sequences() -> None:
    wish = Sampling(stop=["a", "", "b", "c", "d", "e"])
    got = emit(sampling=wish, at={"stop": "stop_sequences"})
    assert got.body["stop"] == ["a", "b", "c", "d"]
    assert got.losses == ["stop_sequences[1]:dropped", "stop_sequences[5]:dropped"]
    assert emit(provider="openai-compatible", sampling=wish).body["stop"] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("output", "quirks", "written", "losses"),
    [
        (Output("json_object"), {}, {"type": "json_object"}, []),
        (Output("json_schema"), {}, {"type": "json_object"}, []),
        (
            Output("json_schema", CLOSED),
            {},
            {"type": "json_schema", "json_schema": {"name": "response", "strict": True, "schema": CLOSED}},
            [],
        ),
        (
            Output("json_schema", OPEN, "n", "d"),
            {},
            {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "strict": False, "schema": OPEN}},
            ["output:downgraded"],
        ),
        (
            Output("json_schema", OPEN, strict=True),
            {},
            {"type": "json_schema", "json_schema": {"name": "response", "strict": True, "schema": OPEN}},
            [],
        ),
        (Output("json_schema", OPEN), {"json_schema": False}, {"type": "json_object"}, ["output:emulated"]),
    ],
)
def test_the_form_of_the_answer(output: Output, quirks: Any, written: Any, losses: list[str]) -> None:
    got = emit(output=output, quirks=quirks)
    assert (got.body["response_format"], got.losses) == (written, losses)


def test_an_emulated_schema_is_told_in_the_system_message() -> None:
    got = emit(output=Output("json_schema", OPEN), quirks={"json_schema": False})
    assert got.messages[0]["role"] == "system"
    assert got.messages[0]["content"].endswith('{"type":"object","properties":{"a":{"type":"string"}}}')


def test_who_asks() -> None:
    got = emit(user_id="u@x", session_key="s")
    assert (got.body["safety_identifier"], got.body["prompt_cache_key"]) == (sha256("u@x"), "s")
    got = emit(provider="deepseek", user_id="u", session_key="s")
    assert got.body["user"] == sha256("u")
    assert got.losses == ["session_key:dropped"]


@pytest.mark.parametrize(
    ("tier", "written", "losses"),
    [
        ("auto", "auto", []),
        ("standard", "default", []),
        ("flex", "flex", []),
        ("batch", None, ["service_tier:dropped"]),
    ],
)
def test_service_tiers(tier: str, written: str | None, losses: list[str]) -> None:
    got = emit(service_tier=tier)
    assert (got.body.get("service_tier"), got.losses) == (written, losses)


def test_streams_always_ask_for_the_counts() -> None:
    got = emit(stream=True, include_usage=False)
    assert (got.body["stream"], got.body["stream_options"]) == (True, {"include_usage": True})
    assert "stream_options" not in emit(stream=True, quirks={"stream_options": False}).body


def test_members_without_a_word() -> None:
    extra = {
        "verbosity": Member("low", "verbosity"),
        "seed": Member(3, "seed"),
        "speed": Member("fast", "speed"),
        "cheap": Member(1, "cheap", cost_only=True),
    }
    got = emit(extra=extra, sampling=Sampling(seed=7), cache=CacheMarker(), at={"cache": "cache_control"})
    assert (got.body["verbosity"], got.body["seed"]) == ("low", 7)
    assert got.losses == ["cache_control:dropped", "seed:dropped", "speed:dropped", "cheap:dropped"]
    with pytest.raises(Unsupported, match="n must be 1") as error:
        emit(extra={"n": Member(2, "n", essential=True, problem="n must be 1", code="unsupported_value")})
    assert (error.value.path, error.value.code) == ("n", "unsupported_value")


def test_the_response_is_told_of_think_tags() -> None:
    assert emit(quirks={"think_tags": True}).call.think_tags
    assert not emit().call.think_tags
