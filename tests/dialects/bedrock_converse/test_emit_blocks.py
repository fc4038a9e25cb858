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
    # The hour stands behind five minutes, which the API refuses.
    assert made.body["system"] == [{"text": "s"}, {"cachePoint": {"type": "default"}}]
    assert made.messages[0]["content"] == [
        {"text": "a"},
        {"cachePoint": {"type": "default"}},
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
        (Source("base64", "eyJhIjoxfQ==", "application/json"), "txt", {"bytes": "eyJhIjoxfQ=="}),
        (Source("base64", "bGV0IGE9MQ==", None), "txt", {"bytes": "bGV0IGE9MQ=="}),
        (Source("base64", "JVBERi0xLjc=", None), "pdf", {"bytes": "JVBERi0xLjc="}),
        (Source("url", "s3://b/k.pdf", None), "pdf", {"s3Location": {"uri": "s3://b/k.pdf"}}),
    ],
)
def test_kinds_of_documents(source: Source, format_: str, sent: Any) -> None:
    document = user(Text("t", "t"), Document(source, at="a")).messages[0]["content"][1]["document"]
    assert (document["format"], document["source"]) == (format_, sent)


@pytest.mark.parametrize(
    "block",
    [
        Image(Source("file", "file-1", dialect="openai_chat"), "at"),
        Document(Source("file", "file-1", dialect="openai_chat"), at="at"),
    ],
)
def test_what_cannot_be_carried(block: Any) -> None:
    with pytest.raises(Unsupported) as error:
        user(block)
    assert error.value.path == "at"


@pytest.mark.parametrize(
    ("block", "kind", "why"),
    [
        (Image(Source("url", "https://h/x.png"), "at"), "image", "cannot open https://h/x.png"),
        (Document(Source("url", "https://h/x.png"), at="at"), "document", "cannot open https://h/x.png"),
        (Image(Source("base64", "AA==", "image/tiff"), "at"), "image", "takes none of type image/tiff"),
        (Document(Source("base64", "AA==", "application/zip"), at="at"), "document", "takes none of type "
         "application/zip"),
    ],
)  # fmt: skip
def test_what_the_model_cannot_read_is_left_out_and_said(block: Any, kind: str, why: str) -> None:
    """It stays in the history: refusing it would end the conversation."""
    made = user(block, Text("t", "t"))
    left_out = {"text": f"[{kind} omitted: the model {why}]"}
    assert made.messages[0]["content"] == [left_out, {"text": "t"}]
    assert made.losses == ["at:dropped"]


def test_an_image_has_the_type_of_its_bytes() -> None:
    made = user(Image(Source("base64", "/9j/4AAQSkZJRg==", "image/png"), "at"))
    assert made.messages[0]["content"][0]["image"]["format"] == "jpeg" and made.losses == ["at:rewritten"]


TIMES = ["", "1h", "5m"]


@pytest.mark.parametrize("times", [(a, b, c) for a in TIMES for b in TIMES for c in TIMES])
def test_no_longer_time_stands_behind_a_shorter_one(times: tuple[str, str, str]) -> None:
    """In the order in which the model reads: tools, system, messages."""
    tool, system, said = (CacheMarker(time or None) for time in times)
    made = written(
        system=[Message("system", [Text("s", "system[0]", system)], "system")],
        messages=[Message("user", [Text("a", "a", said)], "messages[0]")],
        tools=[Tool("f", schema={}, at="tools[0]", cache=tool)],
    )
    lists = [made.body["toolConfig"]["tools"], made.body["system"], made.messages[0]["content"]]
    points = [block["cachePoint"].get("ttl", "5m") for blocks in lists for block in blocks if "cachePoint" in block]
    assert len(points) == 3 and points == sorted(points), "1h sorts before 5m"
    assert ("cache:downgraded" in made.losses) is (points.count("1h") < times.count("1h"))


def test_tools_have_the_first_of_few_cache_points() -> None:
    texts: list[Any] = [Text(str(n), f"t{n}", CacheMarker()) for n in range(4)]
    tool = Tool("f", schema={}, at="tools[0]", cache=CacheMarker())
    made = written(messages=[Message("user", texts, "messages[0]")], tools=[tool])
    assert "cachePoint" in made.body["toolConfig"]["tools"][-1] and made.losses == ["t3.cache:dropped"]


def test_systems_before_anybody_has_spoken_are_the_prompts() -> None:
    systems = [Message("system", text, f"messages[{n}]") for n, text in enumerate(("a", "b"))]
    made = written(messages=[*systems, *HI, Message("system", "c", "messages[3]"), *HI])
    assert made.body["system"] == [{"text": "a"}, {"text": "b"}]
    assert made.messages[0]["role"] == "user"
    assert made.losses[:2] == ["messages[0]:moved", "messages[1]:moved"]


def test_audio() -> None:
    assert user(Audio("AA==", "wav", "a")).messages[0]["content"] == [
        {"audio": {"format": "wav", "source": {"bytes": "AA=="}}}
    ]


def test_an_image_that_lies_in_another_cloud_is_not_told_as_bytes() -> None:
    image = Image(Source("file", "gs://b/a", "image/png", "gemini"), "x")
    with pytest.raises(Unsupported):
        written(messages=[Message("user", [image])])
