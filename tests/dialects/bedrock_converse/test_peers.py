"""What other gateways assert of Chat and Messages clients on Converse: facts to compare with. Where the API's reference
says something else, or we have decided otherwise, the reason stands beside the case."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from extproc import Call, Refused, Translation

from .helpers import STREAM, Json, frame

CASES = Path(__file__).parents[2] / "cases" / "peers"
CLIENTS = {"chat": "openai_chat", "messages": "anthropic_messages"}
JSON = "application/json"


def cases(kind: str) -> list[Any]:
    """Cases of a *kind*, with the client's API and the number in the file."""
    found = []
    for client in CLIENTS:
        name = f"{client}-converse" if kind == "request" else f"converse-{client}"
        for number, line in enumerate((CASES / f"{name}.jsonl").read_text("utf-8").splitlines()):
            case = json.loads(line)
            if case["kind"] == kind:
                found.append(pytest.param(client, number, case, id=f"{client}-{number}-{case['case'][-40:]}"))
    return found


REFUSED = {
    ("chat", 1): "functions: the older form of tools cannot stand beside tools",
    ("chat", 5): "a message's content is a text or an array of parts",
    ("chat", 6): "a part of no type",
    ("chat", 7): "a part of no type",
    ("chat", 12): "tool_choice is one of three words or an object",
    ("chat", 13): "the tool that must be called is not offered: Bedrock refuses it",
    ("chat", 18): "a thinking part without its text",
    ("chat", 20): "a thinking part without its text",
    ("chat", 25): "a thinking part without its text",
    ("chat", 29): "no messages, which Bedrock refuses",
    ("chat", 31): "theirs refuses as well",
    ("messages", 1): "output_format is an object",
}
CARRIED = {
    ("messages", 15): "theirs refuses an image of another kind; a word in its place keeps the conversation going",
}
JUDGED = {
    ("chat", 2): ("a model that does not think: the effort is dropped", "additionalModelRequestFields"),
    ("chat", 9): ("reserved is no service tier that the Chat API has", "serviceTier"),
    ("chat", 10): ("inputSchema may not be null", "toolConfig"),
    ("chat", 11): ("inputSchema may not be null", "toolConfig"),
    ("chat", 16): ("Bedrock refuses calls in a history without toolConfig", "toolConfig"),
    ("chat", 17): ("a model that does not think", "additionalModelRequestFields"),
    ("chat", 19): ("redactedContent is no member of the part: without data nothing can be sent back", "messages"),
    ("chat", 21): ("a model of which nobody knows that it thinks", "additionalModelRequestFields"),
    ("chat", 22): ("a model of which nobody knows that it thinks", "additionalModelRequestFields"),
    ("chat", 23): ("a model of which nobody knows that it thinks", "additionalModelRequestFields"),
    ("chat", 24): ("a model of which nobody knows that it thinks", "additionalModelRequestFields"),
    ("chat", 26): ("a model of which nobody knows that it thinks", "additionalModelRequestFields"),
    ("chat", 27): ("a model of which nobody knows that it thinks", "additionalModelRequestFields"),
    ("chat", 33): ("only a system message: a user's turn is made, as Bedrock demands one", "messages"),
    ("chat", 36): ("two turns of a user are one: Bedrock wants roles to alternate", "messages"),
    ("chat", 37): ("Bedrock refuses calls in a history without toolConfig", "toolConfig"),
    ("chat", 38): ("only a system message: a user's turn is made, as Bedrock demands one", "messages"),
    ("chat", 39): ("the same, of a model that does not think", "messages", "additionalModelRequestFields"),
    ("messages", 0): ("metadata is Anthropic's own: no model on Converse takes it", "additionalModelRequestFields"),
    ("messages", 3): ("a model that takes no effort", "additionalModelRequestFields"),
    ("messages", 4): ("the conversation begins with a user; the tool has the name it was called by",
                      "messages", "toolConfig"),
    ("messages", 12): ("a model of which nobody knows that it thinks", "additionalModelRequestFields"),
    ("messages", 13): ("the same; a call without its result gets one; calls in a history need toolConfig",
                       "messages", "toolConfig"),
    ("messages", 16): ("a result needs its call", "messages"),
    ("messages", 17): ("two turns of a user are one: Bedrock wants roles to alternate", "messages"),
    ("messages", 20): ("results come first; calls in a history need toolConfig", "messages", "toolConfig"),
    ("messages", 21): ("a model of which nobody knows that it caches; a result needs its call",
                       "messages", "system", "toolConfig"),
    ("messages", 22): ("a model of which nobody knows that it caches", "system"),
}  # fmt: skip
"""Why ours is another, and the members in which it is, all of them."""


