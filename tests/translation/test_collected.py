"""By those who collect an answer to write it anew: counts of tokens, and vectors."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from extproc import Call, Translation

EMBED = {"provider": "cohere", "auth": "none"}
VECTORS = b'{"embeddings": {"float": [[0.5]]}, "meta": {"billed_units": {"input_tokens": 2}}}'
COUNT = {"provider": "gemini", "upstream": "gemini", "auth": "none"}
ASKED: list[Any] = [
    pytest.param(EMBED, "/v1/embeddings", {"model": "embed-v4.0", "input": "a"}, VECTORS, id="vectors"),
    pytest.param(
        COUNT,
        "/v1/messages/count_tokens",
        {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        b'{"totalTokens": 7}',
        id="count",
    ),
]


def asked(route: dict[str, Any], path: str, body: dict[str, Any]) -> Translation:
    t = Translation(route=route, now=0)
    assert isinstance(t.request(json.dumps(body).encode(), path=path), Call)
    return t


@pytest.mark.parametrize(("route", "path", "body", "answer"), ASKED)
@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("packed", [False, True])
def test_however_it_comes_it_is_made_at_the_end(
    route: dict[str, Any], path: str, body: dict[str, Any], answer: bytes, step: int, packed: bool
) -> None:
    t = asked(route, path, body)
    data = gzip.compress(answer) if packed else answer
    t.response_head(200, [("content-type", "application/json"), *([("content-encoding", "gzip")] if packed else [])])
    before = [t.response_body(data[at : at + step]) for at in range(0, len(data), step)]
    out = json.loads(t.response_body(b"", end_of_stream=True))
    assert not any(before) and t.head.status == 200 and t.failed is None
    assert out.get("input_tokens", 7) == 7 and len(out.get("data", [1])) == 1
    assert "content-encoding" not in dict(t.head.headers)


@pytest.mark.parametrize(("route", "path", "body", "answer"), ASKED)
@pytest.mark.parametrize("wrong", [b"no gzip", b"\x1f\x8b\x08"])
def test_what_cannot_be_inflated_is_an_error_in_the_clients_shape(
    route: dict[str, Any], path: str, body: dict[str, Any], answer: bytes, wrong: bytes
) -> None:
    t = asked(route, path, body)
    t.response_head(200, [("content-type", "application/json"), ("content-encoding", "gzip")])
    out = t.response_body(wrong) + t.response_body(b"", end_of_stream=True)
    assert t.head.status == 502 and "error" in json.loads(out) and t.failed is not None


@pytest.mark.parametrize(("route", "path", "body", "answer"), ASKED)
def test_no_more_is_kept_than_an_answer_can_be(
    route: dict[str, Any], path: str, body: dict[str, Any], answer: bytes
) -> None:
    t = asked(route, path, body)
    t.response_head(200, [("content-type", "application/json")])
    for _ in range(70):
        assert t.response_body(b" " * (1 << 20)) == b""
    assert "error" in json.loads(t.response_body(answer, end_of_stream=True)) and t.head.status == 502
