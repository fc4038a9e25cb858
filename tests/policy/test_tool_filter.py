from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from extproc import Call, Translation
from extproc.llm.events import ToolCallStarted
from extproc.llm.request import Message, Tool
from extproc.policy.tool_filter import _fits

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


# ---- tools that a provider runs, and those that come later

FUNCTION: dict[str, Any] = {"name": "f", "parameters": {"type": "object", "properties": {}}}
LATER: dict[str, Any] = {"type": "tool_addition", "tool": {
    "type": "tool_definition", "definition": {"name": "late", "input_schema": {"type": "object"}}}}  # fmt: skip
OWN: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": ("/v1/chat/completions", {
        "model": "m", "messages": [{"role": "user", "content": "hi"}], "web_search_options": {},
        "tools": [{"type": "function", "function": FUNCTION}]}),
    "openai_responses": ("/v1/responses", {
        "model": "m", "input": "hi", "tools": [
            {"type": "mcp", "server_label": "x", "server_url": "https://x.test"}, {"type": "web_search"},
            {"type": "file_search", "vector_store_ids": ["vs_1"]}, {"type": "code_interpreter", "container": "c"},
            {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", **FUNCTION}]}]}),
    "anthropic_messages": ("/v1/messages", {
        "model": "m", "max_tokens": 9, "mcp_servers": [{"type": "url", "url": "https://x.test", "name": "x"}],
        "messages": [{"role": "user", "content": "hi"}, {"role": "system", "content": [LATER]}],
        "tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}, {"type": "bash_20250124", "name": "bash"},
                  {"type": "web_search_20250305", "name": "web_search"}]}),
    "gemini": ("/v1beta/models/m:generateContent", {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "tools": [{"google_search": {}}, {"code_execution": {}}, {"functionDeclarations": [FUNCTION]}]}),
    "bedrock_converse": ("/model/m/converse", {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}},
                                 {"systemTool": {"name": "nova_grounding"}}]}}),
}  # fmt: skip
OFFERS = ("tools", "toolConfig", "mcp_servers", "web_search_options")


def passed(client: str, members: dict[str, Any], body: dict[str, Any]) -> tuple[Translation, Any]:
    t = exchange(client, client, {"tool_filter": members})
    call = t.request(msgspec.json.encode(body), "POST", OWN[client][0])
    assert isinstance(call, Call)
    return t, msgspec.json.decode(call.body)


@pytest.mark.parametrize("members", [{"deny": ["*"]}, {"allow": ["nothing"]}, {"max_tools": 0}])
@pytest.mark.parametrize("client", OWN)
def test_nothing_is_offered_in_another_way(client: str, members: dict[str, Any]) -> None:
    """Neither what the provider runs, nor what a later message adds; and all else stays as it was."""
    _, body = OWN[client]
    t, sent = passed(client, members, body)
    offered = {name for name in sent if name in OFFERS}
    assert offered <= ({"mcp_servers"} if "max_tools" in members else set()), "servers are not counted"
    rest = {name: value for name, value in body.items() if name not in OFFERS}
    if client == "anthropic_messages":
        rest["messages"] = rest["messages"][:1]
    assert {name: value for name, value in sent.items() if name not in OFFERS} == rest
    assert {loss.action.value for loss in t.losses} == {"filtered"}


def test_of_what_stands_in_one_place_the_others_stay() -> None:
    _, body = OWN["openai_responses"]
    _, sent = passed("openai_responses", {"deny": ["n__*", "mcp"]}, body)
    assert [tool["type"] for tool in sent["tools"]] == ["web_search", "file_search", "code_interpreter"]
    _, body = OWN["gemini"]
    _, sent = passed("gemini", {"deny": ["f"]}, body)
    assert sent["tools"] == [{"google_search": {}}, {"code_execution": {}}], "an empty one is refused there"


