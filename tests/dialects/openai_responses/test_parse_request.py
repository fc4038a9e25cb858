from __future__ import annotations

from typing import Any

import pytest

from extproc.dialects.openai_responses.state import ENCRYPTED
from extproc.llm.failures import ProtocolError
from extproc.llm.request import Member, Output, Reasoning, Sampling

from .helpers import Json, parse


def test_the_least_that_a_request_can_be() -> None:
    request, losses = parse({"input": "hi"})
    assert (request.dialect, request.model, request.stream, losses) == ("openai_responses", "m", False, [])
    assert (request.extra, request.tools, request.output) == ({}, [], None)
    assert request.client_state.seals is False


def test_numbers_stay_as_they_are() -> None:
    request, _ = parse({"max_output_tokens": 50, "temperature": 1, "top_p": 0.5, "stream": True})
    assert request.sampling == Sampling(50, 1, 0.5)
    assert type(request.sampling.temperature) is int
    assert request.stream
    assert request.path_of("max_tokens") == "max_output_tokens"


SCHEMA: Json = {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ({}, None),
        ({"format": {"type": "text"}, "verbosity": "medium"}, None),
        ({"format": {"type": "json_object"}}, Output("json_object")),
        (
            {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True, "description": "d"}},
            Output("json_schema", SCHEMA, "n", "d", True),
        ),
    ],
)
def test_the_form_of_the_answer(text: Json, output: Output | None) -> None:
    request, _ = parse({"text": text})
    assert (request.output, request.extra) == (output, {})


def test_a_form_that_other_apis_cannot_give() -> None:
    member = parse({"text": {"format": {"type": "grammar"}}})[0].extra["text.format"]
    assert member.essential and "'grammar' is not supported" in member.problem


def test_verbosity_is_the_chat_apis_too() -> None:
    assert parse({"text": {"verbosity": "low"}})[0].extra == {"verbosity": Member("low", "text.verbosity")}


@pytest.mark.parametrize(
    ("value", "reasoning"),
    [
        ({}, Reasoning()),
        ({"effort": "high", "mode": "standard", "context": "auto"}, Reasoning(effort="high")),
        ({"effort": "low", "summary": "auto"}, Reasoning(effort="low", display="summarized")),
        ({"effort": None, "summary": "auto"}, Reasoning("adaptive", display="summarized")),
        ({"summary": "detailed"}, Reasoning("adaptive", display="summarized", extra={"summary": "detailed"})),
        ({"generate_summary": "auto"}, Reasoning("adaptive", display="summarized")),
        ({"effort": "none"}, Reasoning(effort="none")),
        ({"mode": "pro"}, Reasoning(extra={"mode": "pro"})),
    ],
)
def test_reasoning(value: Json, reasoning: Reasoning) -> None:
    assert parse({"reasoning": value})[0].reasoning == reasoning


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("previous_response_id", "resp_1", "send the whole conversation in input, with store set to false"),
        ("conversation", {"id": "conv_1"}, "send the whole conversation in input"),
        ("prompt", {"id": "pmpt_1"}, "send what the prompt says as instructions and input"),
        ("store", True, "set store to false"),
        ("background", True, "set background to false"),
    ],
)
def test_what_is_stored_is_stored_by_the_provider(name: str, value: Any, says: str) -> None:
    member = parse({name: value})[0].extra[name]
    assert member.stored and member.essential
    assert says in member.problem and member.problem.startswith(name)


def test_what_is_said_without_need() -> None:
    plain: Json = {
        "store": False, "background": False, "previous_response_id": None, "truncation": "disabled", "metadata": {},
        "top_logprobs": 0, "include": [], "stream_options": {"include_obfuscation": True}, "tool_choice": None,
    }  # fmt: skip
    assert parse(plain)[0].extra == {}


@pytest.mark.parametrize(
    ("members", "key", "member"),
    [
        ({"truncation": "auto"}, "truncation", Member("auto", "truncation")),
        ({"max_tool_calls": 3}, "max_tool_calls", Member(3, "max_tool_calls")),
        ({"metadata": {"a": "b"}}, "metadata", Member({"a": "b"}, "metadata")),
        ({"client_metadata": {"a": "b"}}, "client_metadata", Member({"a": "b"}, "client_metadata", cost_only=True)),
        ({"x_new": 1}, "x_new", Member(1, "x_new")),
        ({"service_tier": "ultrafast"}, "service_tier", Member("ultrafast", "service_tier")),
        ({"stream_options": {"x": 1}}, "stream_options.x", Member(1, "stream_options.x")),
        (
            {"include": ["file_search_call.results"]},
            "include[0]",
            Member("file_search_call.results", "include[0]"),
        ),
        # Anthropic has another member of that name.
        (
            {"context_management": [{"type": "compaction"}]},
            "openai_responses.context_management",
            Member([{"type": "compaction"}], "context_management"),
        ),
    ],
)
def test_members_without_a_word_of_ours(members: Json, key: str, member: Member) -> None:
    assert parse(members)[0].extra == {key: member}


@pytest.mark.parametrize(
    ("members", "key"),
    [
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include[0]"),
        ({"prompt_cache_options": {"prewarm": True}}, "prompt_cache_options"),
    ],
)
def test_members_that_change_the_answer(members: Json, key: str) -> None:
    assert parse(members)[0].extra[key].essential


def test_who_and_how() -> None:
    request, losses = parse({"safety_identifier": "s", "user": "u", "prompt_cache_key": "k", "service_tier": "default"})
    assert (request.user_id, request.session_key, request.service_tier) == ("s", "k", "standard")
    assert losses == ["user:dropped"]
    request, losses = parse({"user": "u"})
    assert (request.user_id, request.path_of("user_id"), losses) == ("u", "user", [])


def test_the_request_is_repeated_as_it_came() -> None:
    members: Json = {
        "instructions": "i", "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False}],
        "tool_choice": {"type": "function", "name": "f"}, "text": {"format": {"type": "json_object"}},
        "reasoning": {"effort": "low", "summary": "auto"}, "metadata": {"a": "b"}, "temperature": 0.5,
    }  # fmt: skip
    request, _ = parse(members | {"include": [ENCRYPTED], "secret": 1})
    assert request.client_state.echo == members
    assert request.client_state.seals is True


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"max_output_tokens": 0}, "max_output_tokens: must be at least 1"),
        ({"instructions": 7}, "instructions: expected a string"),
        ({"text": {"format": {"type": "json_schema"}}}, r"text\.format\.schema: is missing"),
        ({"text": {"format": {}}}, r"text\.format\.type: is missing"),
        ({"reasoning": {"effort": 3}}, r"reasoning\.effort: expected a string"),
        ({"stream": "yes"}, "stream: expected a bool"),
    ],
)
def test_what_the_api_does_not_allow(members: Json, problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        parse(members)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null"])
def test_what_is_no_request(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(body)
