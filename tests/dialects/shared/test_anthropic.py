from __future__ import annotations

from typing import Any

import pytest

from extproc.llm import marker
from extproc.llm.failures import ProtocolError
from extproc.llm.request import (
    Block,
    CacheMarker,
    Document,
    Image,
    Opaque,
    SearchResult,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

from ..anthropic_messages.helpers import parse

AT = "messages[0].content[0]"
NAME = "anthropic_messages"
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
CACHED = {"cache_control": {"type": "ephemeral"}}
WEB_RESULT = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}


def read(block: Any, role: str = "user") -> list[Block]:
    content = parse({"messages": [{"role": role, "content": [block]}]})[0].messages[0].content
    assert isinstance(content, list)
    return content


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "text", "text": "a"}, Text("a", AT)),
        ({"type": "text", "text": "a", **CACHED}, Text("a", AT, CacheMarker())),
        ({"type": "text", "text": "a", "x": 1, "y": None}, Text("a", AT, extra={"x": 1})),
        ({"type": "image", "source": PNG}, Image(Source("base64", "iVBORw0KGgo=", "image/png"), AT)),
        ({"type": "image", "source": {"type": "url", "url": "https://e.x"}}, Image(Source("url", "https://e.x"), AT)),
        (
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}, **CACHED},
            Image(Source("file", "file_1", dialect=NAME), AT, cache=CacheMarker()),
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}, "title": "n",
             "context": "c", "citations": {"enabled": True}},
            Document(Source("text", "hi", "text/plain"), None, AT, "n", "c", True),
        ),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JV"}},
            Document(Source("base64", "JV", "application/pdf"), None, AT),
        ),
        (
            {"type": "document", "source": {"type": "content", "content": "plain"}},
            Document(None, "plain", AT),
        ),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}},
            Document(None, [Text("a", f"{AT}.source.content[0]")], AT),
        ),
        (
            {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "a"}]},
            SearchResult("s", "t", [Text("a", f"{AT}.content[0]")], AT),
        ),
        ({"type": "tool_result", "tool_use_id": "t"}, ToolResult("t", "", None, AT)),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": {"type": "text", "text": "a"}},
            ToolResult("t", [Text("a", f"{AT}.content[0]")], None, AT),
        ),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": ["a"]},
            ToolResult("t", [Text("a", f"{AT}.content[0]")], None, AT),
        ),
        ({"type": "tool_result", "tool_use_id": "t", "content": {"a": 1}}, ToolResult("t", '{"a":1}', None, AT)),
        ({"type": "tool_result", "tool_use_id": "t", "content": "x", "is_error": True}, ToolResult("t", "x", True, AT)),
        (
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": PNG}]},
            ToolResult("t", [Image(Source("base64", "iVBORw0KGgo=", "image/png"), f"{AT}.content[0]")], None, AT),
        ),
        ({"type": "image", "source": {"type": "sketch"}},
         Opaque(NAME, {"type": "image", "source": {"type": "sketch"}}, AT, essential=True)),
        ({"type": "container_upload", "file_id": "f"},
         Opaque(NAME, {"type": "container_upload", "file_id": "f"}, AT, essential=True)),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_what_users_say(block: Any, expected: Block) -> None:
    assert read(block) == [expected]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}, ToolCall("t", "f", input={"a": 1}, at=AT)),
        ({"type": "tool_use", "id": "t", "name": "f", "input": None}, ToolCall("t", "f", input={}, at=AT)),
        ({"type": "tool_use", "id": "t", "name": "f", "input": []}, ToolCall("t", "f", input={}, at=AT)),
        ({"type": "tool_use", "id": "t", "name": "f", "input": '{"a":1}'}, ToolCall("t", "f", '{"a":1}', at=AT)),
        ({"type": "thinking", "thinking": None, "signature": None}, Thinking("", None, None, "", 0, AT)),
        (
            {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}},
            ToolCall("t", "f", input={}, at=AT),
        ),
        (
            {"type": "thinking", "thinking": "why", "signature": "S"},
            Thinking("why", "S", None, "anthropic-claude-v1", 0, AT),
        ),
        ({"type": "thinking", "thinking": "why", "signature": ""}, Thinking("why", None, None, "", 0, AT)),
        (
            {"type": "thinking", "thinking": "why", "signature": marker.mark("why")},
            Thinking("why", marker.mark("why"), None, marker.SIGNER, 0, AT),
        ),
        ({"type": "redacted_thinking", "data": "R"}, Thinking("", None, "R", "anthropic-claude-v1", 0, AT)),
        (WEB_RESULT, Opaque(NAME, WEB_RESULT, AT)),
        ({"type": "text", "text": "a", "citations": [{"type": "x"}]}, Text("a", AT, citations=[{"type": "x"}])),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_the_assistant_said(block: Any, expected: Block) -> None:
    assert read(block, "assistant") == [expected]


def test_thinking_keeps_its_place_among_the_original_blocks() -> None:
    content = [
        {"type": "text", "text": ""},
        {"type": "thinking", "thinking": "w", "signature": "S"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    ]
    messages = [{"role": "assistant", "content": content}]
    blocks = parse({"messages": messages})[0].messages[0].content
    assert isinstance(blocks[0], Thinking)
    assert blocks[0].index == 1
    assert len(blocks) == 2, "the empty text is left out"


@pytest.mark.parametrize(
    ("block", "path"),
    [
        ("text", AT),
        (7, AT),
        ({}, f"{AT}.type"),
        ({"type": 3}, f"{AT}.type"),
        ({"type": "text"}, f"{AT}.text"),
        ({"type": "text", "text": 3}, f"{AT}.text"),
        ({"type": "text", "text": "a", "cache_control": "x"}, f"{AT}.cache_control"),
        ({"type": "image", "source": True}, f"{AT}.source"),
        ({"type": "image", "source": "x"}, f"{AT}.source"),
        ({"type": "image", "source": {"type": "base64", "data": "x"}}, f"{AT}.source.media_type"),
        ({"type": "document", "source": {"type": "content", "content": 3}}, f"{AT}.source.content"),
        ({"type": "tool_result", "content": "x"}, f"{AT}.tool_use_id"),
        ({"type": "tool_result", "tool_use_id": "t", "content": 3}, f"{AT}.content"),
        ({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text"}]}, f"{AT}.content[0].text"),
        ({"type": "search_result", "source": "s", "title": "t", "content": [{"type": "image", "source": PNG}]},
         f"{AT}.content[0]"),
        ({"type": "tool_use", "id": "t", "name": "f", "input": {}}, AT),
        ({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_result"}]}, f"{AT}.content[0]"),
        ({"type": "document", "source": {"type": "content", "content": [{"type": "document"}]}},
         f"{AT}.source.content[0]"),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_what_the_api_does_not_allow(block: Any, path: str) -> None:
    with pytest.raises(ProtocolError) as error:
        read(block)
    assert error.value.path == path


def test_a_result_cannot_be_the_assistants() -> None:
    with pytest.raises(ProtocolError) as error:
        read({"type": "tool_result", "tool_use_id": "t"}, "assistant")
    assert error.value.path == AT
