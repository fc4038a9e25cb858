"""A record: one line of JSON for an exchange."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from extproc.credentials.masking import mask_of
from extproc.llm.events import Usage
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.payloads import Payloads
from extproc.telemetry.record import line, record, stamp, told

BEGAN = Began("translator", 1_800_000_000.25, "id-1", "POST", "/v1/messages", "anthropic_messages")
OUTCOME = Outcome(
    "translator", Ending.COMPLETE, 1, "anthropic_messages", "openai_chat", "openai", "chat", "", "gpt-4", "gpt-4",
    "gpt-4-0613", tools=2, tool_calls=1, end_user="ann", status=200, finish="end", usage=Usage(23, 8, 5),
    losses=("top_k:dropped",), seconds=3.0, first_token_seconds=2.858, upstream_seconds=2.8581, summary=True,
)  # fmt: skip


@pytest.mark.rows("D18", "D19", "E8")
def test_a_summary_has_apisixs_members() -> None:
    made = record(BEGAN, OUTCOME)
    assert made["llm_summary"] == {
        "request_model": "gpt-4", "model": "gpt-4", "duration": 2858, "prompt_tokens": 23, "completion_tokens": 8,
        "total_tokens": 31, "upstream_response_time": 2858, "stream": False, "tool_count": 2, "has_tool_calls": True,
        "end_user_id": "ann", "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0, "reasoning_tokens": 0,
    }  # fmt: skip
    assert (made["time"], made["request_id"], made["path"]) == ("2027-01-15T08:00:00.250Z", "id-1", "/v1/messages")
    assert made["usage"] == {"input_tokens": 23, "output_tokens": 8, "cache_read_tokens": 5}
    assert (made["duration_ms"], made["first_token_ms"], made["losses"]) == (3000, None, ["top_k:dropped"])
    assert "client" in made and "llm_request" not in made
    priced = record(BEGAN, msgspec.structs.replace(OUTCOME, cost_usd=0.00012))
    assert (made["cost_usd"], priced["cost_usd"]) == (None, 0.00012)


@pytest.mark.rows("E8", "D20")
def test_payloads_stand_beside_it() -> None:
    payloads = Payloads(1000, mask_of)
    payloads.asked(b'{"messages": [{"role": "user", "content": "What is 1+1?"}]}')
    payloads.text("1+1 equals 2.")
    outcome = msgspec.structs.replace(OUTCOME, summary=False, payloads=payloads, stream_asked=True)
    assert outcome.logged and not Outcome("router", Ending.PASSED).logged
    made = record(BEGAN, outcome)
    assert made["llm_request"] == {"messages": [{"role": "user", "content": "What is 1+1?"}], "stream": True}
    assert made["llm_response_text"] == {"content": "1+1 equals 2."} and "llm_summary" not in made
    assert (made["client"], made["upstream"]) == ("anthropic_messages", "openai_chat"), "whose APIs they were"
    assert made["payloads"]["client"]["request"]["bytes"] == 59


def test_a_line_is_one_line() -> None:
    payloads = Payloads(1000, mask_of)
    payloads.got(b"data: a\n\n\xe2\x80\xa8data: b\r\n")
    (text, rest) = line(BEGAN, msgspec.structs.replace(OUTCOME, payloads=payloads)).split(b"\n")
    assert rest == b"" and msgspec.json.decode(text)["finish"] == "end"


def test_of_what_never_began_little_is_known() -> None:
    made = record(Began("translator", 0.0), Outcome("translator", Ending.CANCELLED))
    assert made["time"] == stamp(0.0) == "1970-01-01T00:00:00.000Z" and made["usage"] == {}


def test_the_processs_own_log_has_what_is_known_and_nothing_that_it_held() -> None:
    payloads = Payloads(1000, mask_of)
    payloads.asked(b'{"messages": [{"role": "user", "content": "What is 1+1?"}]}')
    made = msgspec.json.decode(told(BEGAN, replace(OUTCOME, payloads=payloads, attempt=0)))
    assert made["request_id"] == "id-1" and made["losses"] == ["top_k:dropped"] and made["attempt"] == 0
    assert not {"stream", "error", "denied_by", "first_token_ms", "llm_summary", "payloads", "llm_request"} & set(made)