def test_what_refers_to_a_tool_goes_with_it() -> None:
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in ("find", "erase", "look")]
    found = [{"type": "tool_reference", "tool_name": name} for name in ("erase", "look")]
    removed = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "erase"}}
    body = {"model": "m", "max_tokens": 9, "tools": tools, "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "find", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": found}]},
        {"role": "system", "content": [{"type": "text", "text": "so"}, removed]},
    ]}  # fmt: skip
    _, sent = passed("anthropic_messages", {"deny": ["erase"], "rename": {"look": "see"}}, body)
    assert [tool["name"] for tool in sent["tools"]] == ["find", "see"]
    assert sent["messages"][2]["content"][0]["content"] == [{"type": "tool_reference", "tool_name": "see"}]
    assert sent["messages"][3]["content"] == [{"type": "text", "text": "so"}]


def test_what_is_added_later_counts() -> None:
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    body = {**OWN["anthropic_messages"][1], "tools": tools}
    _, sent = passed("anthropic_messages", {"max_tools": 2}, body)
    assert len(sent["messages"]) == 2
    t, sent = passed("anthropic_messages", {"max_tools": 1}, body)
    assert len(sent["messages"]) == 1 and "messages[1].content[0]:filtered" in map(str, t.losses)


@pytest.mark.parametrize(("client", "upstream"), ALL_PAIRS)
def test_a_tool_of_the_clients_that_is_called_alike(client: str, upstream: str) -> None:
    """A call comes back under the name of the tool that was meant."""
    rule = {"tool_filter": {"rename": {"look_up": "run"}}}
    t = exchange(client, upstream, rule)
    request = reached(t, written(client, Message("user", "hi"), tools=OFFERED))
    assert [tool.name for tool in request.tools] == ["run", "erase"] and "filtered" in str([*map(str, t.losses)])
    got = heard(t, tool_call("{}"), stream=False)
    assert [event.name for event in got if isinstance(event, ToolCallStarted)] == ["look_up"]
    # Where the one to be renamed is not offered, the other one is itself.
    t = exchange(client, upstream, rule)
    request = reached(t, written(client, Message("user", "hi"), tools=OFFERED[:1]))
    assert [tool.name for tool in request.tools] == ["run"]
    assert not t.policed, "nothing is to be put back"
    got = heard(t, tool_call("{}"), stream=False)
    assert [event.name for event in got if isinstance(event, ToolCallStarted)] == ["run"]


def test_names_that_are_exchanged() -> None:
    t = exchange("openai_chat", "gemini", {"tool_filter": {"rename": {"run": "erase", "erase": "run"}}})
    request = reached(t, written("openai_chat", Message("user", "hi"), tools=OFFERED))
    assert [tool.name for tool in request.tools] == ["erase", "look_up", "run"]
    got = heard(t, tool_call("{}"), stream=True)
    assert [event.name for event in got if isinstance(event, ToolCallStarted)] == ["erase"]


@pytest.mark.parametrize(
    ("pattern", "fits", "not_fits"),
    [
        ("run", ["run"], ["run_", "_run", ""]),
        ("run*", ["run", "run_x"], ["xrun"]),
        ("*run", ["run", "xrun"], ["run_"]),
        ("*un*", ["run", "un", "fun_x"], ["u n"]),
        ("a*b*a", ["aba", "a_b_a", "abba"], ["ab", "aa", "bab", "a"]),
        ("*", ["", "a\nb"], []),
        ("**", ["", "a"], []),
        ("a.b", ["a.b"], ["axb"]),
        ("ab*ba", ["abba", "ab_ba"], ["aba"]),
    ],
)
def test_what_an_asterisk_stands_for(pattern: str, fits: list[str], not_fits: list[str]) -> None:
    assert [name for name in fits + not_fits if _fits(name, pattern.split("*"))] == fits


def test_a_long_name_does_not_take_long() -> None:
    parts = ["", "a", "a", "a", "a", "a", "b"]
    began = time.process_time()
    assert not _fits("a" * 1_000_000, parts) and not _fits("ab" * 500_000 + "c", parts)
    assert time.process_time() - began < 1
