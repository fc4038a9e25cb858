"""Where exchanges differ, as lines."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from extproc.captures.again import NotAgain
from extproc.captures.differences import between, lines, replayed
from tests.captures.exchanges import ASKED, exchange
from tests.support.exchanges import CHAT, MESSAGES

ANSWER = {"id": "c1", "choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "model": "m"}


def answered() -> dict[str, Any]:
    return exchange(MESSAGES, CHAT, {**ASKED, "stream": False}, [msgspec.json.encode(ANSWER)])


def differing(told: dict[str, Any]) -> dict[str, list[str]]:
    return {what: differs for what, differs in replayed(told, redacted=False) if differs}


def test_the_same_code_gives_no_difference() -> None:
    assert differing(answered()) == {}


def test_other_code_gives_one_of_the_request_and_one_of_the_answer() -> None:
    told = answered()
    told["payloads"]["upstream"]["request"]["body"]["max_completion_tokens"] = 1
    told["payloads"]["client"]["response"]["body"]["stop_reason"] = "made_up"
    found = differing(told)
    assert '- "max_completion_tokens": 1' in found["the provider's request"]
    assert '+ "max_completion_tokens": 1024' in found["the provider's request"]
    assert any("made_up" in line for line in found["the client's answer"])


def test_whether_a_provider_is_asked_may_differ() -> None:
    told = answered()
    told["payloads"]["client"]["request"]["body"] = {"model": "m"}
    (found,) = differing(told).values()
    assert found[0] == "it was asked then, and is not now"
    refused = exchange(MESSAGES, CHAT, ASKED)
    refused["upstream"] = ""
    refused["payloads"]["client"]["response"] = {"bytes": 2, "body": {}}
    (found,) = differing(refused).values()
    assert found[0] == "it was not asked then, and is now"


def test_a_refusal_is_compared_too() -> None:
    told = answered()
    told["upstream"] = ""
    told["payloads"]["client"]["request"]["body"] = {"model": "m"}
    told["payloads"]["client"]["response"] = {"bytes": 2, "body": {}}
    assert list(differing(told)) == ["the client's answer"]


def test_two_exchanges() -> None:
    one, other = answered(), answered()
    assert [what for what, differs in between(one, other) if differs] == []
    other["status"], other["id"], other["duration_ms"] = 500, "2-2", 9
    other["payloads"]["client"]["request"]["body"]["top_k"] = 41
    found = {what: differs for what, differs in between(one, other) if differs}
    assert found["what is known"] == ["status: 0 -> 500"]
    assert '+ "top_k": 41,' in found["the client's request"]
    bare = copy.deepcopy(one)
    del bare["payloads"]
    told = dict(between(one, bare))
    assert "cannot be compared" in told["the client's request"][0]


def test_a_stream_is_compared_event_by_event() -> None:
    found = lines(b"data: 1\n\ndata: 2\n\n", b"data: 1\n\ndata: 3\n\n")
    assert found == ["@@ -1,2 +1,2 @@", " data: 1", "-data: 2", "+data: 3"]


def test_without_bodies_nothing_is_compared() -> None:
    told = answered()
    del told["payloads"]
    with pytest.raises(NotAgain, match="logging"):
        differing(told)
