from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.shared.naming import sha256
from extproc.llm.failures import Unsupported
from extproc.llm.request import CacheMarker, Member, Message, Output, Reasoning, Request, Sampling, Text, Thinking

from .helpers import HI, emit, parse

AT = {"max_tokens": "max_completion_tokens", "session_key": "prompt_cache_key", "user_id": "safety_identifier"}


def test_the_least() -> None:
    out = emit()
    assert out.body == {
        "model": "claude-sonnet-4-5", "max_tokens": 64000, "messages": [{"role": "user", "content": "hi"}]
    }  # fmt: skip
    assert next(iter(out.body)) == "model"
    assert out.call.headers == [("content-type", "application/json"), ("anthropic-version", "2023-06-01")]
    assert (out.call.method, out.call.path) == ("POST", "/v1/messages")
    assert out.losses == []


@pytest.mark.parametrize(
    ("model", "asked", "sent", "losses"),
    [
        ("claude-sonnet-4-5", 200000, 64000, ["max_completion_tokens:clamped"]),
        ("claude-sonnet-4-5", 10, 10, []),
        ("claude-of-tomorrow", None, 8192, []),
        ("claude-of-tomorrow", 9000, 9000, []),
        ("kimi-k3", None, 8192, []),
        ("kimi-k3", 1_000_000, 1_000_000, []),
    ],
)
@pytest.mark.rows("C4")
def test_max_tokens(model: str, asked: int | None, sent: int, losses: list[str]) -> None:
    out = emit(model, sampling=Sampling(asked), at=AT)
    assert out.body["max_tokens"] == sent
    assert out.losses == losses


def test_max_tokens_below_one_is_refused() -> None:
    with pytest.raises(Unsupported) as error:
        emit(sampling=Sampling(0), at=AT)
    assert error.value.path == "max_completion_tokens"


def system(*contents: Any) -> list[Message]:
    return [Message("system", content, f"messages[{i}]") for i, content in enumerate(contents)]


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (["A"], "A"),
        (["A", [Text("B"), Text("")]], [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]),
        ([[Text("A", cache=CacheMarker())]], [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}]),
        ([""], None),
        ([], None),
    ],
)
@pytest.mark.rows("A2", "C3")
def test_system(contents: list[Any], expected: Any) -> None:
    assert emit(system=system(*contents)).body.get("system") == expected


def test_system_is_text_only() -> None:
    with pytest.raises(Unsupported):
        emit(system=system([Thinking("x")]))


@pytest.mark.parametrize(
    ("model", "wish", "expected", "losses"),
    [
        ("claude-sonnet-4-5", {"temperature": 1.7}, {"temperature": 1}, ["temperature:clamped"]),
        ("claude-sonnet-4-5", {"temperature": 0, "top_k": 3}, {"temperature": 0, "top_k": 3}, []),
        ("claude-sonnet-4-5", {"temperature": 0.2, "top_p": 0.9}, {"temperature": 0.2}, ["top_p:dropped"]),
        ("claude-sonnet-4-5", {"top_p": 0.9}, {"top_p": 0.9}, []),
        ("claude-opus-5-5", {"temperature": 0.2, "top_p": 0.9}, {}, ["temperature:dropped", "top_p:dropped"]),
        ("claude-opus-5-5", {"temperature": 1, "top_p": 1.0}, {}, []),
        ("claude-opus-5-5", {"temperature": 2, "top_k": 1}, {}, ["temperature:dropped", "top_k:dropped"]),
        ("kimi-k3", {"temperature": 0.2, "top_p": 0.9, "top_k": 1}, {"temperature": 0.2, "top_p": 0.9, "top_k": 1}, []),
        ("claude-sonnet-4-5", {"seed": 7, "frequency_penalty": 0, "presence_penalty": 0.5}, {},
         ["seed:dropped", "presence_penalty:dropped"]),
        ("claude-sonnet-4-5", {"stop": ["END", "\n", ""]}, {"stop_sequences": ["END"]},
         ["stop[1]:dropped", "stop[2]:dropped"]),
        ("claude-sonnet-4-5", {"stop": [" "]}, {}, ["stop[0]:dropped"]),
    ],
)  # fmt: skip
def test_sampling(model: str, wish: dict[str, Any], expected: dict[str, Any], losses: list[str]) -> None:
    out = emit(model, sampling=Sampling(100, **wish))
    names = ("temperature", "top_p", "top_k", "stop_sequences", "seed", "frequency_penalty", "presence_penalty")
    assert {name: out.body[name] for name in names if name in out.body} == expected
    assert out.losses == losses


