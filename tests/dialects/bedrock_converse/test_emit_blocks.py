from __future__ import annotations

from typing import Any

import pytest

from extproc.llm.failures import Unsupported
from extproc.llm.request import (
    Audio,
    CacheMarker,
    Document,
    Image,
    Message,
    Source,
    Text,
    Thinking,
    Tool,
    ToolResult,
)

from .helpers import CALLED, HI, F, user, written

PNG = Source("base64", "iVBORw0KGgo=", "image/png")


def test_results_hold_blocks_and_a_status() -> None:
    result = ToolResult("c:1", [Text("a", "x"), Image(PNG, "y")], True, "messages[2]")
    made = written(messages=[*CALLED[:2], Message("user", [result], "messages[2]")], tools=[F])
    assert made.messages[2]["content"][0]["toolResult"] == {
        "toolUseId": "c:1",
        "content": [{"text": "a"}, {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}}],
        "status": "error",
    }


def test_cache_points_follow_what_they_mark() -> None:
    mark = CacheMarker()
    made = written(
        system=[Message("system", [Text("s", "system[0]", mark)], "system")],
        messages=[Message("user", [Text("a", "a", CacheMarker("1h")), Text("b", "b")], "messages[0]")],
        tools=[Tool("f", schema={}, at="tools[0]", cache=mark)],
    )
    assert made.body["system"] == [{"text": "s"}, {"cachePoint": {"type": "default"}}]
    assert made.messages[0]["content"] == [
        {"text": "a"},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
        {"text": "b"},
    ]
    assert made.body["toolConfig"]["tools"][1] == {"cachePoint": {"type": "default"}}


def test_too_many_cache_points_cost_only_money() -> None:
    texts = [Text(str(n), f"t{n}", CacheMarker()) for n in range(6)]
    made = written(messages=[Message("user", list(texts), "messages[0]")])
    assert sum("cachePoint" in block for block in made.messages[0]["content"]) == 4
    assert made.losses == ["t4.cache:dropped", "t5.cache:dropped"]
    assert "cachePoint" not in str(
        written("meta.llama3-1-8b-instruct-v1:0", messages=[Message("user", [texts[0]], "m")]).body
    )


def test_thinking_goes_back_where_claude_signed_it() -> None:
    def said(*thinking: Thinking) -> Any:
        answer = Message("assistant", [*thinking, Text("a", "a")], "messages[1]")
        return written(messages=[*HI, answer, Message("user", "b", "messages[2]")])

    signed = Thinking("t", "S", None, "anthropic-claude-v1", 0, "x")
    redacted = Thinking("", None, "data", "anthropic-claude-v1", 1, "y")
    assert said(signed, redacted).messages[1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "t", "signature": "S"}}},
        {"reasoningContent": {"redactedContent": "ZGF0YQ=="}},
        {"text": "a"},
    ]
    foreign = said(Thinking("t", None, "E", "openai-responses-v1", 0, "x"))
    assert foreign.messages[1]["content"] == [{"text": "a"}] and foreign.losses == ["x:dropped"]


def test_documents_get_a_name_of_their_own_and_a_text_beside() -> None:
    pdf = Source("base64", "AA==", "application/pdf")
    made = user(Document(pdf, at="a", title="Report_1.pdf"), Document(pdf, at="b", title="Report_1.pdf"))
    names = [block["document"]["name"] for block in made.messages[0]["content"] if "document" in block]
    assert names == ["Report 1 pdf", "Report 1 pdf (2)"]
    assert made.messages[0]["content"][-1] == {"text": "Report 1 pdf"}
    assert "messages:synthesized" in made.losses


@pytest.mark.parametrize(
    ("source", "format_", "sent"),
    [
        (Source("text", "hi", "text/plain"), "txt", {"bytes": "aGk="}),
        (Source("text", "a,b", "text/csv"), "csv", {"bytes": "YSxi"}),
        (Source("base64", "AA==", "text/x-log"), "txt", {"bytes": "AA=="}),
        (Source("url", "s3://b/k.pdf", None), "pdf", {"s3Location": {"uri": "s3://b/k.pdf"}}),
    ],
)
def test_kinds_of_documents(source: Source, format_: str, sent: Any) -> None:
    document = user(Text("t", "t"), Document(source, at="a")).messages[0]["content"][1]["document"]
    assert (document["format"], document["source"]) == (format_, sent)


@pytest.mark.parametrize(
    "block",
    [
        Image(Source("url", "https://h/x.png"), "at"),
        Image(Source("base64", "AA==", "image/tiff"), "at"),
        Document(Source("base64", "AA==", "application/zip"), at="at"),
        Document(Source("file", "file-1", dialect="openai_chat"), at="at"),
    ],
)
def test_what_cannot_be_carried(block: Any) -> None:
    with pytest.raises(Unsupported) as error:
        user(block)
    assert error.value.path == "at"


def test_audio() -> None:
    assert user(Audio("AA==", "wav", "a")).messages[0]["content"] == [
        {"audio": {"format": "wav", "source": {"bytes": "AA=="}}}
    ]
