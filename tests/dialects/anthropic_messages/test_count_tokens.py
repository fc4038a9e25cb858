from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc.dialects.anthropic_messages.count_tokens import estimate
from extproc.dialects.base import ClientCall
from extproc.llm.failures import ProtocolError

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 40_000}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 40_000}}
NOTE = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a" * 40}}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def count(content: Any, **members: Any) -> int:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **members}
    return estimate(ClientCall("POST", "/v1/messages/count_tokens", [], msgspec.json.encode(body)))


@pytest.mark.parametrize(
    ("content", "members", "tokens"),
    [
        ("a" * 8, {}, 2 + 4),
        ("a" * 9, {}, 3 + 4),
        ("é" * 8, {}, 4 + 4),
        ("a" * 8, {"system": "b" * 8}, 4 + 4),
        ([{"type": "text", "text": "a" * 8}, IMAGE, IMAGE], {}, 2 + 4 + 3200),
        ([PDF], {}, 4 + 1600),
        ([NOTE], {}, 10 + 4),
        ("a" * 8, {"tools": [TOOL]}, -(-(8 + len(msgspec.json.encode(TOOL))) // 4) + 4),
    ],
)
def test_what_counts(content: Any, members: dict[str, Any], tokens: int) -> None:
    assert count(content, **members) == tokens


def test_each_message_and_tool_results_count() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "a" * 12}]}
    turns = [{"role": "user", "content": "aaaa"}, {"role": "assistant", "content": [call]}]
    assert count("", messages=[*turns, {"role": "user", "content": [result]}]) == -(-(4 + 1 + 7 + 12) // 4) + 12


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"model":"m"}', b'{"messages":[{"role":"user","content":"x"}]}',
             b'{"model":"m","messages":3}', b'{"model":"m","messages":[{"role":"user","content":[{"type":3}]}]}']
)  # fmt: skip
def test_a_malformed_request_is_the_clients_fault(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        estimate(ClientCall("POST", "/v1/messages/count_tokens", [], body))