def plain(value: Any) -> Any:
    """Without members that say nothing, a schema's text read."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    read = {name: json.loads(member) if name == "schema" and isinstance(member, str) else plain(member)
            for name, member in value.items()}  # fmt: skip
    return {name: member for name, member in read.items() if member is not None}


@pytest.mark.parametrize(("client", "number", "case"), cases("request"))
def test_requests(client: str, number: int, case: Json) -> None:
    expected = case["expected"].get("body", case["expected"])
    t = Translation(CLIENTS[client], "bedrock_converse", route={"provider": "bedrock", "auth": "none"}, now=0)
    try:
        call = t.request(json.dumps(case["input"]).encode())
    except Refused:
        assert (client, number) in REFUSED
        return
    assert isinstance(call, Call) and (client, number) not in REFUSED
    if (client, number) in CARRIED:
        return
    ours, theirs = plain(json.loads(call.body)), plain(json.loads(expected) if isinstance(expected, str) else expected)
    if "max_tokens" not in case["input"] and "max_completion_tokens" not in case["input"]:
        # A limit that nobody asked for cuts answers off.
        theirs["inferenceConfig"].pop("maxTokens", None)
    for body in (ours, theirs):
        if not body.get("inferenceConfig"):
            body.pop("inferenceConfig", None)
    differs = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    assert differs == set(JUDGED.get((client, number), ("",))[1:])


def answered(client: str, body: bytes, content_type: str, *, status: int = 200, stream: bool = False) -> Any:
    """What the client gets: a whole body, or its events."""
    t = Translation(CLIENTS[client], "bedrock_converse", route={"provider": "bedrock", "auth": "none"}, now=0)
    asked: Json = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "stream": stream}
    if stream and client == "chat":
        asked["stream_options"] = {"include_usage": True}
    t.request(json.dumps(asked).encode())
    t.response_head(status, [("content-type", content_type)])
    out = t.response_body(body, end_of_stream=True)
    return events_of(out.decode()) if stream else json.loads(out)


def events_of(text: str) -> list[Json]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


NOT_JSON = {("chat", 12)}
JUDGED_ANSWERS = {
    ("chat", 7): "three texts are one answer: theirs leaves two of them out",
    ("chat", 10): "a client that is to answer calls looks for tool_calls, whatever the stop reason says",
    ("chat", 15): "as 7",
    ("chat", 16): "as 7",
}


@pytest.mark.parametrize(("client", "number", "case"), cases("response"))
def test_answers(client: str, number: int, case: Json) -> None:
    expected, given = case["expected"].get("body", case["expected"]), case["input"]
    expected = json.loads(expected) if isinstance(expected, str) else expected
    if (client, number) in NOT_JSON or "error" in expected:
        text = given.get("text")
        body = json.dumps(given).encode() if text is None else text.encode()
        out = answered(client, body, JSON if text is None else "text/plain", status=200 if text else 429)
        assert (text or given["message"]) in out["error"]["message"]
        return
    out = answered(client, json.dumps(given).encode(), JSON)
    ours, theirs = gist(client, out), gist(client, expected)
    assert (ours != theirs) is ((client, number) in JUDGED_ANSWERS)
    if ours != theirs:
        assert "".join(block["text"] for block in given["output"]["message"]["content"] if "text" in block) == ours[0]
    for name, count in (expected.get("usage") or {}).items():
        if isinstance(count, int) and count:
            assert out["usage"][name] == count


def gist(client: str, answer: Json) -> tuple[Any, ...]:
    """Text, thinking, calls, why it ended."""
    if client == "messages":
        blocks = answer["content"]
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        thought = "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
        calls = [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
        return text, thought, calls, answer["stop_reason"], [block["type"] for block in blocks]
    [choice] = answer["choices"]
    message = choice["message"]
    calls = [(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
             for call in message.get("tool_calls") or []]  # fmt: skip
    return message["content"] or "", message.get("reasoning_content") or "", calls, choice["finish_reason"]


JUDGED_STREAMS = {
    # Every event is a chunk that names its type within, as no stream of Bedrock's does: no event is known.
    ("chat", 11): "ended prematurely",
    # The second call's start does not say which block it starts, which the API demands: not guessed.
    ("chat", 17): "the block's start is missing",
}
"""What our stream ends with, where theirs goes on."""


@pytest.mark.parametrize(("client", "number", "case"), cases("stream"))
def test_streams(client: str, number: int, case: Json) -> None:
    given, expected = case["input"], case["expected"].get("body", case["expected"])
    text = expected if isinstance(expected, str) else expected["text"]
    if "base64" in given:
        data = base64.b64decode(given["base64"])
    else:
        payloads = [json.loads(line) for line in given["text"].splitlines() if line.strip()]
        data = b"".join(frame(named(payload), payload) for payload in payloads)
    ours, theirs = answered(client, data, STREAM, stream=True), events_of(text)
    if (client, number) in JUDGED_STREAMS:
        assert JUDGED_STREAMS[client, number] in ours[-1]["error"]["message"]
        return
    join = of_messages if client == "messages" else of_chunks
    assert join(ours) == join(theirs)


def named(payload: Json) -> str:
    """The event's type, which their provider puts around the payload."""
    names = {"role": "messageStart", "start": "contentBlockStart", "delta": "contentBlockDelta",
             "stopReason": "messageStop", "usage": "metadata"}  # fmt: skip
    return next((event for member, event in names.items() if member in payload), "contentBlockStop")


