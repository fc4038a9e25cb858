from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.llm.failures import ProtocolError, Unsupported
from extproc.llm.request import CacheMarker, Member, Output, Reasoning, Sampling

from .helpers import parse


def test_a_minimal_request_says_nothing_more() -> None:
    request, losses = parse({})
    assert request.sampling == Sampling()
    assert (request.tools, request.output, request.reasoning, request.extra) == ([], None, Reasoning(), {})
    assert (request.stream, request.include_usage, request.betas, losses) == (False, False, [], [])


def test_what_means_the_default_vanishes() -> None:
    defaults = {
        "n": 1,
        "logprobs": False,
        "top_logprobs": 0,
        "modalities": ["text"],
        "frequency_penalty": 0,
        "store": False,
        "presence_penalty": 0.0,
        "logit_bias": {},
        "metadata": {},
        "verbosity": "medium",
        "stop": [],
        "user": "",
        "response_format": {"type": "text"},
        "tools": [],
        "stream_options": {"include_obfuscation": False},
        "audio": None,
        "mcp_servers": [],
        "seed": None,
        "betas": [],
    }
    request, losses = parse(defaults)
    plain, _ = parse({})
    assert (request.sampling, request.extra, request.output, request.tools) == (plain.sampling, {}, None, [])
    assert losses == []


def test_sampling() -> None:
    request, _ = parse(
        {
            "temperature": 1,
            "top_p": 0.5,
            "top_k": 3,
            "stop": "END",
            "seed": 7,
            "frequency_penalty": 0.5,
            "presence_penalty": -1,
        }
    )
    assert request.sampling == Sampling(None, 1, 0.5, 3, ["END"], 7, 0.5, -1)
    assert type(request.sampling.temperature) is int


@pytest.mark.parametrize(
    ("members", "value", "path", "losses"),
    [
        ({}, None, "max_tokens", []),
        ({"max_tokens": 5}, 5, "max_tokens", []),
        ({"max_completion_tokens": 6}, 6, "max_completion_tokens", []),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6, "max_completion_tokens", ["max_tokens:dropped"]),
    ],
)
def test_the_token_limit(members: Any, value: int | None, path: str, losses: list[str]) -> None:
    request, reported = parse(members)
    assert (request.sampling.max_tokens, request.path_of("max_tokens"), reported) == (value, path, losses)


@pytest.mark.parametrize(
    ("members", "path", "problem", "code"),
    [
        ({"n": 2}, "n", "n must be 1 for this model", "unsupported_value"),
        ({"logprobs": True}, "logprobs", "logprobs is not supported for this model", "unsupported_parameter"),
        ({"top_logprobs": 2}, "top_logprobs", "top_logprobs is not supported for this model", "unsupported_parameter"),
        (
            {"modalities": ["text", "audio"]},
            "modalities",
            "audio output is not supported for this model",
            "unsupported_value",
        ),
        ({"audio": {}}, "audio", "audio output is not supported for this model", "unsupported_parameter"),
        ({"mcp_servers": [{}]}, "mcp_servers", "mcp_servers is not supported for this model", "unsupported_parameter"),
        ({"container": "c"}, "container", "container is not supported for this model", "unsupported_parameter"),
        (
            {"response_format": {"type": "grammar"}},
            "response_format.type",
            "response_format of type 'grammar' is not supported for this model",
            "unsupported_value",
        ),
    ],
)
def test_what_changes_the_answers_shape_is_essential(members: Any, path: str, problem: str, code: str) -> None:
    [member] = parse(members)[0].extra.values()
    assert (member.essential, member.path, member.problem, member.code) == (True, path, problem, code)


