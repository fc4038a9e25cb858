from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc import Refused, Translation
from extproc.llm.failures import ProtocolError, Unsupported
from extproc.llm.request import Block, CacheMarker, Message, Reasoning, Sampling, Text, ToolChoice, WebSearch

from .helpers import parse

TOOL = {"name": "f", "input_schema": {"type": "object"}}


def test_the_plain_members() -> None:
    request, losses = parse(
        {
            "model": "claude-opus-5-5",
            "max_tokens": 99,
            "temperature": 0.5,
            "top_p": 1,
            "top_k": 5,
            "stop_sequences": ["a"],
            "stream": True,
            "service_tier": "standard_only",
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        },
        [("anthropic-version", "2026-10-21"), ("anthropic-beta", "a-1, b-2"), ("anthropic-beta", "a-1,c")],
    )
    assert losses == []
    assert request.model == "claude-opus-5-5"
    assert request.sampling == Sampling(99, 0.5, 1, 5, ["a"])
    assert request.stream
    assert request.include_usage
    assert request.service_tier == "standard"
    assert request.cache == CacheMarker("1h")
    assert request.betas == ["a-1", "b-2", "c"]
    assert request.api_version == "2026-10-21"
    assert request.extra == {}
    assert request.path_of("stop") == "stop_sequences"
    assert request.path_of("cache") == "cache_control"


@pytest.mark.parametrize("body", [{"max_tokens": 0}, {"max_tokens": None}, {"max_tokens": -1}, {"max_tokens": "5"}])
def test_max_tokens_is_required(body: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as error:
        parse(body)
    assert error.value.path == "max_tokens"


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
def test_known_versions(version: str) -> None:
    assert parse({}, [("anthropic-version", version)])[0].api_version == version


def test_unknown_version() -> None:
    with pytest.raises(Unsupported) as error:
        parse({}, [("anthropic-version", "2027-01-01")])
    assert error.value.path == "anthropic-version"


def test_no_version_header_is_fine() -> None:
    assert parse({})[0].api_version is None


@pytest.mark.parametrize("value", [None, "", []])
def test_no_system(value: Any) -> None:
    assert parse({"system": value})[0].system == []


def test_system_blocks_without_the_billing_line() -> None:
    request, losses = parse(
        {
            "system": [
                {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=abc;"},
                {"type": "text", "text": "A"},
                {"type": "text", "text": ""},
                {"type": "text", "text": "B", "cache_control": {"type": "ephemeral"}},
            ]
        }
    )
    assert losses == ["system[0]:dropped"]
    expected: list[Block] = [Text("A", "system[1]"), Text("B", "system[3]", CacheMarker())]
    assert request.system == [Message("system", expected, "system")]


def test_a_system_of_the_billing_line_alone_is_none() -> None:
    request, _ = parse({"system": [{"type": "text", "text": "x-anthropic-billing-header: x"}]})
    assert request.system == []


def test_a_string_stays_a_string() -> None:
    request, _ = parse({"system": "be brief", "messages": [{"role": "user", "content": "hi"}]})
    assert request.system == [Message("system", "be brief", "system")]
    assert request.messages == [Message("user", "hi", "messages[0]")]


def test_system_in_mid_conversation_stays_in_place() -> None:
    messages = [{"role": "user", "content": "1"}, {"role": "system", "content": [{"type": "text", "text": "note"}]}]
    request, _ = parse({"messages": messages})
    assert request.messages[1] == Message("system", [Text("note", "messages[1].content[0]")], "messages[1]")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": [7]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "owner", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"system": 3}, "system"),
        ({"model": 3}, "model"),
        ({"tools": [3]}, "tools[0]"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "loud"}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"stop_sequences": ["a", 1]}, "stop_sequences[1]"),
        ({"metadata": 3}, "metadata"),
        (b"{", ""),
        (b"[]", ""),
    ],
)
def test_what_the_api_does_not_allow(body: Any, path: str) -> None:
    with pytest.raises(ProtocolError) as error:
        parse(body)
    assert error.value.path == path


