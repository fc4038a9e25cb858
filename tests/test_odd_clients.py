"""What clients really send, beside what the documents say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Refused, Translation
from tests.support.exchanges import ASKED, CHAT, JSON, MESSAGES, asked, chat_answer, sent, whole
from tests.support.upstream import message

# ---- requests of Anthropic's clients


def result(**members: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "toolu_1", **members}


HISTORY = [
    {"role": "user", "content": "go"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]},
]


def test_results_come_directly_after_their_calls_whatever_stands_beside_them() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    turn = {"role": "user", "content": [{"type": "text", "text": "first"}, result(content="done"), image]}
    sent_ = sent(MESSAGES, CHAT, messages=[*HISTORY, turn])["messages"]
    assert [m["role"] for m in sent_] == ["user", "assistant", "tool", "user"]
    assert sent_[1]["tool_calls"][0]["function"]["arguments"] == "{}" and sent_[2]["content"] == "done"
    assert [part["type"] for part in sent_[3]["content"]] == ["text", "image_url"]


@pytest.mark.parametrize(
    ("members", "content"),
    [({}, ""), ({"content": []}, ""),
     ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb")],
)  # fmt: skip
def test_contents_of_results(members: dict[str, Any], content: str) -> None:
    messages = sent(MESSAGES, CHAT, messages=[*HISTORY, {"role": "user", "content": [result(**members)]}])["messages"]
    assert len(messages) == 3 and messages[2]["role"] == "tool"
    text = messages[2]["content"]
    assert (text if isinstance(text, str) else "".join(part["text"] for part in text)) == content


def test_a_failed_result_says_so_to_the_model() -> None:
    turns = [{"role": "user", "content": [result(content="boom", is_error=flag)]} for flag in (True, False)]
    failed, good = (sent(MESSAGES, CHAT, messages=[*HISTORY, turn])["messages"][2]["content"] for turn in turns)
    assert "boom" in failed and failed != good == "boom"


def test_zero_is_a_value() -> None:
    body = sent(MESSAGES, CHAT, temperature=0, top_p=0)
    assert (body["temperature"], body["top_p"], body["max_completion_tokens"]) == (0, 0, 99)
    assert "max_tokens" not in body


@pytest.mark.parametrize("tools", [[], [{"type": "web_fetch_20250910", "name": "web_fetch"}]])
def test_no_choice_is_sent_among_no_tools(tools: list[Any]) -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    try:
        body = sent(MESSAGES, CHAT, tools=tools, tool_choice=choice)
    except Refused as refused:
        assert refused.status == 400 and tools
    else:
        assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)


def test_a_long_name_is_shortened_everywhere_and_restored_in_the_answer() -> None:
    name = "mcp__" + "x" * 70
    tool = {"name": name, "input_schema": {"type": "object"}}
    call_ = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    turns = [{"role": "assistant", "content": [call_]}, {"role": "user", "content": [result(content="x")]}]
    history = [HISTORY[0], *turns]
    t, body = asked(MESSAGES, CHAT, tools=[tool], tool_choice={"type": "tool", "name": name}, messages=history)
    short = body["tools"][0]["function"]["name"]
    assert len(short) <= 64 and body["tool_choice"]["function"]["name"] == short
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == short
    t.response_head(200, JSON)
    call = {"type": "function", "id": "c", "function": {"name": short, "arguments": "{}"}}
    answer = json.loads(t.response_body(json.dumps(chat_answer(content=None, tool_calls=[call])).encode(), True))
    assert answer["content"][0]["name"] == name


@pytest.mark.parametrize("source", [True, "x", {}, {"type": "base64"}, {"type": "url", "url": 5}])
def test_an_image_that_is_none_is_refused_with_its_path(source: Any) -> None:
    with pytest.raises(Refused) as refused:
        sent(MESSAGES, CHAT, messages=[{"role": "user", "content": [{"type": "image", "source": source}]}])
    error = json.loads(refused.value.body)
    assert refused.value.status == 400 and error["error"]["message"].startswith("messages.0.content.0")


@pytest.mark.parametrize("messages", [[], None, {}, "x", [{"content": "x"}], [{"role": "user"}], [5]])
def test_messages_that_are_none_are_refused(messages: Any) -> None:
    with pytest.raises(Refused) as refused:
        sent(MESSAGES, CHAT, messages=messages)
    assert refused.value.status == 400 and "messages" in json.loads(refused.value.body)["error"]["message"]


def test_a_document_reaches_the_model_or_is_refused() -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "the text"}}
    assert "the text" in json.dumps(sent(MESSAGES, CHAT, messages=[{"role": "user", "content": [document]}]))


def test_cache_markers_and_foreign_members_do_not_reach_openai() -> None:
    system = [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]
    t, body = asked(MESSAGES, CHAT, system=system, top_k=5, context_management={}, metadata={"user_id": "u" * 300})
    text = json.dumps(body)
    assert "cache_control" not in text and "top_k" not in text and "context_management" not in text
    assert body["messages"][0] == {"role": "system", "content": "be brief"}
    assert len(body.get("safety_identifier") or body.get("user") or "") <= 64
    assert {"top_k:dropped"} <= set(map(str, t.losses))


# ---- requests of OpenAI's clients


def test_parallel_calls_are_forbidden_without_a_choice_too() -> None:
    body = sent(CHAT, MESSAGES, parallel_tool_calls=False)
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize("stop", ["x", ["x"], None])
def test_stop_as_text_or_list(stop: Any) -> None:
    assert sent(CHAT, MESSAGES, stop=stop).get("stop_sequences") == (["x"] if stop else None)


def test_a_temperature_beyond_anthropics_is_clamped_and_said() -> None:
    t, body = asked(CHAT, MESSAGES, model="claude-sonnet-4-5", temperature=1.7)
    assert body["temperature"] == 1 and "temperature:clamped" in set(map(str, t.losses))


def test_images_and_pdfs_by_data_url() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
    ]
    content = sent(CHAT, MESSAGES, messages=[{"role": "user", "content": parts}])["messages"][0]["content"]
    assert [(block["type"], block["source"]["media_type"]) for block in content] == [
        ("image", "image/png"),
        ("document", "application/pdf"),
    ]


def test_signed_thinking_comes_back_as_it_was_signed() -> None:
    """A reasoning turn of Claude's, told to an OpenAI client, which sends it back with the result of its call."""
    blocks: list[dict[str, Any]] = [{"type": "thinking", "thinking": "hm", "signature": "c2lnbmVk"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}]  # fmt: skip
    _, answer = whole(CHAT, MESSAGES, message(*blocks, stop="tool_use"), model="claude-sonnet-4-5")
    said = answer["choices"][0]["message"]
    history = [HISTORY[0], said, {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "x"}]
    body = sent(CHAT, MESSAGES, model="claude-sonnet-4-5", reasoning_effort="high", messages=history)
    assert body["messages"][1]["content"] == blocks


