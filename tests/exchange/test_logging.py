"""What a route has logged of its exchanges, as the sinks are told."""

from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest

from extproc.exchange.machine import Shared
from extproc.exchange.translator import Translator
from extproc.settings import Limits
from extproc.telemetry.outcome import Began, Outcome
from extproc.telemetry.record import record
from extproc.telemetry.sinks import Sinks

from ..support.upstream import chat_chunk, events, message, message_events, text_block
from .conversation import NOW, OPENAI, Conversation, leaf

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
KEYS = {"authorization": "Bearer key-of-the-client", "x-api-key": "another-of-the-client"}
ASKED: dict[str, Any] = {
    "model": "gpt-4", "max_tokens": 9, "tools": [{"name": "look", "input_schema": {"type": "object"}}],
    "metadata": {"user_id": "ann"}, "messages": [{"role": "user", "content": "What is 1+1? key-of-the-client"}],
}  # fmt: skip
CHAT: dict[str, Any] = {
    "id": "x", "object": "chat.completion", "created": 1, "model": "gpt-4-0613",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "1+1 equals 2."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 23, "completion_tokens": 8, "total_tokens": 31},
}  # fmt: skip


class Kept:
    def __init__(self) -> None:
        self.ends: list[tuple[Began, Outcome]] = []

    def started(self, began: Began) -> None: ...

    def first_content(self, began: Began, seconds: float) -> None: ...

    def ended(self, began: Began, outcome: Outcome) -> None:
        self.ends.append((began, outcome))


def logged(
    logging: str, *, path: str = "/v1/messages", records: bool = True, bound: int = 4096, route: str = OPENAI
) -> tuple[Conversation, Kept]:
    kept = Kept()
    shared = Shared(
        now=lambda: NOW, ticks=lambda: NOW, new_id=lambda: "id-1", limits=Limits(), sinks=Sinks([kept]),
        records=records, payload_bytes=bound,
    )  # fmt: skip
    envoy = Conversation(Translator(shared))
    envoy.headers(path, KEYS, attributes=leaf(f"{route[:-1]}, logging: {logging}}}"))
    return envoy, kept


def told(envoy: Conversation, kept: Kept) -> dict[str, Any]:
    envoy.close()
    ((began, outcome),) = kept.ends
    return record(began, outcome)


@pytest.mark.rows("D18", "D19", "D20", "E8")
@pytest.mark.parametrize("stream", [False, True])
def test_a_translated_exchange_on_both_sides(stream: bool) -> None:
    envoy, kept = logged("{summaries: true, payloads: true}")
    envoy.body({**ASKED, "stream": stream})
    envoy.answer(200, SSE if stream else JSON)
    if stream:
        for piece in events(chat_chunk(content="1+1 "), chat_chunk(content="equals 2."), chat_chunk("stop"), done=True):
            envoy.chunk(piece)
        envoy.chunk(b"", end=True)
    else:
        envoy.chunk(msgspec.json.encode(CHAT), end=True)
    made = told(envoy, kept)
    shown = made["payloads"]
    assert shown["client"]["request"]["body"]["messages"][0]["content"] == "What is 1+1? ***"
    assert shown["upstream"]["request"]["body"]["tools"][0]["function"]["name"] == "look"
    assert made["llm_request"]["messages"] == [{"role": "user", "content": "What is 1+1? ***"}]
    assert made["llm_request"]["stream"] is stream
    assert made["llm_response_text"] == {"content": "1+1 equals 2."}
    summary = made["llm_summary"]
    assert (summary["tool_count"], summary["end_user_id"], summary["stream"]) == (1, "ann", stream)
    if stream:
        assert shown["client"]["response"]["text"] == envoy.got.decode()
        assert shown["client"]["response"]["text"].startswith("event: message_start\n")
        assert shown["upstream"]["response"]["text"].endswith("data: [DONE]\n\n")
    else:
        assert shown["client"]["response"]["body"]["content"] == [{"type": "text", "text": "1+1 equals 2."}]
        assert shown["upstream"]["response"]["body"] == CHAT
        assert (summary["prompt_tokens"], summary["completion_tokens"], summary["model"]) == (23, 8, "gpt-4")
    for secret in ("key-of-the-client", "another-of-the-client", "key-of-openai"):
        assert secret not in json.dumps(made)


