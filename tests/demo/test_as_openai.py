from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from extproc.demo import as_openai
from extproc.demo.provider import Received, ScriptedProvider

from .asking import CHAT_TOOL, WEATHER, said
from .asking import provider as provider


@pytest.mark.parametrize("stream", [False, True])
def test_openai_calls_a_tool_that_reads_and_no_other(provider: ScriptedProvider, stream: bool) -> None:
    provider.respond = as_openai.answer
    for name, called in (("get_weather", True), ("delete_everything", False)):
        tool = {"type": "function", "function": {"name": name}}
        asked = {"model": "m", "messages": [{"role": "user", "content": WEATHER}], "tools": [tool]}
        assert ('"finish_reason":"tool_calls"' in said(provider, asked, stream)) is called


def answered(**members: Any) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": WEATHER}]} | members
    return as_openai.answer(Received("POST", "/v1/chat/completions", (), json.dumps(body).encode()))


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("tools", [[], [CHAT_TOOL]])
def test_its_answers_are_the_sdks(tools: list[Any], usage: bool) -> None:
    ChatCompletion.model_validate_json(b"".join(answered(tools=tools).chunks))
    options = {"stream_options": {"include_usage": True}} if usage else {}
    *chunks, done = answered(tools=tools, stream=True, **options).chunks
    read = [ChatCompletionChunk.model_validate_json(chunk.removeprefix(b"data: ")) for chunk in chunks]
    assert done == b"data: [DONE]\n\n" and (read[-1].usage is not None) is usage


def test_results_are_told() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    turns = [
        {"role": "user", "content": WEATHER},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "rain"}]},
    ]
    assert b"Your tools say: rain." in b"".join(answered(messages=turns, tools=[CHAT_TOOL]).chunks)


def test_a_request_that_it_cannot_read_is_refused() -> None:
    assert as_openai.answer(Received("POST", "/v1/chat/completions", (), b"[]")).status == 400
