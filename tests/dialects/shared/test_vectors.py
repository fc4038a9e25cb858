from __future__ import annotations

from typing import Any

import msgspec
import pytest

from extproc import dialects
from extproc.dialects.base import ResponseHead, UpstreamCall
from extproc.dialects.shared.vectors import item, items, members, value
from extproc.llm import events as e
from extproc.llm.failures import ProtocolError
from extproc.llm.losses import LossReport
from extproc.llm.request import Request
from extproc.settings import Limits


def test_members_stay_as_their_bytes() -> None:
    found = members(b'{"a": [1.50, 2e3], "b": {"c" : 1}}', "body")
    assert [bytes(each) for each in items(found, "a", "a")] == [b"1.50", b"2e3"]
    assert bytes(item(found, "b", "b")) == b'{"c" : 1}' and value(found, "b") == {"c": 1}
    assert value(found, "x") is None


@pytest.mark.parametrize(
    ("read", "path"),
    [
        (lambda: members(b"[]", "body"), "body"),
        (lambda: members(b"\xff", "body"), "body"),
        (lambda: items(members(b"{}", ""), "a", "data"), "data"),
        (lambda: items(members(b'{"a": {}}', ""), "a", "data"), "data"),
        (lambda: item({}, "a", "data[0].a"), "data[0].a"),
    ],
)
def test_what_is_not_there_is_told_by_its_place(read: Any, path: str) -> None:
    with pytest.raises(ProtocolError) as error:
        read()
    assert error.value.path == path


def test_a_deep_value_is_none() -> None:
    assert value({"a": msgspec.Raw(b"[" * 100_000 + b"]" * 100_000)}, "a") is None


def parsed(body: bytes, status: int = 200, step: int = 5) -> list[Any]:
    call = UpstreamCall("POST", "", [], {}, Request(dialect="openai_embeddings", model="m", messages=[]))
    head = ResponseHead(status, [("content-type", "application/json")])
    parser = dialects.get("openai_embeddings").response_parser(call, head, Limits(), LossReport())
    return [event for at in range(0, len(body), step) for event in parser.feed(body[at : at + step])] + parser.end()


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_of_an_answer_model_and_usage_are_told(step: int) -> None:
    body = b'{"data": [{"index": 0, "embedding": [0.1]}], "model": "m-1", "usage": {"prompt_tokens": 4}}'
    started, ended = parsed(body, step=step)
    assert (started.model, started.usage.input_tokens, ended.stop) == ("m-1", 4, e.StopReason.END)


def test_an_error_is_not_taken_for_an_answer() -> None:
    (failed,) = parsed(b'{"error": {"message": "no"}}', status=400)
    assert isinstance(failed, e.ResponseFailed) and failed.message == "no"
