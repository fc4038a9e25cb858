from __future__ import annotations

import json

import pytest

from extproc.conformance.features import BY_NAME, WEATHER
from extproc.conformance.sides import MODELS, AskedSide, AskingSide, broken_off
from extproc.dialects.base import ClientCall
from extproc.llm.request import Message, Request

ASKS = BY_NAME["tools"].request


@pytest.mark.parametrize("name", MODELS)
def test_a_client_says_what_it_is_told(name: str) -> None:
    call, told = AskingSide(name, "some-model").asks(ASKS)
    assert call.method == "POST" and told.model == "some-model"
    assert [tool.name for tool in told.tools] == ["get_weather"]


@pytest.mark.parametrize("name", MODELS)
def test_what_a_provider_answers_its_client_reads(name: str) -> None:
    client, provider = AskingSide(name, "m"), AskedSide(name)
    call, told = client.asks(ASKS)
    head, pieces = provider.answers(provider.reads(call), BY_NAME["calls"].answer)
    got = client.reads(told, head, b"".join(pieces))
    assert got.failed is None and len(got.blocks) == 2


@pytest.mark.parametrize("name", MODELS)
def test_an_agent_sends_the_answer_back_as_it_came(name: str) -> None:
    client, provider = AskingSide(name, "m"), AskedSide(name)
    request = Request(dialect="", model="", messages=[Message("user", "hi")], tools=[WEATHER])
    call, _ = client.asks(request)
    _, pieces = provider.answers(provider.reads(call), BY_NAME["calls"].answer[:-4] + BY_NAME["calls"].answer[-1:])
    again = client.asks_again(call, request, b"".join(pieces))
    assert isinstance(again, ClientCall)
    told = provider.reads(again)
    assert "Paris" in again.body.decode() and "18 degrees" in again.body.decode()
    assert told.messages[0].content and len(json.loads(again.body)) == len(json.loads(call.body))


def test_half_of_it() -> None:
    assert broken_off([b"a", b"b", b"c"]) == [b"a"] and broken_off([b"a"]) == [b"a"]