@pytest.mark.rows("D20")
def test_a_passing_exchange_stands_there_once() -> None:
    route = "{provider: anthropic, auth: {header: {x-api-key: key-of-anthropic}}}"
    envoy, kept = logged("{payloads: true}", route=route)
    envoy.body({**ASKED, "stream": True})
    envoy.answer(200, SSE)
    for piece in events(*message_events(text_block("a", "key-of-anthropic"))):
        envoy.chunk(piece)
    made = told(envoy, kept)
    assert made["payloads"]["upstream"].keys() <= {"response"} and "llm_summary" not in made
    assert made["llm_response_text"] == {"content": "a***"} and "key-of" not in json.dumps(made)


@pytest.mark.rows("D18")
@pytest.mark.parametrize("logging", ["{}", "{summaries: false, payloads: false}", "{redact: [content]}"])
def test_a_route_that_asks_for_nothing(logging: str) -> None:
    envoy, kept = logged(logging)
    envoy.body(ASKED)
    envoy.close()
    assert [outcome.logged for _, outcome in kept.ends] == [False]


@pytest.mark.rows("D19")
def test_summaries_alone_keep_no_body() -> None:
    envoy, kept = logged("{summaries: true}")
    envoy.body(ASKED)
    envoy.answer(200, JSON)
    envoy.chunk(msgspec.json.encode(CHAT), end=True)
    made = told(envoy, kept)
    assert "payloads" not in made and made["llm_summary"]["total_tokens"] == 31
    assert "1+1" not in json.dumps(made)


def test_a_refused_request_and_what_its_client_got() -> None:
    envoy, kept = logged("{payloads: true}")
    envoy.body({**ASKED, "messages": 3})
    made = told(envoy, kept)
    assert made["ending"] == "refused" and made["payloads"]["upstream"] == {}
    assert made["payloads"]["client"]["response"]["body"]["type"] == "error"


def test_an_answer_without_a_body() -> None:
    envoy, kept = logged("{payloads: true}")
    envoy.body(ASKED)
    envoy.answer(500, JSON, end=True)
    made = told(envoy, kept)
    assert made["payloads"]["client"]["response"]["body"]["type"] == "error" and made["status"] == 500


def test_a_compressed_answer_that_passes() -> None:
    envoy, kept = logged("{payloads: true}", path="/v1/chat/completions")
    envoy.body({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    envoy.answer(200, {**JSON, "content-encoding": "br"})
    envoy.chunk(b"\x8b\x00", end=True)
    assert told(envoy, kept)["payloads"]["client"]["response"] == {"bytes": 2, "omitted": "it is compressed"}


def test_a_compressed_answer_that_is_translated() -> None:
    envoy, kept = logged("{payloads: true}")
    envoy.body(ASKED)
    envoy.answer(200, {**JSON, "content-encoding": "gzip"})
    envoy.chunk(gzip.compress(msgspec.json.encode(CHAT)), end=True)
    shown = told(envoy, kept)["payloads"]
    assert shown["upstream"]["response"]["omitted"] == "it is compressed"
    assert shown["client"]["response"]["body"]["content"][0]["text"] == "1+1 equals 2."


def test_members_that_the_route_names_are_left_out() -> None:
    envoy, kept = logged("{payloads: true, redact: [content, text]}")
    envoy.body(ASKED)
    envoy.answer(200, JSON)
    envoy.chunk(msgspec.json.encode(CHAT), end=True)
    made = told(envoy, kept)
    assert "1+1" not in json.dumps(made) and "llm_response_text" not in made
    assert made["payloads"]["upstream"]["response"]["body"]["usage"]["prompt_tokens"] == 23


def test_where_nobody_logs_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    from extproc.exchange import machine

    machine._logged.clear()
    for _ in range(2):
        envoy, kept = logged("{payloads: true}", records=False)
        envoy.body(ASKED)
        envoy.close()
        assert kept.ends[0][1].payloads is None
    assert caplog.text.count("nobody logs them") == 1


def test_a_bound_of_each_body() -> None:
    envoy, kept = logged("{payloads: true}", bound=20)
    envoy.body(ASKED)
    envoy.answer(200, JSON)
    envoy.chunk(msgspec.json.encode(message()), end=True)
    made = told(envoy, kept)
    for side in made["payloads"].values():
        for body in side.values():
            assert body["cut"] is True and len(body["text"]) == 20 < body["bytes"]
