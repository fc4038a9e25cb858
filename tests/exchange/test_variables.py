"""The access log by the names that APISIX's users know (E9)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.exchange.router import Router
from extproc.exchange.translator import Translator
from extproc.exchange.variables import Times, told, told_of_others
from extproc.route import RouteError, compile_route
from extproc.route.model import VARIABLES
from extproc.translation.translation import Translation

from ..support.upstream import chat_chunk, events, message_events, text_block
from .conversation import ANTHROPIC, NOW, OPENAI, Conversation, leaf, shared

JSON = {"content-type": "application/json"}
SSE = {"content-type": "text/event-stream"}
ALL = "metadata: {variables: all}"
HI = [{"role": "user", "content": "hi"}]
LINE = (
    '{apisix_upstream_response_time} "{request_type}" "{llm_time_to_first_token}" "{llm_model}" "{request_llm_model}" '
    '"{llm_prompt_tokens}" "{llm_completion_tokens}"'
)
CHAT: dict[str, Any] = {
    "id": "x", "object": "chat.completion", "created": 1, "model": "gpt-4-0613",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "2"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 23, "completion_tokens": 8, "total_tokens": 31},
}  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> float:
        return self.at


def line(envoy: Conversation) -> str:
    """What a log's format makes of the dynamic metadata, where every number is a whole one."""
    assert all(value == int(value) for value in envoy.metadata.values() if isinstance(value, float))
    return LINE.format_map({k: int(v) if isinstance(v, float) else v for k, v in envoy.metadata.items()})


def asked(
    clock: Clock, route: str = OPENAI, metadata: str = ALL, path: str = "/v1/chat/completions", **members: Any
) -> Conversation:
    """A conversation whose request was sent, 100 ms after it came."""
    envoy = Conversation(Translator(shared(now=clock)))
    envoy.headers(path, attributes=leaf(f"{route[:-1]}, {metadata}}}" if metadata else route))
    clock.at += 0.1
    envoy.body({"model": "gpt-4", "max_tokens": 9, "messages": HI, **members})
    return envoy


@pytest.mark.rows("E9", "A12")
def test_the_sample_line_of_a_whole_answer() -> None:
    clock = Clock()
    envoy = asked(clock)
    assert line(envoy) == '0 "ai_chat" "0" "gpt-4" "gpt-4" "0" "0"', "so it stays if no answer comes"
    clock.at += 2.858
    envoy.answer(200, JSON)
    clock.at += 5.765 - 2.858
    envoy.chunk(msgspec.json.encode(CHAT), end=True)
    assert line(envoy) == '5765 "ai_chat" "2858" "gpt-4" "gpt-4" "23" "8"'
    assert envoy.metadata["llm_total_tokens"] == 31


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
@pytest.mark.rows("E9", "A12")
def test_a_stream_has_its_first_content(path: str) -> None:
    clock = Clock()
    route = "{provider: anthropic, auth: none, options: {model: claude-haiku-4-5}}"
    envoy = asked(clock, route, path=path, stream=True)
    clock.at += 0.2
    envoy.answer(200, SSE)
    for chunk in events(*message_events(text_block("a", "b"))):
        clock.at += 0.1
        envoy.chunk(chunk)
        if b'"a"' in chunk:
            first = round((clock.at - NOW - 0.1) * 1000)
            assert envoy.metadata["llm_time_to_first_token"] == first
            assert (envoy.metadata["llm_prompt_tokens"], envoy.metadata["apisix_upstream_response_time"]) == (11, 0)
    envoy.chunk(b"", end=True)
    last = envoy.metadata["apisix_upstream_response_time"]
    assert line(envoy) == f'{last:.0f} "ai_stream" "{first}" "claude-haiku-4-5" "gpt-4" "11" "5"' and last > first


@pytest.mark.rows("E9")
def test_a_failure_has_no_first_token() -> None:
    clock = Clock()
    envoy = asked(clock, stream=True)
    clock.at += 0.5
    envoy.answer(429, JSON)
    envoy.chunk(b'{"error": {"message": "slow down", "type": "rate_limit_error"}}', end=True)
    assert line(envoy) == '500 "ai_stream" "0" "gpt-4" "gpt-4" "0" "0"'


def test_counts_that_are_unknown_are_nought() -> None:
    envoy = asked(Clock(), stream=True)
    envoy.answer(200, SSE)
    for chunk in events(chat_chunk(content="a"), chat_chunk("stop"), done=True):
        envoy.chunk(chunk)
    envoy.chunk(b"", end=True)
    assert {envoy.metadata[name] for name in VARIABLES if name.endswith("_tokens")} == {0}


TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.mark.parametrize("route", [OPENAI, ANTHROPIC], ids=["passed", "translated"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_request_offers_and_what_the_answer_calls(route: str, stream: bool) -> None:
    envoy = asked(Clock(), route, tools=[TOOL, {"type": "custom", "custom": {"name": "x"}}], user="ann", stream=stream)
    names = ("llm_stream", "llm_tool_count", "llm_end_user_id", "llm_has_tool_calls")
    assert [envoy.metadata[name] for name in names] == ["true" if stream else "false", 2, "ann", "false"]
    if route is OPENAI:
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        chunks = events(chat_chunk(tool_calls=[call]), chat_chunk("tool_calls"), done=True)
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        whole = {**CHAT, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    else:
        use = {"type": "tool_use", "id": "c", "name": "look", "input": {}}
        chunks = events(*message_events([use], stop="tool_use"))
        whole = {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [use],
                 "stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
    envoy.answer(200, SSE if stream else JSON)
    for chunk in chunks if stream else [msgspec.json.encode(whole)]:
        envoy.chunk(chunk)
    envoy.chunk(b"", end=True)
    assert envoy.metadata["llm_has_tool_calls"] == "true", envoy.metadata


@pytest.mark.rows("E9")
@pytest.mark.parametrize("path", ["/index.html", "/form"])
def test_what_is_no_llm_apis(path: str) -> None:
    envoy = Conversation(Router(shared()))
    envoy.headers(path, JSON, attributes=leaf(f"{{{ALL}}}"), end=path != "/form")
    if path == "/form":
        envoy.body({"name": "x"})
    assert line(envoy) == '0 "traditional_http" "0" "" "" "0" "0"'


@pytest.mark.parametrize("role", [Translator, Router])
def test_a_route_that_does_not_ask_has_none(role: type[Translator]) -> None:
    envoy = asked(Clock(), ANTHROPIC, "") if role is Translator else Conversation(Router(shared()))
    if role is Router:
        envoy.headers("/index.html", attributes=leaf("{other_paths: pass}"), end=True)
    assert not set(VARIABLES) & set(envoy.metadata)


def test_only_those_that_the_route_lists() -> None:
    envoy = asked(Clock(), metadata="metadata: {variables: [llm_model, request_type]}")
    envoy.answer(200, JSON)
    envoy.chunk(msgspec.json.encode(CHAT), end=True)
    assert set(VARIABLES) & set(envoy.metadata) == {"llm_model", "request_type"}


def test_every_name_that_may_be_listed_is_known() -> None:
    translation = Translation("openai_chat", route=compile_route([OPENAI]))
    assert tuple(told(VARIABLES, translation, Times())) == tuple(told_of_others(VARIABLES)) == VARIABLES


@pytest.mark.parametrize("wrong", ["[llm_modell]", "some", "{llm_model: true}"])
def test_a_name_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(RouteError, match=r"route: metadata\.variables"):
        compile_route([f"{OPENAI[:-1]}, metadata: {{variables: {wrong}}}}}"])
