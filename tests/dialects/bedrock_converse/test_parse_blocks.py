from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.failures import ProtocolError
from extproc.llm.request import (
    Audio,
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

from .helpers import M, blocks


def test_what_users_say() -> None:
    url = {"s3Location": {"uri": "s3://b/k.png"}}
    assert blocks(
        {"text": "a"},
        {"text": ""},
        {"image": {"format": "png", "source": {"bytes": "AA=="}}},
        {"image": {"format": "jpeg", "source": url}},
        {"document": {"format": "pdf", "name": "n", "source": {"bytes": "AA=="}, "citations": {"enabled": True}}},
        {"document": {"format": "md", "name": "n", "source": {"bytes": "aGk="}, "context": "c"}},
        {"document": {"format": "txt", "name": "n", "source": {"text": "hi"}}},
        {"audio": {"format": "mp3", "source": {"bytes": "AA=="}}},
        {"searchResult": {"source": "s", "title": "t", "content": [{"text": "x"}]}},
        {"video": {"format": "mp4"}},
    ) == [
        Text("a", f"{M}[0]"),
        Image(Source("base64", "AA==", "image/png"), f"{M}[2]"),
        Image(Source("url", "s3://b/k.png", "image/jpeg"), f"{M}[3]"),
        Document(Source("base64", "AA==", "application/pdf"), None, f"{M}[4]", "n", citations=True),
        Document(Source("text", "hi", "text/markdown"), None, f"{M}[5]", "n", "c"),
        Document(Source("text", "hi", "text/plain"), None, f"{M}[6]", "n"),
        Audio("AA==", "mp3", f"{M}[7]"),
        SearchResult("s", "t", [Text("x", f"{M}[8].searchResult.content[0]")], f"{M}[8]"),
        Opaque("bedrock_converse", {"video": {"format": "mp4"}}, f"{M}[9]", True),
    ]


def test_results_of_tools() -> None:
    result = {"toolUseId": "t1", "status": "error", "content": [{"text": "a"}, {"json": {"b": 1}}]}
    texts: list[Any] = [Text("a", f"{M}[0].toolResult.content[0]"), Text('{"b":1}', f"{M}[0].toolResult.content[1]")]
    assert blocks({"toolResult": result}) == [ToolResult("t1", texts, True, f"{M}[0]")]


def test_what_the_assistant_said() -> None:
    assert blocks(
        {"reasoningContent": {"reasoningText": {"text": "t", "signature": "S"}}},
        {"reasoningContent": {"reasoningText": {"text": "t"}}},
        {"reasoningContent": {"redactedContent": "ZGF0YQ=="}},
        {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}},
        {"toolUse": {"toolUseId": "t2", "name": "g", "input": {}, "type": "server_tool_use"}},
        role="assistant",
    ) == [
        Thinking("t", "S", None, "anthropic-claude-v1", 0, f"{M}[0]"),
        Thinking("t", None, None, "", 1, f"{M}[1]"),
        Thinking("", None, "data", "anthropic-claude-v1", 2, f"{M}[2]"),
        ToolCall("t1", "f", input={"a": 1}, at=f"{M}[3]"),
        Opaque(
            "bedrock_converse",
            {"toolUse": {"toolUseId": "t2", "name": "g", "input": {}, "type": "server_tool_use"}},
            f"{M}[4]",
        ),
    ]


@pytest.mark.parametrize(
    ("block", "path"),
    [
        ({"image": {"format": "png"}}, f"{M}[0].image.source"),
        ({"text": 3}, f"{M}[0].text"),
        ({"toolUse": {"toolUseId": "a", "name": "f", "input": {}}}, f"{M}[0]"),
        ({"reasoningContent": {"reasoningText": {"text": "t"}}}, f"{M}[0]"),
        ({}, f"{M}[0]"),
    ],
)
def test_blocks_that_cannot_stand_there(block: Any, path: str) -> None:
    with pytest.raises(ProtocolError) as error:
        blocks(block)
    assert error.value.path == path


def test_what_stands_beside_the_one_member_is_reported_with_it() -> None:
    (image,) = blocks({"image": {"format": "png", "source": {"bytes": "AA=="}}, "x_new": 1})
    assert isinstance(image, Image) and image.extra == {"x_new": 1}