def test_thinking_of_another_provider_never_reaches_anthropic_signed() -> None:
    turn = {"role": "assistant", "content": "so", "reasoning_content": "hm"}
    body = sent(CHAT, MESSAGES, model="claude-sonnet-4-5", messages=[HISTORY[0], turn, HISTORY[0]])
    assert "signature" not in json.dumps(body)


# ---- the same API on both sides


def test_numbers_escapes_and_empty_things_survive_a_changed_member() -> None:
    raw = (
        b'{"model":"m","messages":[{"role":"user","content":"\\u00e9\\ud83d\\ude00"}],'
        b'"a":12345678901234567890,"b":1.0,"c":[],"d":null,"e":{}}'
    )
    t = Translation(CHAT, route={"provider": "openai", "auth": "none", "options": {"model": "other"}}, now=0)
    assert t.request(raw).body == raw.replace(b'"m"', b'"other"')


def test_a_client_that_wants_no_usage_keeps_its_stream_options() -> None:
    raw = json.dumps({**ASKED, "stream": True, "stream_options": {"include_usage": False}}).encode()
    t = Translation(CHAT, route={"provider": "openai", "auth": "none"}, now=0)
    assert t.request(raw).body == raw


@pytest.mark.rows("F14")
@pytest.mark.parametrize("model", ["my-base/sql-lora@v2", "qwen3:8b", "/models/llama 3", "\u6771\u4eac"])
def test_a_local_models_name_goes_on_as_it_is(model: str) -> None:
    t = Translation(MESSAGES, route={"provider": "openai-compatible"}, now=0)
    assert json.loads(t.request(json.dumps({**ASKED, "model": model}).encode()).body)["model"] == model
    assert (t.model_asked, t.model_sent) == (model, model)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b'{"messages":' * 5000])
@pytest.mark.parametrize("client", [CHAT, MESSAGES])
@pytest.mark.parametrize("upstream", [CHAT, MESSAGES])
def test_a_body_that_is_no_request_is_refused(client: str, upstream: str, raw: bytes) -> None:
    provider = {CHAT: "openai", MESSAGES: "anthropic"}[upstream]
    t = Translation(client, route={"provider": provider, "auth": "none"}, now=0)
    if raw == b"{}" and client == upstream:
        # What is missing, the upstream says: it is its own API.
        assert t.request(raw).body == raw
        return
    with pytest.raises(Refused) as refused:
        t.request(raw)
    error = json.loads(refused.value.body)["error"]
    assert (refused.value.status, error["type"]) == (400, "invalid_request_error") and len(error["message"]) < 1000


def test_the_case_of_a_members_name_counts() -> None:
    with pytest.raises(Refused, match="model"):
        Translation(CHAT, MESSAGES).request(b'{"Model": "m", "messages": [{"role": "user", "content": "x"}]}')


