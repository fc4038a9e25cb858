"""What other gateways assert of Chat clients on Gemini: facts to compare with. Where the API's reference says something
else, or we have decided otherwise, the reason stands beside the case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extproc import Call, Refused, Translation

from .helpers import JSON, SSE, Json, translation

CASES = Path(__file__).parents[2] / "cases" / "peers"
CHAT = "openai_chat"


def cases(name: str, *kinds: str) -> list[Any]:
    lines = (CASES / f"{name}.jsonl").read_text("utf-8").splitlines()
    found = [(number, json.loads(line)) for number, line in enumerate(lines)]
    return [pytest.param(n, case, id=f"{n}-{case['case'][-40:]}") for n, case in found if case["kind"] in kinds]


JUDGED_REQUESTS = {
    0: "n: a client gets one answer; more than one is refused, never one in silence",
    13: "safetySettings stand beside; the schema keeps its name",
    15: "guided_choice is vLLM's: dropped, and reported",
    16: "guided_regex is vLLM's: dropped, and reported",
    17: "enterprise_search is no tool of the Chat API, and the only one: refused",
    18: "no messages: refused",
    19: "only a system message: a user's turn is made, as the API demands one",
}
SAME = {"parametersJsonSchema": "parameters", "responseJsonSchema": "responseSchema"}
SKIPPED_MEMBERS = {"thinkingConfig"}
"""How many tokens an effort is worth is everyone's own choice."""


def plain(value: Any) -> Any:
    """What two gateways can be compared by: without ids and signatures, a function's schema under one name."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    out: Json = {}
    for name, member in value.items():
        if name in SKIPPED_MEMBERS or name in ("id", "thoughtSignature") or member in (None, {}, []):
            continue
        out[SAME.get(str(name), str(name))] = _text_of(member) if name == "response" else plain(member)
    return {name: member for name, member in out.items() if member != {}}


def _text_of(response: Json) -> Any:
    """A result, which one gateway puts as a text under ``content`` and the API's reference has as an object."""
    text = response.get("content", response.get("output"))
    try:
        return json.loads(text) if isinstance(text, str) else response
    except ValueError:
        return text


@pytest.mark.parametrize(("number", "case"), cases("chat-gemini", "request"))
def test_requests(number: int, case: Json) -> None:
    expected = case["expected"].get("body", case["expected"])
    body = case["input"]
    t = translation(CHAT)
    try:
        call = t.request(json.dumps(body).encode())
    except Refused:
        assert number in JUDGED_REQUESTS
        return
    assert isinstance(call, Call)
    ours, theirs = plain(json.loads(call.body)), plain(expected)
    if "contents" not in theirs:
        assert number in JUDGED_REQUESTS and ours["contents"] == [{"role": "user", "parts": [{"text": "."}]}]
        return
    same = ours["contents"] == theirs["contents"] and ours.get("systemInstruction") == theirs.get("systemInstruction")
    assert same, number
    config, other = ours.get("generationConfig", {}), theirs.get("generationConfig", {})
    forms = ("responseSchema", "responseMimeType", "mediaResolution")
    if number not in JUDGED_REQUESTS:
        assert {k: v for k, v in config.items() if k not in forms} == {k: v for k, v in other.items() if k not in forms}
        assert config.get("responseMimeType") == other.get("responseMimeType")
    assert [_names(group) for group in ours.get("tools", [])] == [_names(group) for group in theirs.get("tools") or []]
    assert ours.get("toolConfig") == theirs.get("toolConfig")


def _names(group: Json) -> list[str]:
    return [each["name"] for each in group.get("functionDeclarations", [])]


@pytest.mark.parametrize(("number", "case"), cases("gemini-chat", "response"))
def test_answers(number: int, case: Json) -> None:
    expected = case["expected"].get("body", case["expected"])
    body = case["input"]
    out = answered(json.dumps(body).encode(), JSON, case.get("status", 200))
    if "candidates" not in body and "promptFeedback" not in body:
        assert out["error"]["message"]  # an answer without a candidate is none
        return
    # One answer was asked for: of two candidates the second is left out.
    [choice], theirs = out["choices"], expected["choices"][0]
    assert choice["finish_reason"] == theirs["finish_reason"]
    assert (choice["message"]["content"] or "") == (theirs["message"].get("content") or "")
    assert choice["message"].get("reasoning_content") == theirs["message"].get("reasoning_content")
    calls = [call["function"] for call in choice["message"].get("tool_calls", [])]
    other = [call["function"] for call in theirs["message"].get("tool_calls", [])]
    assert [(c["name"], json.loads(c["arguments"])) for c in calls] == [
        (c["name"], json.loads(c["arguments"])) for c in other
    ]
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert out["usage"][name] == expected["usage"][name]


@pytest.mark.parametrize(("number", "case"), cases("gemini-chat", "stream"))
def test_streams(number: int, case: Json) -> None:
    given, expected = case["input"], case["expected"].get("body", case["expected"])
    wire = given["text"] if "text" in given else json.dumps(given)
    messages = [line.removeprefix("data: ") for line in wire.splitlines() if line.strip()]
    data = "".join(f"data: {message}\n\n" for message in messages).encode()
    t = Translation(CHAT, "gemini", route={"provider": "gemini", "auth": "none"}, now=0)
    asked = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    t.request(json.dumps(asked | {"stream_options": {"include_usage": True}}).encode())
    t.response_head(200, [("content-type", SSE)])
    out = t.response_body(data) + t.response_body(b"", end_of_stream=True)
    ours, theirs = _deltas(out.decode()), _deltas(expected["text"])
    for name in ("content", "reasoning_content"):
        assert _joined(ours, name) == _joined(theirs, name)
    # Where they end a stream in which nothing said so, ours says that it was cut off.
    assert ("error" in ours[-1]) is ("finishReason" not in wire)


def _deltas(text: str) -> list[Json]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def _joined(chunks: list[Json], name: str) -> str:
    return "".join(choice.get("delta", {}).get(name) or "" for chunk in chunks for choice in chunk.get("choices") or [])


@pytest.mark.parametrize(("number", "case"), cases("gemini-chat", "error"))
def test_errors(number: int, case: Json) -> None:
    given = case["input"]
    text = given.get("text")
    status = int(case["expected"]["error"]["code"])
    body = text.encode() if text is not None else json.dumps(given).encode()
    out = answered(body, "text/plain" if text is not None else JSON, status)
    message = given["error"]["message"] if text is None else text.partition("{")[0]
    assert message in out["error"]["message"]


def answered(body: bytes, content_type: str, status: int) -> Any:
    t = translation(CHAT)
    t.request(json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]}).encode())
    t.response_head(status, [("content-type", content_type)])
    return json.loads(t.response_body(body, end_of_stream=True))
