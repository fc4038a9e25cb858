from __future__ import annotations

import json

import pytest
from botocore.eventstream import EventStreamBuffer

from extproc import Translation
from extproc.dialects.base import Upstream

from .helpers import DIALECT, frame

GO = {"role": "user", "content": [{"text": "go"}]}


def history(id_: str) -> bytes:
    call = {"toolUse": {"toolUseId": id_, "name": "f", "input": {}}}
    result = {"toolResult": {"toolUseId": id_, "content": [{"text": id_}]}}
    turns = [GO, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    return json.dumps({"messages": turns}).encode()


def test_bedrock_gets_its_ids_bare() -> None:
    """It bounds their length; the text of a result that looks like one stays."""
    t = Translation("bedrock_converse", "bedrock_converse", now=0)
    body = t.request(history("call_1_gw1_bU0lH"), path="/model/m/converse").body
    turns = json.loads(body)["messages"]
    assert turns[1]["content"][0]["toolUse"]["toolUseId"] == "call_1"
    assert turns[2]["content"][0]["toolResult"] == {"toolUseId": "call_1", "content": [{"text": "call_1_gw1_bU0lH"}]}
    assert [str(loss) for loss in t.losses] == ["messages:rewritten"]


def test_what_needs_no_mending_keeps_its_bytes() -> None:
    t = Translation("bedrock_converse", "bedrock_converse", now=0)
    assert t.request(history("call_1"), path="/model/m/converse").body == history("call_1") and not t.losses


def test_google_gets_its_proof_of_a_call_back() -> None:
    t = Translation("bedrock_converse", "gemini", now=0)
    contents = json.loads(t.request(history("call_1_gw1_bU0lH"), path="/model/m/converse").body)["contents"]
    assert contents[1]["parts"][0]["thoughtSignature"] == "U0lH"


@pytest.mark.parametrize(
    ("path", "model", "stream"),
    [
        ("/model/eu.anthropic.claude-opus-4-8-v1%3A0/converse", "eu.anthropic.claude-opus-4-8-v1:0", False),
        ("/prefix/model/m/converse-stream?x=1", "m", True),
        ("/model/arn%3Aaws%3Abedrock%3Ax%2Fy/converse", "arn:aws:bedrock:x/y", False),
    ],
)
def test_the_path_says_model_and_stream(path: str, model: str, stream: bool) -> None:
    asked = DIALECT.peek(path, {"model": "of the body", "stream": not stream})
    assert (asked.model, asked.stream) == (model, stream)
    upstream = Upstream("bedrock", "/model/{model}")
    assert DIALECT.address(upstream, asked) == ("POST", path.partition("?")[0].removeprefix("/prefix"))


def test_no_body_is_its_own_for_sure() -> None:
    assert not DIALECT.claims({"messages": [], "inferenceConfig": {}})


def test_streams_are_amazons() -> None:
    assert DIALECT.stream_type == "application/vnd.amazon.eventstream"
    assert DIALECT.converses


def test_a_stream_of_its_own_that_is_cut_ends_in_an_exception_that_botocore_can_read() -> None:
    t = Translation(route={"provider": "bedrock", "auth": "none"}, now=0)
    turns = [{"role": "user", "content": [{"text": "hi"}]}]
    t.request(json.dumps({"messages": turns}).encode(), path="/model/m/converse-stream")
    t.response_head(200, [("content-type", "application/vnd.amazon.eventstream")])
    begun = frame("messageStart", {"role": "assistant"})
    buffer = EventStreamBuffer()
    buffer.add_data(t.response_body(begun) + t.response_body(b"", end_of_stream=True))
    start, end = list(buffer)
    assert start.headers[":event-type"] == "messageStart"
    assert end.headers[":exception-type"] == "modelStreamErrorException" and b"ended prematurely" in end.payload