@pytest.mark.parametrize("field", ["cache_control", "citations"])
def test_an_anthropic_client_of_anthropic_keeps_every_marker(field: str) -> None:
    block = {"type": "text", "text": "x", field: {"type": "ephemeral", "ttl": "1h"}}
    raw = json.dumps({**ASKED, "system": [block], "messages": [{"role": "user", "content": [block]}]}).encode()
    assert Translation(MESSAGES, MESSAGES).request(raw).body == raw


def test_cache_markers_of_an_openai_client_reach_anthropic() -> None:
    """As OpenRouter's clients write them."""
    marker = {"type": "ephemeral"}
    parts = [{"type": "text", "text": "long", "cache_control": marker}]
    body = sent(CHAT, MESSAGES, messages=[{"role": "system", "content": parts}, {"role": "user", "content": parts}])
    assert body["system"] == [{"type": "text", "text": "long", "cache_control": marker}]
    assert body["messages"][0]["content"] == [{"type": "text", "text": "long", "cache_control": marker}]


def test_results_of_parallel_calls_stand_in_one_turn() -> None:
    made = [{"id": f"call_{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in range(3)]
    results = [{"role": "tool", "tool_call_id": f"call_{n}", "content": str(n)} for n in (2, 0, 1)]
    messages = [HISTORY[0], {"role": "assistant", "content": "", "tool_calls": made}, *results, HISTORY[0]]
    turns = sent(CHAT, MESSAGES, messages=messages)["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert [block["type"] for block in turns[1]["content"]] == ["tool_use"] * 3
    found = [(block["tool_use_id"], block.get("content")) for block in turns[2]["content"][:3]]
    assert {id_ for id_, _ in found} == {"call_0", "call_1", "call_2"}
    assert all(str(content).count(id_[-1]) for id_, content in found)
    assert turns[2]["content"][3] == {"type": "text", "text": "go"}


def test_empty_turns_reach_no_upstream() -> None:
    messages = [HISTORY[0], {"role": "assistant", "content": ""}, HISTORY[0], {"role": "assistant", "content": []}]
    turns = sent(CHAT, MESSAGES, messages=[*messages[:3], HISTORY[0]])["messages"]
    assert all(turn["content"] for turn in turns) and turns[-1]["role"] == "user"


# ---- media that only one cloud can open, and files that are none


@pytest.mark.parametrize("upstream", ["anthropic_messages", "openai_chat", "openai_responses", "gemini"])
def test_what_lies_in_a_bucket_of_another_cloud_is_left_out_and_said(upstream: str) -> None:
    image = {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k.png"}}}}
    file = {"document": {"format": "pdf", "name": "k", "source": {"s3Location": {"uri": "s3://b/k.pdf"}}}}
    body = {"messages": [{"role": "user", "content": [{"text": "see"}, image, file]}]}
    t = Translation("bedrock_converse", upstream, now=0)
    said = t.request(json.dumps(body).encode(), path="/model/gpt-5.1/converse").body.decode()
    for kind, suffix in (("image", "png"), ("document", "pdf")):
        assert f"[{kind} omitted: the model cannot open s3://b/k.{suffix}]" in said
    assert {"messages[0].content[1]:dropped", "messages[0].content[2]:dropped"} <= set(map(str, t.losses))


@pytest.mark.parametrize("upstream", ["openai_chat", "openai_responses", "bedrock_converse"])
def test_a_film_is_no_file(upstream: str) -> None:
    film = {"inlineData": {"mimeType": "video/mp4", "data": "AAAA/w=="}}
    body = {"contents": [{"role": "user", "parts": [film, {"text": "what is it?"}]}]}
    t = Translation("gemini", upstream, now=0)
    said = t.request(json.dumps(body).encode(), path="/v1beta/models/gpt-5.1:generateContent").body.decode()
    assert "[document omitted: the model takes none of type video/mp4]" in said and "AAAA" not in said
    assert "contents[0].parts[0]:dropped" in map(str, t.losses)


@pytest.mark.parametrize("upstream", ["openai_chat", "openai_responses", "gemini", "bedrock_converse"])
@pytest.mark.parametrize("file", [("a.json", "data:application/json;base64,eyJhIjoxfQ=="), ("a.py", "eyJhIjoxfQ==")])
def test_a_file_of_text_is_told_as_text_in_every_api(upstream: str, file: tuple[str, str]) -> None:
    client = "openai_chat" if upstream != "openai_chat" else "openai_responses"
    name, data = file
    if client == "openai_chat":
        part = {"type": "file", "file": {"filename": name, "file_data": data}}
        body = {"model": "gpt-5.1", "messages": [{"role": "user", "content": [{"type": "text", "text": "t"}, part]}]}
    else:
        part = {"type": "input_file", "filename": name, "file_data": data}
        body = {"model": "gpt-5.1", "input": [{"role": "user", "content": [part]}]}
    said = Translation(client, upstream, now=0).request(json.dumps(body).encode()).body.decode()
    assert "application/pdf" not in said
    assert '"format":"txt"' in said if upstream == "bedrock_converse" else '{\\"a\\":1}' in said
