from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from extproc import Refused
from extproc.dialects.anthropic_messages.on_bedrock import body
from extproc.framing.eventstream import EventStreamDecoder, EventStreamMessage

from .clouds import BEDROCK_STREAM, BODY, CHAT, EVENTS, asked, framed, stream_of, translation


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_stream_of_bedrocks(step: int) -> None:
    t = translation("openai_chat", "anthropic_bedrock")
    asked(t, CHAT | {"stream_options": {"include_usage": True}})
    t.response_head(200, BEDROCK_STREAM)
    data = stream_of(*EVENTS)
    out = b"".join(t.response_body(data[i : i + step]) for i in range(0, len(data), step))
    out += t.response_body(b"", end_of_stream=True)
    assert "h\u00e9".encode() in out and out.endswith(b"data: [DONE]\n\n")
    assert (t.usage.input_tokens, t.usage.output_tokens) == (3, 2)


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_cut_stream_of_bedrocks_is_an_error(cut: int) -> None:
    t = translation("openai_chat", "anthropic_bedrock")
    asked(t, CHAT)
    t.response_head(200, BEDROCK_STREAM)
    out = t.response_body(stream_of(*EVENTS[:cut]) if cut < 5 else stream_of(*EVENTS)[:-30][:200], end_of_stream=True)
    assert b'"error"' in out and b"[DONE]" not in out


def test_an_exception_in_a_stream() -> None:
    t = translation("openai_chat", "anthropic_bedrock")
    asked(t, CHAT)
    t.response_head(200, BEDROCK_STREAM)
    data = stream_of(*EVENTS[:3]) + framed("exception", {"message": "slow down"}, "throttlingException")
    out = t.response_body(data, end_of_stream=True)
    assert b"slow down" in out and t.failed is not None and t.failed.kind.value == "rate_limit"


def test_a_client_of_bedrocks_form() -> None:
    """Claude Code's Bedrock mode on an upstream of OpenAI's."""
    t = translation("anthropic_bedrock", "openai_chat")
    path = "/model/gpt-4o/invoke-with-response-stream"
    call = asked(t, {"anthropic_version": "bedrock-2023-05-31", **BODY}, path)
    sent = json.loads(call.body)
    assert (sent["model"], sent["stream"], sent["max_completion_tokens"]) == ("gpt-4o", True, 9)
    t.response_head(200, [("content-type", "text/event-stream")])
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
    out = t.response_body(b"data: %s\n\ndata: [DONE]\n\n" % json.dumps(chunk).encode(), end_of_stream=True)
    assert dict(t.head.headers)["content-type"] == "application/vnd.amazon.eventstream"
    events = []
    for message in EventStreamDecoder().feed(out):
        assert isinstance(message, EventStreamMessage) and message.headers[":event-type"] == "chunk"
        events.append(json.loads(base64.b64decode(json.loads(message.payload)["bytes"])))
    assert [event["type"] for event in events] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip


def test_a_client_of_bedrocks_form_is_told_of_errors_in_it() -> None:
    t = translation("anthropic_bedrock", "openai_chat")
    with pytest.raises(Refused) as refused:
        asked(t, {"messages": []}, "/model/gpt-4o/invoke")
    assert dict(refused.value.headers)["x-amzn-errortype"] == "ValidationException"


@pytest.mark.parametrize(("betas", "more"), [("", {}), ("a,b", {"anthropic_beta": ["a", "b"]})])
def test_model_and_stream_leave_the_body(betas: str, more: Any) -> None:
    members = {"model": "m", "stream": True, "max_tokens": 9}
    assert body(members, betas) == {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, **more}


@pytest.mark.parametrize("chunk", [{"bytes": "no base64!"}, {"bytes": "e30"}])
def test_a_chunk_that_is_no_base64_fails_the_stream(chunk: Any) -> None:
    t = translation("openai_chat", "anthropic_bedrock")
    asked(t, CHAT)
    t.response_head(200, BEDROCK_STREAM)
    out = t.response_body(framed("event", chunk, "chunk"), end_of_stream=True)
    assert b'"error"' in out and b"[DONE]" not in out


def test_what_holds_no_chunk_is_nothing() -> None:
    t = translation("openai_chat", "anthropic_bedrock")
    asked(t, CHAT)
    t.response_head(200, BEDROCK_STREAM)
    data = framed("event", {}, "chunk") + stream_of(*EVENTS) + framed("event", {"x": 1}, "newKind")
    assert t.response_body(data, end_of_stream=True).endswith(b"data: [DONE]\n\n") and t.failed is None