@pytest.mark.parametrize(
    ("wish", "expected", "losses"),
    [
        ({"temperature": 0.2, "top_k": 1, "top_p": 0.5}, {}, {"temperature:dropped", "top_k:dropped", "top_p:dropped"}),
        ({"temperature": 1, "top_p": 0.97}, {"top_p": 0.97}, set()),
    ],
)
def test_thinking_forbids_sampling(wish: dict[str, Any], expected: dict[str, Any], losses: set[str]) -> None:
    out = emit("claude-haiku-4-5", sampling=Sampling(20000, **wish), reasoning=Reasoning(effort="low"))
    assert out.body["thinking"]["type"] == "enabled"
    assert {name: out.body[name] for name in ("temperature", "top_p", "top_k") if name in out.body} == expected
    assert set(out.losses) == losses


# ---- the form of the answer

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"],
          "additionalProperties": False}  # fmt: skip
MAP = {"type": "object", "additionalProperties": {"type": "string"}}
OUTPUT_AT = {"output": "response_format", "output_name": "response_format.json_schema.name",
             "output_schema": "response_format.json_schema.schema"}  # fmt: skip
ONLY_JSON = "Respond with one valid JSON object and nothing else."


def test_a_schema_is_reduced() -> None:
    out = emit(output=Output("json_schema", SCHEMA, "r", strict=True), at=OUTPUT_AT)
    form = out.body["output_config"]["format"]
    assert form["type"] == "json_schema"
    assert form["schema"]["properties"]["age"] == {"type": "integer", "description": "{minimum: 0}"}
    assert out.losses == ["response_format.json_schema.name:dropped", "response_format.json_schema.schema:rewritten"]
    assert SCHEMA["properties"] == {"age": {"type": "integer", "minimum": 0}}, "the client's own is not touched"


def test_json_object_is_asked_for_in_the_system() -> None:
    out = emit(output=Output("json_object"), at=OUTPUT_AT, system=system("A"))
    assert out.body["system"] == [{"type": "text", "text": "A"}, {"type": "text", "text": ONLY_JSON}]
    assert out.losses == ["response_format:emulated"]


def test_a_schema_that_cannot_be_enforced() -> None:
    out = emit(output=Output("json_schema", MAP), at=OUTPUT_AT)
    assert out.body["system"][0]["text"].startswith(ONLY_JSON)
    assert '"additionalProperties":{"type":"string"}' in out.body["system"][0]["text"]
    assert "output_config" not in out.body
    assert out.losses == ["response_format:emulated"]
    with pytest.raises(Unsupported) as error:
        emit(output=Output("json_schema", MAP, strict=True), at=OUTPUT_AT)
    assert error.value.path == "response_format"


def test_a_form_forbids_prefill() -> None:
    messages = [*HI, Message("assistant", "{", "messages[1]")]
    assert emit(messages=messages).body["messages"][-1]["role"] == "assistant"
    out = emit(messages=messages, output=Output("json_schema", SCHEMA))
    assert out.body["messages"][-1] == {"role": "user", "content": "Continue."}


# ---- the rest


@pytest.mark.parametrize(
    ("user_id", "sent"),
    [
        ("u1", "u1"),
        ("a@b.co", "80305c9bb1bb2480e03894350e0a8a366dcbdeb302e69e0817aa0743abd77054"),
        ("+1 (555) 010-9999", sha256("+1 (555) 010-9999")),
        ("x" * 257, sha256("x" * 257)),
        ("x" * 256, "x" * 256),
    ],
)
def test_user_id(user_id: str, sent: str) -> None:
    assert emit(user_id=user_id).body["metadata"] == {"user_id": sent}


@pytest.mark.parametrize(
    ("tier", "sent", "losses"),
    [
        ("auto", "auto", []),
        ("priority", "auto", []),
        ("standard", "standard_only", []),
        ("flex", "standard_only", []),
        ("scale", "standard_only", []),
        ("fast", "auto", ["service_tier:downgraded"]),
        ("batch", None, ["service_tier:dropped"]),
        (None, None, []),
    ],
)
def test_service_tier(tier: str | None, sent: str | None, losses: list[str]) -> None:
    out = emit(service_tier=tier)
    assert out.body.get("service_tier") == sent
    assert out.losses == losses


