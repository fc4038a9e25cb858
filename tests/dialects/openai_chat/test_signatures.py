"""Google's thought signatures on tool calls: there with the answer, back with the next request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Translation
from extproc.dialects.openai_chat.signatures import STAND_IN, signed, take_signature
from tests.support.upstream import chat_chunk, events

Json = dict[str, Any]
TOOLS = [{"name": "f", "input_schema": {"type": "object"}}]
ASKED: Json = {"model": "gemini-3-pro", "max_tokens": 99, "tools": TOOLS, "stream": True}
GO: Json = {"role": "user", "content": "go"}


def part(id_: str, signature: str | None = None, index: int | None = None) -> Json:
    out: Json = {"id": id_, "type": "function", "function": {"name": "f", "arguments": "{}"}, **signed(signature)}
    return out if index is None else {"index": index, **out}


BEHIND = {"index": 0, "extra_content": {"google": {"thought_signature": "U0lH"}}}
ANSWERS: dict[str, tuple[list[list[Json]], list[str | None]]] = {
    "on the call": ([[part("a", "U0lH")]], ["U0lH"]),
    "on the first of two": ([[part("a", "U0lH"), part("b")]], ["U0lH", None]),
    "on the second, alone": ([[part("a")], [part("b", "U0lH")]], [STAND_IN, "U0lH"]),
    "in a delta of its own": ([[part("a", index=0)], [BEHIND]], ["U0lH"]),
    "behind the first of two": ([[part("a", index=0)], [BEHIND], [part("b", index=1)]], ["U0lH", None]),
    "on none": ([[part("a")]], [STAND_IN]),
    "no base64": ([[part("a", "ä b")]], ["ä b"]),
}


def translation(provider: str = "gemini") -> Translation:
    return Translation("anthropic_messages", "openai_chat", route={"provider": provider, "auth": "none"}, now=0)


def asked(provider: str, *messages: Json, model: str = "gemini-3-pro") -> Any:
    body = json.dumps({**ASKED, "model": model, "messages": [GO, *messages]}).encode()
    return json.loads(translation(provider).request(body).body)["messages"]


def kept_by_a_client(out: bytes) -> list[Json]:
    """The calls in a stream of the Messages API, as a client keeps them: id, name and input."""
    told = [json.loads(line[6:]) for line in out.split(b"\n") if line.startswith(b"data: ")]
    blocks = [event["content_block"] for event in told if event["type"] == "content_block_start"]
    return [{name: block[name] for name in ("type", "id", "name", "input")} for block in blocks]


def conversation(calls: list[Json]) -> list[Json]:
    results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "ok"} for call in calls]
    return [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]


def signature_of(call: Json) -> str | None:
    return take_signature(dict(call))


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("step", [1, None])
def test_a_signature_comes_back_with_its_call(name: str, step: int | None) -> None:
    deltas, expected = ANSWERS[name]
    chunks = [chat_chunk(tool_calls=delta) for delta in deltas]
    wire = b"".join(events(*chunks, chat_chunk("stop"), done=True))
    t = translation()
    t.request(json.dumps({**ASKED, "messages": [GO]}).encode())
    t.response_head(200, [("content-type", "text/event-stream")])
    step = step or len(wire)
    out = b"".join(t.response_body(wire[i : i + step]) for i in range(0, len(wire), step))
    calls = kept_by_a_client(out + t.response_body(b"", end_of_stream=True))
    sent = asked("gemini", *conversation(calls))[1]["tool_calls"]
    assert [signature_of(call) for call in sent] == expected
    assert [call["id"] for call in sent] == ["a", "b"][: len(expected)]


CALL = {"type": "tool_use", "id": "fc1_gw1_bU0lH", "name": "f", "input": {}}


@pytest.mark.parametrize(
    ("provider", "model", "id_", "expected"),
    [
        ("gemini", "gemini-3-pro", "fc1", STAND_IN),
        ("vertex-ai", "google/gemini-3.1-pro-preview", "fc1", STAND_IN),
        ("gemini", "gemini-2.5-flash", "fc1", None),
        ("gemini", "gemini-2.5-flash", CALL["id"], "U0lH"),
        ("openai", "gpt-4o", "fc1", None),
        ("openai", "gpt-4o", CALL["id"], None),
        ("openrouter", "google/gemini-3-pro", CALL["id"], None),
    ],
)
def test_who_gets_which(provider: str, model: str, id_: str, expected: str | None) -> None:
    conf = {"provider_conf": {"project_id": "p", "region": "r"}} if provider == "vertex-ai" else {}
    t = Translation("anthropic_messages", "openai_chat", route={"provider": provider, "auth": "none", **conf}, now=0)
    messages = [GO, *conversation([{**CALL, "id": id_}])]
    body = json.loads(t.request(json.dumps({**ASKED, "model": model, "messages": messages}).encode()).body)
    [call] = body["messages"][1]["tool_calls"]
    assert (signature_of(call), call["id"]) == (expected, "fc1")
    lost = [str(loss) for loss in t.losses if "signature" in loss.path]
    assert lost == (["messages[1].content[0].signature:dropped"] if id_ != "fc1" and not expected else [])


def test_what_else_google_says_of_a_call_stays() -> None:
    call: Json = {"extra_content": {"google": {"thought_signature": "S", "x": 1}, "y": 2}}
    assert take_signature(call) == "S"
    assert call == {"extra_content": {"google": {"x": 1}, "y": 2}}
    for other in (None, {}, {"extra_content": None}, {"extra_content": {"google": {"thought_signature": ""}}}):
        assert take_signature(other) is None


def test_an_upstream_that_bounds_its_ids_gets_them_bare() -> None:
    call = {"id": "call_1_gw1_bU0lH", "type": "function", "function": {"name": "f", "arguments": "a_gw1_bU0lH"}}
    result = {"role": "tool", "tool_call_id": "call_1_gw1_bU0lH", "content": '"id":"x_gw1_bU0lH"'}
    body = {"model": "gpt-4o", "messages": [GO, {"role": "assistant", "tool_calls": [call]}, result]}
    t = Translation("openai_chat", route={"provider": "openai", "auth": "none"}, now=0)
    sent = json.loads(t.request(json.dumps(body).encode()).body)["messages"]
    assert sent[1:] == [
        {"role": "assistant", "tool_calls": [{**call, "id": "call_1"}]},
        {**result, "tool_call_id": "call_1"},
    ]
    assert [str(loss) for loss in t.losses] == ["messages:rewritten"]
