"""Going through an exchange again: the same bytes, as long as the code is the same."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest

from extproc import dialects
from extproc.captures.again import (
    NotAgain,
    body_of,
    left_out,
    pieces,
    request_again,
    response_again,
    route_of,
    same,
)
from extproc.captures.differences import replayed
from extproc.captures.redaction import redacted
from extproc.telemetry.outcome import Ending
from extproc.telemetry.readable import events
from tests.captures.exchanges import APIS, ASKED, PLAIN, RECORDED, exchange, golden, streamed
from tests.support.exchanges import CHAT, MESSAGES


def again_of(told: dict[str, Any]) -> tuple[bytes, bytes]:
    again = request_again(told, body_of(told, "client", "request") or b"")
    return again.sent, response_again(told, again)


@pytest.mark.parametrize(("client", "upstream"), list(itertools.product(APIS, RECORDED)))
@pytest.mark.parametrize("ending", [Ending.COMPLETE, Ending.CUT])
def test_a_stream_is_the_same_again_on_every_pair(client: str, upstream: str, ending: Ending) -> None:
    data = golden(upstream)
    if ending is Ending.CUT:
        data = data[: len(data) // 2]
        data = data[: data.rfind(b"\n\n") + 2] if upstream != "bedrock_converse" else data
    cut = [data[at : at + 100] for at in range(0, len(data), 100)]
    told = streamed(client, upstream, PLAIN[client], cut, ending=ending)
    sent, got = again_of(told)
    assert same(sent, body_of(told, "upstream", "request") or b"")
    shown = told["payloads"]["client"]["response"]
    assert same(got, body_of(told, "client", "response") or b"")
    # Of a frame that is cut off nothing can be read.
    assert shown["bytes"] == len(got) or (ending is Ending.CUT and client == upstream == "bedrock_converse")


ARRAY = "/v1beta/models/m:streamGenerateContent"
"""Google's path whose stream is one array."""
SAID = b'{\n  "candidates": [{"content": {"role": "model", "parts": [{"text": "%b"}]}%b}]\n}'
ELEMENTS = [b"[" + SAID % (b"a", b""), b"\n,\r\n" + SAID % (b"b", b', "finishReason": "STOP"'), b"\n]"]


@pytest.mark.parametrize("upstream", ["gemini", *RECORDED])
@pytest.mark.parametrize("ending", [Ending.COMPLETE, Ending.CUT])
def test_a_stream_that_is_one_array_is_the_same_again_and_has_its_times(upstream: str, ending: Ending) -> None:
    answer = ELEMENTS if upstream == "gemini" else [golden(upstream)[at : at + 100] for at in range(0, 2000, 100)]
    if ending is Ending.CUT:
        answer = answer[:2]
    kind = "application/json" if upstream == "gemini" else dialects.get(upstream).stream_type
    told = exchange("gemini", upstream, PLAIN["gemini"], answer, path=ARRAY, content_type=kind, ending=ending)
    for data, capture in ((told, "told"), (redacted(told), "redacted")):
        found = dict(replayed(data, redacted=capture == "redacted"))
        assert found == {"the provider's request": [], "the client's answer": []}, capture
    times, shown = told["course"]["times_ms"]["client"], told["payloads"]["client"]["response"]
    if ending is Ending.COMPLETE:
        assert len(times) == len(events(shown["text"])) > 1 and times == sorted(times)
    if upstream == "gemini":
        whole = "json-array" if ending is Ending.COMPLETE else "json-array-open"
        assert times == [10, 20] and shown["framing"] == whole
        assert '"text":"x"' in redacted(told)["payloads"]["client"]["response"]["text"]


def test_an_error_is_the_same_again() -> None:
    told = exchange(MESSAGES, CHAT, ASKED, [b'{"error": {"message": "slow down", "type": "x"}}'], status=429)
    sent, got = again_of(told)
    assert b"rate_limit_error" in got and same(got, body_of(told, "client", "response") or b"")
    assert same(sent, body_of(told, "upstream", "request") or b"")


def test_what_the_route_says_is_done_again_and_no_secret_is_needed() -> None:
    route = {
        "options": {"model": "gpt-5.4-mini", "temperature": 0.5},
        "override": {"endpoint": "https://somewhere/v1"},
        "policies": [{"prompt_decorator": {"prepend": [{"role": "system", "content": "Be kind."}]}}],
    }
    told = exchange(MESSAGES, CHAT, {**ASKED, "model": "other"}, route=route)
    told["course"]["route"]["auth"] = {"header": {"authorization": "***"}}
    told["course"]["route"]["override"]["endpoint"] = "${WHERE}"
    again = request_again(told, body_of(told, "client", "request") or b"")
    assert again.asked and same(again.sent, body_of(told, "upstream", "request") or b"")
    assert b"Be kind." in again.sent and b'"temperature":0.5' in again.sent and not left_out(told)


def test_a_policy_that_asks_somebody_is_left_out_and_said() -> None:
    told = exchange(MESSAGES, CHAT, ASKED)
    told["course"]["route"]["policies"] = [{"moderation": {"url": "http://x"}}, "nothing"]
    assert left_out(told) == ["moderation", "nothing"] and not route_of(told).policies


def test_a_request_that_is_refused_asks_nobody() -> None:
    again = request_again(exchange(MESSAGES, CHAT, ASKED), b'{"model": "m"}')
    assert not again.asked and b"error" in again.sent


def test_bodies_that_are_not_there_are_said_not_guessed() -> None:
    told = exchange(MESSAGES, CHAT, ASKED)
    assert body_of(told, "upstream", "response") in (None, b"")
    for shown, why in (
        ({"bytes": 5, "omitted": "it is compressed"}, "compressed"),
        ({"bytes": 5, "cut": True, "text": "a"}, "records-payload-bytes"),
    ):
        other = copy.deepcopy(told)
        other["payloads"]["client"]["request"] = shown
        with pytest.raises(NotAgain, match=why):
            body_of(other, "client", "request")
    with pytest.raises(NotAgain, match="logging"):
        body_of({}, "client", "request")
    with pytest.raises(NotAgain, match="logging"):
        request_again({}, b"")
    unknown = copy.deepcopy(told)
    unknown["client"] = "nobodys"
    with pytest.raises(NotAgain):
        request_again(unknown, b"{}")


def test_how_bodies_are_compared() -> None:
    assert same(b'{"a": 1}', b'{"a":1}') and not same(b'{"a": 1}', b'{"a": 2}') and not same(b"a", b"b")
    assert pieces(b'{"a":1}') == ["{", ' "a": 1', "}"] and pieces(b"data: 1\n\ndata: 2\n\n") == ["data: 1", "data: 2"]
    assert pieces(b"{no json") == ["{no json"]
