from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from extproc import Call, Translation
from extproc.llm.events import ToolCallStarted
from extproc.llm.request import Message, Tool

from .clients import PAIRS as ALL_PAIRS
from .clients import exchange, heard, reached, tool_call, written
from .test_chain import PAIRS, PATHS, PROVIDER

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
    ],
    "tools": [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
              for name in ("get_time", "run_shell", "run_query")],
}  # fmt: skip
MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "get_time", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "noon"}]},
    ],
    "tools": [{"name": name, "input_schema": {"type": "object", "properties": {}}}
              for name in ("get_time", "run_shell", "run_query")],
}  # fmt: skip
REQUEST = {"openai_chat": CHAT, "anthropic_messages": MESSAGES}
CALLS = {
    "openai_chat": b'{"id":"r1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":null,"tool_calls":[{"id":"c2","type":"function","function":{"name":"clock",'
    b'"arguments":"{}"}}]},"finish_reason":"tool_calls"}]}',
    "anthropic_messages": b'{"id":"r1","type":"message","role":"assistant","model":"m","content":[{"type":"tool_use",'
    b'"id":"c2","name":"clock","input":{}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}',
}


def filtered(client: str, upstream: str, members: dict[str, Any], **changed: Any) -> tuple[Translation, Any]:
    route = {"provider": PROVIDER[upstream], "auth": "none", "policies": [{"tool_filter": members}]}
    t = Translation(client, upstream, route=route, now=1.0)
    call = t.request(msgspec.json.encode({**REQUEST[client], **changed}), "POST", PATHS[client])
    assert isinstance(call, Call)
    return t, msgspec.json.decode(call.body)


def names(sent: Any) -> list[str]:
    return [tool.get("name") or tool["function"]["name"] for tool in sent.get("tools", [])]


pairs = pytest.mark.parametrize(("client", "upstream"), PAIRS)


@pytest.mark.parametrize(
    ("members", "kept"),
    [
        ({"deny": ["run_shell"]}, ["get_time", "run_query"]),
        ({"deny": ["run_*"]}, ["get_time"]),
        ({"allow": ["run_*"]}, ["run_shell", "run_query"]),
        ({"allow": ["*"], "deny": ["*shell"]}, ["get_time", "run_query"]),
        ({"max_tools": 2}, ["get_time", "run_shell"]),
        ({"deny": ["get_time"], "max_tools": 1}, ["run_shell"]),
        ({}, ["get_time", "run_shell", "run_query"]),
    ],
)
@pairs
def test_which_tools_go_on(client: str, upstream: str, members: dict[str, Any], kept: list[str]) -> None:
    t, sent = filtered(client, upstream, members)
    # A tool that the history calls must be there for some APIs: a stub stands for it.
    assert [name for name in names(sent) if name in kept or name != "get_time"] == kept
    left_out = [loss for loss in t.losses if loss.action.value == "filtered"]
    assert len(left_out) == 3 - len(kept) and all("tools[" in loss.path for loss in left_out)


@pairs
def test_tools_under_other_names(client: str, upstream: str) -> None:
    t, sent = filtered(client, upstream, {"rename": {"get_time": "clock"}})
    assert names(sent) == ["clock", "run_shell", "run_query"] and '"get_time"' not in str(sent).replace("'", '"')
    t.response_head(200, [("content-type", "application/json")])
    got = t.response_body(CALLS[upstream], True)
    assert b'"get_time"' in got and b"clock" not in got, "the client's own name comes back"


@pairs
def test_a_choice_of_what_is_not_offered_is_the_models(client: str, upstream: str) -> None:
    named = {"openai_chat": {"type": "function", "function": {"name": "run_shell"}},
             "anthropic_messages": {"type": "tool", "name": "run_shell"}}[client]  # fmt: skip
    t, sent = filtered(client, upstream, {"deny": ["run_shell"]}, tool_choice=named)
    assert "run_shell" not in str(sent) and "tool_choice:filtered" in map(str, t.losses)


def test_a_passing_request_keeps_the_bytes_of_what_stays() -> None:
    body = msgspec.json.encode(CHAT).replace(b'{"role":"user"', b'{ "role" : "user"')
    route = {"provider": "openai", "auth": "none", "policies": [{"tool_filter": {"deny": ["run_*"]}}]}
    call = Translation("openai_chat", "openai_chat", route=route).request(body, "POST", "/v1/chat/completions")
    assert isinstance(call, Call) and b'{ "role" : "user"' in call.body and b"run_" not in call.body


# ---- every API, whole and streamed

MEMBERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "allow": ({"allow": ["run", "look*"]}, ["run", "look_up"]),
    "deny": ({"deny": ["erase"]}, ["run", "look_up"]),
    "max_tools": ({"max_tools": 1}, ["run"]),
    "rename": ({"rename": {"run": "go"}}, ["go", "look_up", "erase"]),
}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
OFFERED = [Tool(name, schema=SCHEMA) for name in ("run", "look_up", "erase")]


@pytest.mark.rows("B40")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize(("client", "upstream"), ALL_PAIRS)
def test_each_member_for_every_api(client: str, upstream: str, member: str, stream: bool) -> None:
    members, wanted = MEMBERS[member]
    t = exchange(client, upstream, {"tool_filter": members})
    request = reached(t, written(client, Message("user", "hi"), tools=OFFERED, stream=stream))
    assert [tool.name for tool in request.tools] == wanted
    called = [
        replace(event, name=wanted[0]) if isinstance(event, ToolCallStarted) else event for event in tool_call("{}")
    ]
    got = heard(t, called, stream=stream)
    assert [event.name for event in got if isinstance(event, ToolCallStarted)] == ["run"], "by the client's own name"