def test_function_tools_with_their_flags() -> None:
    flags = {"input_examples": [{"q": "x"}], "defer_loading": True}
    native = {**TOOL, "type": "custom", "description": "d", "strict": True, "cache_control": {"type": "ephemeral"}}
    (tool,) = parse({"tools": [native | flags]})[0].tools
    assert (tool.name, tool.kind, tool.description, tool.schema, tool.strict) == (
        "f",
        "function",
        "d",
        {"type": "object"},
        True,
    )
    assert tool.cache == CacheMarker()
    assert tool.extra == flags
    assert tool.at == "tools[0]"


def test_web_search_and_other_provider_tools() -> None:
    search = {
        "type": "web_search_20250305", "name": "web_search", "max_uses": 3, "allowed_domains": ["e.x"],
        "user_location": {"type": "approximate", "city": "Paris", "country": None},
    }  # fmt: skip
    toolset = {"type": "mcp_toolset", "mcp_server_name": "s"}
    first, second = parse({"tools": [search, toolset]})[0].tools
    assert first.kind == "web_search"
    assert first.search == WebSearch(None, 3, {"city": "Paris"})
    assert first.native == search
    assert first.extra == {"allowed_domains": ["e.x"]}
    assert (second.kind, second.name, second.native) == ("provider", "mcp_toolset", toolset)


def test_a_tool_for_code_only_is_essential() -> None:
    request, _ = parse({"tools": [TOOL | {"allowed_callers": ["code_execution_20260120"]}]})
    assert request.extra["tools[0].allowed_callers"].essential
    request, _ = parse({"tools": [TOOL | {"allowed_callers": ["direct", "code_execution_20260120"]}]})
    assert request.extra == {}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        ({"type": "auto"}, ToolChoice("auto")),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required", parallel=False)),
        ({"type": "none"}, ToolChoice("none")),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, ToolChoice("tool", ["f"])),
    ],
)
def test_tool_choice(choice: Any, expected: ToolChoice) -> None:
    assert parse({"tools": [TOOL], "tool_choice": choice})[0].tool_choice == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, Reasoning()),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, Reasoning("budget", budget=2048)),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, Reasoning("adaptive", display="omitted")),
        ({"thinking": {"type": "disabled"}}, Reasoning("off")),
        ({"thinking": {"type": "between_tools"}}, Reasoning("between_tools")),
        ({"output_config": {"effort": "max"}}, Reasoning(effort="max")),
        (
            {"thinking": {"type": "adaptive", "block_binding": {"a": 1}}, "output_config": {"effort": "low"}},
            Reasoning("adaptive", "low", extra={"block_binding": {"a": 1}}),
        ),
    ],
)
def test_reasoning(body: dict[str, Any], expected: Reasoning) -> None:
    assert parse(body)[0].reasoning == expected


def test_reasoning_speaks_the_clients_paths() -> None:
    assert parse({"output_config": {"effort": "low"}})[0].path_of("reasoning") == "output_config.effort"
    request, _ = parse({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}})
    assert request.path_of("reasoning") == "thinking"
    assert request.path_of("effort") == "output_config.effort"


SCHEMA = {"type": "object", "properties": {}}


@pytest.mark.parametrize("where", ["output_config.format", "output_format"])
def test_output_now_and_as_it_was_in_beta(where: str) -> None:
    form = {"type": "json_schema", "schema": SCHEMA}
    request, _ = parse({"output_format": form} if where == "output_format" else {"output_config": {"format": form}})
    assert request.output is not None
    assert request.output.schema == SCHEMA
    assert request.path_of("output") == where
    assert request.path_of("output_schema") == f"{where}.schema"