def test_session_key_is_only_money() -> None:
    out = emit(session_key="s", at=AT)
    assert out.losses == ["prompt_cache_key:dropped"]
    assert out.report.unacceptable() is None


def test_stream_and_cache() -> None:
    out = emit(stream=True, cache=CacheMarker("1h"))
    assert out.body["stream"] is True
    assert out.body["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


def test_members_of_this_api_are_carried_and_others_reported_or_refused() -> None:
    extra = {
        "mcp_servers": Member([1], "mcp_servers", essential=True),
        "context_management": Member({"edits": []}, "context_management"),
        "logit_bias": Member({"1": 1}, "logit_bias"),
        "betas": Member(["context-1m-2025-08-07"], "betas"),
        "user_profile_id": Member("up_1", "user_profile_id"),
        "output_config": Member({"task_budget": 5}, "output_config"),
        "cache_control": Member({"type": "ephemeral"}, "cache_control"),
        "top_k": Member(4, "top_k"),
    }
    out = emit(extra=extra)
    assert out.body["mcp_servers"] == [1]
    assert out.body["context_management"] == {"edits": []}
    assert out.body["output_config"] == {"task_budget": 5}
    assert out.body["cache_control"] == {"type": "ephemeral"}
    assert out.body["top_k"] == 4
    assert out.header("anthropic-beta") == "context-1m-2025-08-07"
    assert out.header("anthropic-user-profile-id") == "up_1"
    assert out.losses == ["logit_bias:dropped"]
    with pytest.raises(Unsupported) as error:
        emit(extra={"n": Member(2, "n", True, "n must be 1 for this model", "unsupported_value")})
    assert (error.value.path, error.value.message, error.value.code) == (
        "n",
        "n must be 1 for this model",
        "unsupported_value",
    )


def test_a_thinking_member_goes_as_it_is() -> None:
    thinking = {"type": "enabled", "budget_tokens": 5000}
    out = emit(extra={"thinking": Member(thinking, "thinking")}, reasoning=Reasoning(effort="low"))
    assert out.body["thinking"] == thinking


def test_betas_are_filtered_and_only_for_claude() -> None:
    out = emit(betas=["files-api-2025-04-14", "made-up-1"])
    assert out.header("anthropic-beta") == "files-api-2025-04-14"
    assert out.losses == ["betas:dropped"]
    assert emit("kimi-k3", betas=["files-api-2025-04-14"]).header("anthropic-beta") is None


def test_the_request_is_not_touched() -> None:
    body = {
        "tools": [{"name": "a.b", "input_schema": {"properties": {}}}],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "x:1", "name": "a.b", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x:1", "content": "r"}]},
        ],
        "thinking": {"type": "adaptive"},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    }
    request, _ = parse(body)
    again, _ = parse(body)
    members = {name: getattr(request, name) for name in Request.__struct_fields__}
    first = emit(**members | {"model": "claude-opus-5-5"})
    assert request == again
    assert emit(**members | {"model": "claude-opus-5-5"}).body == first.body
    assert first.call.undo.names == {first.body["tools"][0]["name"]: "a.b"}
    assert first.messages[1]["content"][0]["name"] == first.body["tools"][0]["name"]
    assert first.messages[1]["content"][0]["id"] == "x_1"


def test_a_client_of_this_dialect_keeps_what_only_it_has() -> None:
    request, _ = parse(
        {
            "tools": [{"name": "f", "input_schema": {"type": "object"}, "defer_loading": True,
                       "allowed_callers": ["code_execution_20260120"]}],
            "output_config": {"task_budget": {"total": 9}},
            "container": "c_1",
        }
    )  # fmt: skip
    members = {name: getattr(request, name) for name in Request.__struct_fields__}
    out = emit(**members | {"model": "claude-sonnet-4-5"})
    assert out.body["tools"][0]["defer_loading"] is True
    assert out.body["output_config"] == {"task_budget": {"total": 9}}
    assert out.body["container"] == "c_1"
    assert out.losses == []