def test_other_members_are_kept_by_name() -> None:
    extra = parse(
        {
            "verbosity": "low",
            "store": True,
            "prompt_cache_retention": "24h",
            "context_management": {},
            "service_tier": "x",
            "stream_options": {"x": 1},
            "output_config": {"task_budget": 1},
        }
    )[0].extra
    assert extra == {
        "verbosity": Member("low", "verbosity"),
        "store": Member(True, "store"),
        "prompt_cache_retention": Member("24h", "prompt_cache_retention", cost_only=True),
        "context_management": Member({}, "context_management"),
        "service_tier": Member("x", "service_tier"),
        "stream_options.x": Member(1, "stream_options.x"),
        "output_config": Member({"task_budget": 1}, "output_config"),
    }


def test_the_form_of_the_answer() -> None:
    assert parse({"response_format": {"type": "json_object"}})[0].output == Output("json_object")
    form = {"name": "n", "description": "d", "strict": True, "schema": {"type": "object"}}
    request, _ = parse({"response_format": {"type": "json_schema", "json_schema": form}})
    assert request.output == Output("json_schema", {"type": "object"}, "n", "d", True)
    assert request.path_of("output_schema") == "response_format.json_schema.schema"


@pytest.mark.parametrize(
    ("members", "reasoning", "at", "losses"),
    [
        ({"reasoning_effort": "high"}, Reasoning(effort="high"), "reasoning_effort", []),
        ({"reasoning": {"effort": "low"}}, Reasoning(effort="low"), "reasoning.effort", []),
        ({"reasoning": {"max_tokens": 5}}, Reasoning(budget=5), "reasoning.effort", []),
        ({"reasoning": {"enabled": True, "x": 1}}, Reasoning("adaptive", extra={"x": 1}), "reasoning.effort", []),
        ({"reasoning": {"enabled": False}}, Reasoning("off"), "reasoning.effort", []),
        ({"reasoning": False}, Reasoning("off"), "reasoning.effort", []),
        ({"reasoning": "high"}, Reasoning(effort="high"), "reasoning.effort", []),
        ({"thinking": False}, Reasoning("off"), "thinking", []),
        ({"thinking": "enabled"}, Reasoning("adaptive"), "thinking", []),
        ({"enable_thinking": False}, Reasoning("off"), "enable_thinking", []),
        ({"think": True}, Reasoning("adaptive"), "think", []),
        ({"think": "low"}, Reasoning(effort="low"), "think", []),
        ({"chat_template_kwargs": {"enable_thinking": False}}, Reasoning("off"), "chat_template_kwargs", []),
        ({"chat_template_kwargs": {"thinking": True}}, Reasoning("adaptive"), "chat_template_kwargs", []),
        ({"reasoning": {"exclude": True}}, Reasoning(exclude=True), "reasoning.effort", []),
        (
            {"reasoning": {"effort": "low"}, "reasoning_effort": "high"},
            Reasoning(effort="low"),
            "reasoning.effort",
            ["reasoning_effort:dropped"],
        ),
        ({"thinking": {"type": "disabled"}}, Reasoning("off"), "thinking", []),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, Reasoning("budget", budget=9), "thinking", []),
        ({"thinking": {"type": "enabled"}}, Reasoning("adaptive"), "thinking", []),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}, "reasoning": {}, "reasoning_effort": "low"},
            Reasoning("adaptive", display="omitted"),
            "thinking",
            ["reasoning:dropped", "reasoning_effort:dropped"],
        ),
    ],
    ids=repr,
)
def test_reasoning(members: Any, reasoning: Reasoning, at: str, losses: list[str]) -> None:
    request, reported = parse(members)
    assert (request.reasoning, request.path_of("effort"), reported) == (reasoning, at, losses)


def test_thinking_is_a_wish_as_any_other() -> None:
    thinking = {"type": "enabled", "budget_tokens": 9, "block_binding": {}}
    assert parse({"thinking": thinking})[0].reasoning == Reasoning("budget", None, 9, extra={"block_binding": {}})
    switch = {"type": "enabled", "clear_thinking": False}
    assert parse({"thinking": switch})[0].reasoning == Reasoning("adaptive", extra={"clear_thinking": False})
    unknown = {"type": "sometimes"}
    assert parse({"thinking": unknown})[0].extra == {"thinking": Member(unknown, "thinking")}
    wish = parse({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}})[0]
    assert wish.reasoning == Reasoning("adaptive", "max")
    assert wish.path_of("effort") == "output_config.effort"