def test_both_outputs() -> None:
    form = {"type": "json_schema", "schema": SCHEMA}
    _, losses = parse({"output_format": form, "output_config": {"format": form}})
    assert losses == ["output_format:dropped"]


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [
        ("plain", ("plain", None)),
        ("", (None, None)),
        ('{"device_id":"d","account_uuid":"u","session_id":"s-1"}', ("u", "s-1")),
        ('{"device_id":"d","account_uuid":"","session_id":"s-1"}',
         ("d", "s-1")),
        ('{"session_id":"s-1"}', (None, "s-1")),
        ("user_0a1b_account_1c-2d_session_3e-4f", ("1c-2d", "3e-4f")),
        ("user_0a1b_account__session_3e-4f", ("0a1b", "3e-4f")),
        ("user_0a1b_account_", ("user_0a1b_account_", None)),
        ("{not json", ("{not json", None)),
    ],
)  # fmt: skip
def test_user_id(user_id: str, expected: tuple[str | None, str | None]) -> None:
    request, _ = parse({"metadata": {"user_id": user_id}})
    assert (request.user_id, request.session_key) == expected


@pytest.mark.parametrize("name", ["mcp_servers", "container", "thread"])
def test_what_only_this_api_has_is_essential(name: str) -> None:
    request, _ = parse({name: [{"url": "https://e.x"}]})
    assert request.extra[name].essential
    assert request.extra[name].problem == f"{name} is not supported for this model"
    assert parse({name: []})[0].extra == {}


@pytest.mark.parametrize("provider", ["openai", "gemini", "bedrock"])
def test_a_thread_is_refused_so_that_clients_send_the_whole_conversation(provider: str) -> None:
    """As Anthropic's SDK reads it (``anthropic.lib.threads``)."""
    t = Translation(route={"provider": provider, "auth": "none"}, now=0)
    body = {"model": "m", "max_tokens": 9, "thread": {"type": "create"}, "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(Refused) as refused:
        t.request(json.dumps(body).encode(), "POST", "/v1/messages")
    error = json.loads(refused.value.body)["error"]
    assert refused.value.status == 400 and error["type"] == "invalid_request_error"
    assert error["details"] == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


def test_everything_else_is_advisory() -> None:
    request, _ = parse(
        {"context_management": {"edits": []}, "inference_geo": "us", "speed": "standard", "x_new": 1,
         "metadata": {"y": 2}, "output_config": {"task_budget": {"total": 5}},
         "anthropic_version": "bedrock-2023-05-31"}
    )  # fmt: skip
    assert {name: member.path for name, member in request.extra.items()} == {
        "context_management": "context_management",
        "inference_geo": "inference_geo",
        "x_new": "x_new",
        "metadata.y": "metadata.y",
        "output_config.task_budget": "output_config.task_budget",
    }
    assert not any(member.essential for member in request.extra.values())


WORDS = st.sampled_from(
    ["type", "text", "tool_use", "tool_result", "image", "document", "thinking", "x", "user", "base64"]
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 5), st.floats(allow_nan=False, allow_infinity=False), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    ["system", "messages", "tools", "tool_choice", "thinking", "output_config", "metadata", "stop_sequences", "model",
     "max_tokens", "temperature", "stream", "cache_control", "container", "service_tier"]
)  # fmt: skip
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "document", "search_result", "tool_use", "tool_result", "thinking",
                              "redacted_thinking", "server_tool_use"])},
    optional=dict.fromkeys(("text", "source", "content", "id", "name", "input", "tool_use_id", "thinking", "signature",
                            "data", "cache_control", "citations", "title", "is_error"), VALUES),
)  # fmt: skip
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.lists(BLOCK, max_size=3)}
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(MEMBERS, VALUES, max_size=4), st.lists(MESSAGE, max_size=3))
def test_any_body_is_read_or_refused(members: dict[str, Any], messages: list[Any]) -> None:
    try:
        parse(members | ({"messages": messages} if messages else {}))
    except (ProtocolError, Unsupported) as error:
        assert str(error)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(data)


def test_bytes_that_are_not_utf8_are_repaired() -> None:
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Q"}]}).encode()
    request, _ = parse(body.replace(b"Q", b"\xff"))
    assert request.messages[0].content == "\ufffd"