def of_chunks(chunks: list[Json]) -> tuple[Any, ...]:
    texts = {"content": "", "reasoning_content": ""}
    calls: dict[int, list[str]] = {}
    finish: list[str] = []
    usage = {}
    for chunk in chunks:
        counts = chunk.get("usage") or {}
        usage.update({name: count for name, count in counts.items() if isinstance(count, int)})
        for choice in chunk["choices"]:
            for name in texts:
                texts[name] += choice["delta"].get(name) or ""
            for call in choice["delta"].get("tool_calls") or []:
                parts = [call.get("id"), call["function"].get("name"), call["function"].get("arguments")]
                known = calls.setdefault(call["index"], ["", "", ""])
                calls[call["index"]] = [old + (new or "") for old, new in zip(known, parts, strict=True)]
            finish += [choice["finish_reason"]] if choice.get("finish_reason") else []
    return texts, calls, finish, usage


def of_messages(events: list[Json]) -> tuple[Any, ...]:
    blocks = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    names = [event["content_block"].get("name") for event in events if event["type"] == "content_block_start"]
    deltas = [(event["index"], event["delta"]) for event in events if event["type"] == "content_block_delta"]
    texts: dict[tuple[int, str], str] = {}
    for index, delta in deltas:
        for name in ("text", "thinking", "partial_json"):
            if name in delta:
                texts[index, name] = texts.get((index, name), "") + delta[name]
    [end] = [event for event in events if event["type"] == "message_delta"]
    return blocks, names, texts, end["delta"], end["usage"]["output_tokens"]


@pytest.mark.parametrize(("client", "number", "case"), cases("error"))
def test_errors(client: str, number: int, case: Json) -> None:
    given, text = case["input"], case["input"].get("text")
    body = json.dumps(given).encode() if text is None else text.encode()
    out = answered(client, body, JSON if text is None else "text/plain", status=503)
    assert (text or given["message"]) in out["error"]["message"]
