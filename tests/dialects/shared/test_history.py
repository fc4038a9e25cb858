"""What stays in a conversation's history is refused by no upstream: told in words, and reported."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Refused, Translation
from extproc.dialects.shared.history import as_aside, omitted, settled
from extproc.llm.losses import LossReport
from extproc.llm.request import Message, Request, Text, Tool, ToolChange, ToolReference, ToolResult

F = {"name": "f", "input_schema": {"type": "object", "properties": {"x": {"type": "integer"}}}}
SECOND = {"role": "assistant", "content": [{"type": "tool_use", "id": "t2", "name": "f", "input": {"x": 2}}]}
CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}]}
HISTORIES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a reference to a tool": (
        [CALL, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [
            {"type": "tool_reference", "tool_name": "f"}]}]}],
        "Tool available: f",
    ),
    "a result without its call": (
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t9", "content": "late"}]}],
        "late",
    ),
    "two calls and one result": (
        [CALL, {"role": "user", "content": "stop"}, SECOND,
         {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t2", "content": "second"}]}],
        "second",
    ),
    "a tool that is added": (
        [{"role": "system", "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}},
            {"type": "text", "text": "it can be called now"}]},
         {"role": "user", "content": "go on"}],
        "it can be called now",
    ),
    "a tool that is removed": (
        [{"role": "system", "content": [{"type": "tool_removal", "tool": {"type": "tool_reference", "name": "f"}}]},
         {"role": "user", "content": "go on"}],
        "go on",
    ),
    "a call without its result": ([CALL, {"role": "user", "content": "stop that"}], "stop that"),
    "the user twice": ([{"role": "user", "content": "and now?"}], "and now?"),
}  # fmt: skip
ROUTES: dict[str, dict[str, Any]] = {
    "openai_chat": {"provider": "openai"},
    "openai_responses": {"provider": "openai", "upstream": "openai_responses"},
    "gemini": {"provider": "gemini", "upstream": "gemini"},
    "bedrock_converse": {
        "provider": "bedrock",
        "provider_conf": {"region": "us-east-1"},
        "upstream": "bedrock_converse",
    },
}


@pytest.mark.parametrize("upstream", ROUTES)
@pytest.mark.parametrize("what", HISTORIES)
def test_no_upstream_refuses_it(what: str, upstream: str) -> None:
    history, told = HISTORIES[what]
    tools = [F, {"type": "bash_20250124", "name": "bash"}, {"type": "memory_20250818", "name": "memory"}]
    messages = [{"role": "user", "content": "hi"}, *history]
    body = {"model": "m", "max_tokens": 99, "messages": messages, "tools": tools}
    t = Translation("anthropic_messages", route={"auth": "none", **ROUTES[upstream]}, now=0)
    made = t.request(json.dumps(body).encode(), "POST", "/v1/messages")
    text = made.body.decode()
    assert t.upstream == upstream and told in text
    assert '"bash"' in text and '"memory"' in text and '"restart"' in text, "the client's own tools, as functions"
    assert list(t.losses)


UNREAD: dict[str, tuple[str, dict[str, Any]]] = {
    "a file of Anthropic's": (
        "anthropic_messages",
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
    ),
    "an image of Anthropic's": (
        "anthropic_messages",
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    ),
    "an upload to a container": ("anthropic_messages", {"type": "container_upload", "file_id": "file_1"}),
    "an image where only Anthropic looks": (
        "anthropic_messages",
        {"type": "image", "source": {"type": "sketch", "id": "x"}},
    ),
    "a block of tomorrow": ("anthropic_messages", {"type": "hologram", "data": "x"}),
    "audio": ("openai_chat", {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
    "a file of OpenAI's": ("openai_chat", {"type": "file", "file": {"file_id": "file-1"}}),
    "a film": ("openai_chat", {"type": "video_url", "video_url": {"url": "https://x.example/v.mp4"}}),
    "a text that is none": (
        "openai_chat",
        {"type": "file", "file": {"filename": "a.csv", "file_data": "data:text/csv;base64,/+8A/w=="}},
    ),
}
"""What only one API knows, or none, and the clients that say it."""
TAKEN = {
    ("audio", "gemini"), ("audio", "bedrock_converse"), ("a file of OpenAI's", "openai_responses"),
    ("a text that is none", "bedrock_converse"), ("a text that is none", "gemini"),
}  # fmt: skip
UPSTREAMS = {**ROUTES, "anthropic_messages": {"provider": "anthropic"}}


def asked(client: str, upstream: str, messages: list[Any], **members: Any) -> Translation:
    t = Translation(client, upstream, route={"auth": "none", **UPSTREAMS[upstream], **members}, now=0)
    t.request(json.dumps({"model": "m", "max_tokens": 99, "messages": messages, "tools": []}).encode())
    return t


@pytest.mark.parametrize(
    ("what", "upstream"), [(what, each) for what, (client, _) in UNREAD.items() for each in UPSTREAMS if each != client]
)
def test_what_no_upstream_takes_is_refused_once_and_never_again(what: str, upstream: str) -> None:
    client, block = UNREAD[what]
    said: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "look"}, block]}
    later = {"role": "user", "content": "go on"}
    for messages in ([said, {"role": "assistant", "content": "seen"}, later], [said, later], [*_called(client, block)]):
        t = asked(client, upstream, messages)
        assert [loss for loss in t.losses if loss.path.startswith("messages[")] or (what, upstream) in TAKEN
        if (what, upstream) not in TAKEN:
            with pytest.raises(Refused):
                asked(client, upstream, messages, losses="reject")
    if (what, upstream) not in TAKEN:
        with pytest.raises(Refused) as refused:
            asked(client, upstream, [said])
        assert refused.value.status == 400


def _called(client: str, block: dict[str, Any]) -> list[Any]:
    """A tool's result holds *block*, and the user has not spoken since."""
    user = {"role": "user", "content": "go"}
    if client == "anthropic_messages":
        result = {"type": "tool_result", "tool_use_id": "t1", "content": [block]}
        return [user, CALL, {"role": "user", "content": [result]}]
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    calls = {"role": "assistant", "content": None, "tool_calls": [call]}
    return [user, calls, {"role": "tool", "tool_call_id": "t1", "content": [block]}]


