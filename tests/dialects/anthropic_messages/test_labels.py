"""Thinking of several makers who speak this API, through clients that pass: whose it is goes with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extproc import Call, Translation
from extproc.dialects.anthropic_messages.labels import SignatureLabels
from extproc.llm import marker

Json = Any
SIGNER = "minimax-messages-v1"
LABELLED = marker.sealed(marker.Seal(SIGNER, "9f8e"))
REDACTED = marker.sealed(marker.Seal(SIGNER, encrypted="0011"))
THOUGHT = {"type": "thinking", "thinking": "A greeting.", "signature": "9f8e"}
HIDDEN = {"type": "redacted_thinking", "data": "0011"}
HELLO = {"type": "text", "text": "Hello"}
MINIMAX = {"provider": "openai-compatible", "override": {"endpoint": "https://llm.example/anthropic/v1/messages"}}
ROUTES: dict[str, Json] = {
    "MiniMax-M3": {**MINIMAX, "upstream": "anthropic_messages"},
    "kimi-k3": {**MINIMAX, "upstream": "anthropic_messages"},
    "claude-opus-4-8": {"provider": "anthropic"},
}
HI: Json = {"role": "user", "content": "hi"}


def passing(model: str, *messages: Json, stream: bool = False) -> tuple[Translation, Json, list[str]]:
    t = Translation("anthropic_messages", route={"auth": "none", **ROUTES[model]}, now=0)
    body = {"model": model, "max_tokens": 9, "messages": [*(messages or [HI])], **({"stream": True} if stream else {})}
    made = t.request(json.dumps(body).encode())
    assert isinstance(made, Call) and t.passthrough
    return t, json.loads(made.body), [str(loss) for loss in t.losses]


def whole(model: str, *content: Json) -> list[Json]:
    t, _, _ = passing(model)
    t.response_head(200, [("content-type", "application/json")])
    body = json.dumps({"type": "message", "role": "assistant", "model": model, "content": content}).encode()
    out = t.response_body(body[:20]) + t.response_body(body[20:], end_of_stream=True)
    told: list[Json] = json.loads(out)["content"]
    return told


def event(kind: str, **members: Json) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def streamed(*content: Json, pieces: int = 1) -> bytes:
    out = event("message_start", message={"id": "m", "role": "assistant", "content": []})
    for index, block in enumerate(content):
        seal = block.get("signature", "")
        out += event("content_block_start", index=index, content_block=block | ({"signature": ""} if seal else {}))
        size = -(-len(seal) // pieces) or 1
        for at in range(0, len(seal), size):
            delta = {"type": "signature_delta", "signature": seal[at : at + size]}
            out += event("content_block_delta", index=index, delta=delta)
        out += event("content_block_stop", index=index)
    return out + event("message_delta", delta={"stop_reason": "end_turn"}) + event("message_stop")


def told(wire: bytes, step: int, model: str = "MiniMax-M3") -> bytes:
    t, _, _ = passing(model, stream=True)
    t.response_head(200, [("content-type", "text/event-stream")])
    out = b"".join(t.response_body(wire[at : at + step]) for at in range(0, len(wire), step))
    return out + t.response_body(b"", end_of_stream=True)


def test_a_whole_answer_says_who_signed() -> None:
    assert whole("MiniMax-M3", THOUGHT, HIDDEN, HELLO) == [
        {**THOUGHT, "signature": LABELLED},
        {**HIDDEN, "data": REDACTED},
        HELLO,
    ]
    assert whole("claude-opus-4-8", THOUGHT, HIDDEN, HELLO) == [THOUGHT, HIDDEN, HELLO]


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_stream_says_who_signed_wherever_it_is_cut(pieces: int) -> None:
    wire = streamed(THOUGHT, HIDDEN, {**THOUGHT, "signature": "77"}, HELLO, pieces=pieces)
    outs = {told(wire, step) for step in (1, 7, len(wire))}
    assert len(outs) == 1
    data = [json.loads(line[6:]) for line in outs.pop().splitlines() if line.startswith(b"data: ")]
    joined: dict[int, str] = {}
    for each in data:
        if each.get("delta", {}).get("type") == "signature_delta":
            joined[each["index"]] = joined.get(each["index"], "") + each["delta"]["signature"]
    assert joined == {0: LABELLED, 2: marker.sealed(marker.Seal(SIGNER, "77"))}
    blocks = [each["content_block"] for each in data if each["type"] == "content_block_start"]
    assert blocks[1] == {**HIDDEN, "data": REDACTED}


def test_what_bears_no_signature_keeps_its_bytes() -> None:
    wire = streamed(HELLO) + b": comment\r\n\r\n" + b'data: {"type":  "ping"}\r\n\r\n'
    assert told(wire, 5) == told(wire, len(wire)) == wire
    signed = streamed(THOUGHT)
    assert told(signed, len(signed), "claude-opus-4-8") == signed
    body = b'{"content":  [{"type": "text"}]}'
    assert SignatureLabels(SIGNER, 99).whole(body) == body


@pytest.mark.parametrize("body", [b"signature", b'["signature"]', b'{"signature": 1, "content": {}}'])
def test_what_cannot_be_read_passes(body: bytes) -> None:
    assert SignatureLabels(SIGNER, 99).whole(body) == body
    framed = b"data: " + body + b"\n\n"
    assert SignatureLabels(SIGNER, 99).feed(framed) == framed


def test_an_event_is_kept_within_a_bound() -> None:
    labels = SignatureLabels(SIGNER, 20)
    assert labels.feed(b"data: signature") == b""
    assert labels.feed(b"xxxxxxxxxx") == b"data: signaturexxxxxxxxxx"
    assert (labels.feed(b"data: x"), labels.end(), labels.end()) == (b"", b"data: x", b"")


TURN = {"role": "assistant", "content": [{**THOUGHT, "signature": LABELLED}, {**HIDDEN, "data": REDACTED}, HELLO]}


def test_its_maker_gets_it_back_as_it_was() -> None:
    _, sent, losses = passing("MiniMax-M3", HI, TURN, HI)
    assert sent["messages"][1]["content"] == [THOUGHT, HIDDEN, HELLO] and losses == []


def test_claude_never_sees_it() -> None:
    _, sent, losses = passing("claude-opus-4-8", HI, TURN, HI)
    assert sent["messages"][1]["content"] == [HELLO]
    assert losses == ["messages[1].content[0]:dropped", "messages[1].content[1]:dropped"]


def test_another_maker_gets_the_text_and_no_signature() -> None:
    _, sent, losses = passing("kimi-k3", HI, TURN, HI)
    assert sent["messages"][1]["content"] == [{**THOUGHT, "signature": ""}, HELLO]
    assert losses == ["messages[1].content[1]:dropped"]


UNSIGNED = [
    {"type": "thinking", "thinking": "hm", "signature": ""},
    {"type": "thinking", "thinking": "hm"},
    {"type": "thinking", "thinking": "hm", "signature": None},
]


@pytest.mark.parametrize("block", UNSIGNED)
def test_what_nobody_signed_is_no_thinking_of_claudes(block: Json) -> None:
    own = {"type": "thinking", "thinking": "mine", "signature": "EqQB"}
    turn = {"role": "assistant", "content": [own, block, HELLO]}
    _, sent, losses = passing("claude-opus-4-8", HI, turn, HI)
    assert sent["messages"][1]["content"] == [own, HELLO] and losses == ["messages[1].content[1]:dropped"]
    _, sent, losses = passing("kimi-k3", HI, turn, HI)
    assert sent["messages"][1]["content"] == [own, block, HELLO] and losses == []


def test_a_conversation_that_passes_from_one_to_the_other_and_back() -> None:
    """MiniMax answers, Claude goes on, MiniMax again: each sees its own signatures, to the character."""
    first = {"role": "assistant", "content": whole("MiniMax-M3", THOUGHT, HELLO)}
    claude = {"type": "thinking", "thinking": "Next.", "signature": "EqQB"}
    second = {"role": "assistant", "content": whole("claude-opus-4-8", claude, HELLO)}
    _, sent, _ = passing("claude-opus-4-8", HI, first, HI, second, HI)
    assert [each["content"] for each in sent["messages"][1::2]] == [[HELLO], [claude, HELLO]]
    _, sent, _ = passing("MiniMax-M3", HI, first, HI, second, HI)
    assert sent["messages"][1]["content"] == [THOUGHT, HELLO]
