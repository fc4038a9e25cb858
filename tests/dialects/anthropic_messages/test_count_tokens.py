from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.dialects.anthropic_messages.count_tokens import estimate
from extproc.dialects.base import ClientCall
from extproc.dialects.shared.estimate import MESSAGE_TOKENS
from extproc.llm.failures import ProtocolError

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 40_000}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 40_000}}
NOTE = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "eight words are here and no others, yes"},
}
FIVE = "five words and no more"
TOOL = {"name": "function", "input_schema": {"type": "object"}}
ONE = 2 * MESSAGE_TOKENS


def count(content: Any, **members: Any) -> int:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **members}
    return estimate(ClientCall("POST", "/v1/messages/count_tokens", [], msgspec.json.encode(body)))


@pytest.mark.parametrize(
    ("content", "members", "tokens"),
    [
        (FIVE, {}, 5 + ONE),
        (FIVE, {"system": FIVE}, 10 + ONE + MESSAGE_TOKENS),
        ([{"type": "text", "text": FIVE}, IMAGE, IMAGE], {}, 5 + ONE + 3200),
        ([PDF], {}, ONE + 1600),
        ([NOTE], {}, 9 + ONE),
        (FIVE, {"tools": [TOOL]}, 5 + ONE + 10),
    ],
)
def test_what_counts(content: Any, members: dict[str, Any], tokens: int) -> None:
    assert abs(count(content, **members) - tokens) <= 1


def test_each_message_and_tool_results_count() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "function", "input": {"city": 1}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": FIVE}]}
    turns = [{"role": "user", "content": FIVE}, {"role": "assistant", "content": [call]}]
    told = count("", messages=[*turns, {"role": "user", "content": [result]}])
    assert abs(told - (5 + 7 + 5 + 4 * MESSAGE_TOKENS)) <= 1


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"model":"m"}', b'{"messages":[{"role":"user","content":"x"}]}',
             b'{"model":"m","messages":3}', b'{"model":"m","messages":[{"role":"user","content":[{"type":3}]}]}']
)  # fmt: skip
def test_a_malformed_request_is_the_clients_fault(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        estimate(ClientCall("POST", "/v1/messages/count_tokens", [], body))
