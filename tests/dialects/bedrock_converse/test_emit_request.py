from __future__ import annotations

import json
from typing import Any

import pytest

from extproc.llm.failures import Unsupported
from extproc.llm.request import (
    Audio,
    CacheMarker,
    Document,
    Image,
    Member,
    Message,
    Output,
    Reasoning,
    Sampling,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

from .helpers import CLAUDE, HI, NOVA, written

F = Tool("f", description="", schema={"properties": {}}, at="tools[0]")
PNG = Source("base64", "iVBORw0KGgo=", "image/png")


def user(*blocks: Any) -> Any:
    return written(messages=[Message("user", list(blocks), "messages[0]")])


def test_the_model_and_the_stream_are_the_paths() -> None:
    whole, streamed = written(), written(stream=True)
    assert (whole.call.method, whole.call.path) == ("POST", "/model/eu.anthropic.claude-opus-4-8-v1%3A0/converse")
    assert streamed.call.path.endswith("/converse-stream")
    assert whole.body == {"messages": [{"role": "user", "content": [{"text": "hi"}]}]} == streamed.body


def test_the_plain_members() -> None:
    made = written(
        NOVA,
        system=[Message("system", "s", "messages[0]")],
        sampling=Sampling(9, 1.5, 0.5, None, ["x", " "]),
        service_tier="flex",
        extra={"metadata": Member({"a": "b", "c": 1}, "metadata")},
    )
    assert made.body == {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "system": [{"text": "s"}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 1, "topP": 0.5, "stopSequences": ["x"]},
        "serviceTier": {"type": "flex"},
        "requestMetadata": {"a": "b"},
    }
    assert made.losses == ["temperature:clamped", "stop[1]:dropped", "metadata:dropped"]


@pytest.mark.parametrize(
    ("model", "reasoning", "more", "config", "losses"),
    [
        (CLAUDE, Reasoning(effort="low"), {"thinking": {"type": "adaptive", "display": "summarized"}}, "low", []),
        (NOVA, Reasoning(effort="low"), None, None, ["reasoning:dropped"]),
        ("anthropic.claude-3-7-sonnet-20250219-v1:0", Reasoning("off"), None, None, []),
    ],
)
def test_how_much_to_think(model: str, reasoning: Reasoning, more: Any, config: Any, losses: list[str]) -> None:
    made = written(model, reasoning=reasoning)
    assert (made.more, made.body.get("outputConfig", {}).get("effort")) == (more, config)
    assert made.losses == losses


def test_a_schema_goes_as_text() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    made = written(output=Output("json_schema", schema, "n"))
    wanted = made.body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert json.loads(wanted["schema"]) == schema and wanted["name"] == "n"


def test_a_json_object_is_asked_for_in_words() -> None:
    made = written(output=Output("json_object"))
    assert made.body["system"][0]["text"].startswith("Respond with one valid JSON object")
    assert made.losses == ["output:emulated"] and made.call.undo.fences


def test_another_instruction_asks_for_no_json() -> None:
    call = ToolCall("c", "f", "{}", at="messages[1]")
    said = [*HI, Message("assistant", [call]), Message("tool", [ToolResult("c", "r")])]
    made = written(tools=[F], tool_choice=ToolChoice("none"), messages=said)
    assert made.body["system"] == [{"text": "Do not call any tool."}] and not made.call.undo.fences


@pytest.mark.parametrize(
    ("choice", "sent", "more", "losses"),
    [
        (ToolChoice(), None, None, []),
        (ToolChoice("auto"), {"auto": {}}, None, []),
        (ToolChoice("required"), {"any": {}}, None, []),
        (ToolChoice("tool", ["f"]), {"tool": {"name": "f"}}, None, []),
        (
            ToolChoice("auto", [], False),
            {"auto": {}},
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            [],
        ),
    ],
)
def test_tools_and_the_choice(choice: ToolChoice, sent: Any, more: Any, losses: list[str]) -> None:
    made = written(tools=[F], tool_choice=choice)
    spec = {"name": "f", "inputSchema": {"json": {"properties": {}, "type": "object"}}}
    assert made.body["toolConfig"]["tools"] == [{"toolSpec": spec}]
    assert made.body["toolConfig"].get("toolChoice") == sent
    assert (made.more, made.losses) == (more, losses)


def test_one_call_at_a_time_is_claudes_alone() -> None:
    made = written(NOVA, tools=[F], tool_choice=ToolChoice("auto", [], False))
    assert made.more is None and made.losses == ["parallel:dropped"]


CALLED = [
    *HI,
    Message("assistant", [ToolCall("c:1", "f", "{}", at="messages[1].tool_calls[0]")], "messages[1]"),
    Message("tool", [ToolResult("c:1", "", at="messages[2]")], "messages[2]"),
]


def test_no_tool_shall_be_called() -> None:
    assert "toolConfig" not in written(tools=[F], tool_choice=ToolChoice("none")).body
    made = written(messages=CALLED, tools=[F], tool_choice=ToolChoice("none"))
    assert made.body["toolConfig"]["tools"] and made.body["system"] == [{"text": "Do not call any tool."}]
    assert made.losses == ["tool_choice:emulated"]


def test_a_history_of_calls_needs_its_tools() -> None:
    made = written(messages=CALLED)
    assert made.body["toolConfig"]["tools"][0]["toolSpec"]["name"] == "f"
    assert made.losses == ["tools:synthesized"]
    assert made.messages[1:] == [
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c:1", "name": "f", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "c:1", "content": [{"text": "(empty)"}]}}]},
    ]


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


def test_only_claude_takes_what_is_claudes() -> None:
    wish: dict[str, Any] = {"sampling": Sampling(top_k=3, seed=1), "betas": ["b"]}
    claude = written("anthropic.claude-sonnet-4-5-20250929-v1:0", **wish)
    assert claude.more == {"top_k": 3, "anthropic_beta": ["b"]} and claude.losses == ["seed:dropped"]
    assert written(NOVA, **wish).losses == ["top_k:dropped", "seed:dropped", "betas:dropped"]
    # A profile's name does not say what it is: the route may.
    profile = written(
        "arn:aws:bedrock:eu-west-1:1:application-inference-profile/x", quirks={"thinking": "budget"}, **wish
    )
    assert profile.more == {"top_k": 3, "anthropic_beta": ["b"]}