def change(added: bool, tool: Tool | None = None) -> ToolChange:
    return ToolChange(added, "anthropic_messages", {}, tool, "messages[1].content[0]")


def test_tools_that_are_defined_on_the_way_stand_among_the_others_once() -> None:
    known, later = Tool("f"), Tool("later", at="messages[1].content[0].tool")
    messages = [
        Message("user", "hi"),
        Message("system", [change(True, later), change(True, known), change(False), Text("so")]),
        Message("system", [change(True, later)]),
        Message("user", "go on"),
    ]
    losses = LossReport()
    made = settled(Request(dialect="x", model="m", messages=messages, tools=[known]), losses)
    assert [tool.name for tool in made.tools] == ["f", "later"]
    assert made.messages[1].content == [Text("so")] and made.messages[2].content == []
    assert {loss.action.value for loss in losses} == {"dropped", "moved"}


def test_what_counted_until_the_user_spoke_again_goes() -> None:
    messages = [
        Message("system", "once", "messages[0]", clear_at="next_user_message"),
        Message("user", "hi"),
        Message("system", "now", "messages[2]", clear_at="next_user_message"),
    ]
    made = settled(Request(dialect="x", model="m", messages=messages), LossReport())
    assert [message.content for message in made.messages] == ["hi", "now"]


def test_a_request_without_any_of_it_stays_the_same() -> None:
    messages = [Message("user", [ToolResult("t", "ok"), Text("x")]), Message("assistant", "y")]
    losses = LossReport()
    made = settled(Request(dialect="x", model="m", messages=messages, tools=[Tool("f")]), losses)
    assert all(new is old for new, old in zip(made.messages, messages, strict=True)) and not list(losses)


def test_references_become_words_where_they_stand() -> None:
    result = ToolResult("t", [Text("a"), ToolReference("f", "messages[0].content[0].content[1]")])
    losses = LossReport()
    made = settled(Request(dialect="x", model="m", messages=[Message("user", [result])]), losses)
    block = made.messages[0].content[0]
    assert isinstance(block, ToolResult)
    assert [each.text for each in block.content] == ["a", "Tool available: f"]  # type: ignore[union-attr]
    assert [str(loss) for loss in losses] == ["messages[0].content[0].content[1]:rewritten"]


def test_how_things_are_told() -> None:
    assert as_aside("x") == "<system>\nx\n</system>"
    assert omitted("image", "the model takes none") == "[image omitted: the model takes none]"