def test_a_switch_counts_only_where_nothing_else_is_said_and_is_never_lost() -> None:
    request = parse({"reasoning_effort": "high", "enable_thinking": False, "think": 3, "chat_template_kwargs": 5})[0]
    assert request.reasoning == Reasoning(effort="high")
    assert request.extra.keys() == {"enable_thinking", "think", "chat_template_kwargs"}
    request = parse({"think": 3, "chat_template_kwargs": {"thinking": False, "x": 1}})[0]
    assert request.reasoning == Reasoning("off") and request.extra.keys() == {"think", "chat_template_kwargs"}


def test_who_asks() -> None:
    request, losses = parse({"user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "service_tier": "default"})
    assert (request.user_id, request.session_key, request.service_tier) == ("s", "k", "standard")
    assert losses == ["user:dropped"]
    request, losses = parse({"user": "u"})
    assert (request.user_id, request.path_of("user_id"), losses) == ("u", "user", [])


def test_streams_betas_and_caching() -> None:
    request, _ = parse(
        {"stream": True, "stream_options": {"include_usage": True}, "betas": ["b", 3], "cache_control": {"ttl": "1h"}},
        headers=[("anthropic-beta", "a, b")],
    )
    assert (request.stream, request.include_usage, request.betas) == (True, True, ["a", "b"])
    assert request.cache == CacheMarker("1h")


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"messages": None, "input": "hi"}, "input"),
        ({"model": 3}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": {}}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": "5"}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"stop": 3}, "stop"),
        ({"stop": ["a", 3]}, "stop[1]"),
        ({"stream": "yes"}, "stream"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"thinking": "on"}, "thinking"),
        ({"thinking": {}}, "thinking.type"),
        ({"reasoning": 3}, "reasoning"),
        ({"temperature": "hot"}, "temperature"),
        ({"output_config": 3}, "output_config"),
        ({"logprobs": 3}, "logprobs"),
    ],
    ids=repr,
)
@pytest.mark.rows("D31")
def test_what_the_api_refuses(members: Any, path: str) -> None:
    with pytest.raises(ProtocolError) as error:
        parse(members)
    assert error.value.path == path


NAMES = st.sampled_from(
    [
        "model",
        "messages",
        "role",
        "content",
        "type",
        "text",
        "tools",
        "tool_choice",
        "function",
        "name",
        "arguments",
        "tool_calls",
        "id",
        "tool_call_id",
        "image_url",
        "url",
        "file",
        "file_data",
        "response_format",
        "json_schema",
        "schema",
        "stop",
        "stream",
        "stream_options",
        "reasoning",
        "reasoning_details",
        "thinking",
        "functions",
        "function_call",
        "custom",
        "web_search_options",
        "user_location",
        "allowed_tools",
        "mode",
        "format",
        "cache_control",
        "n",
        "refusal",
    ]
)
WORDS = st.sampled_from(
    [
        "",
        "user",
        "assistant",
        "tool",
        "system",
        "function",
        "text",
        "image_url",
        "file",
        "custom",
        "auto",
        "allowed_tools",
        "json_schema",
        "data:image/png;base64,AA",
        "thinking",
        "refusal",
        "input_audio",
        "data:,",
        "x",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats(-1, 1) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=8), st.lists(st.dictionaries(NAMES, JSON, max_size=5), max_size=3))
def test_anything_is_read_or_refused(body: dict[str, Any], messages: list[Any]) -> None:
    for each in (body, body | {"model": "m", "messages": [{"role": "user", "content": "hi"}, *messages]}):
        try:
            request, _ = parse(json.dumps(each).encode())
        except (ProtocolError, Unsupported):
            continue
        assert request.model


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"model":"m","messages":' + b"[" * 100_000])
def test_what_is_no_request(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(body)
