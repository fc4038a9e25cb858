"""What peers' tests assert of the same requests and answers, held against ours.

Facts to compare with, not truths: each case names the places where ours says something else, and why.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from extproc import Answer, Refused, Translation
from extproc.dialects.base import ResponseHead
from extproc.llm.fold import folded

from .properties.pipeline import gist, parse

Json = Any
FOLDER = Path(__file__).parent / "cases" / "peers"
FILES = ("responses", "hosted", "counts", "tokenize", "rerank", "passed")
CASES = [json.loads(line) for name in FILES for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()]
EVENT_STREAM = "application/vnd.amazon.eventstream"
WORDS = ("text", "thinking", "calls", "counts", "failed")
"""What a client can tell apart of an answer."""


def differing(theirs: Json, ours: Json, at: str = "") -> set[str]:
    """The places where the two are not the same; text, and parts of one text, are alike."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = theirs.keys() | ours.keys()
        return {
            path for name in names for path in differing(theirs.get(name), ours.get(name), f"{at}.{name}".strip("."))
        }
    theirs, ours = _plain(theirs, ours), _plain(ours, theirs)
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = enumerate(zip(theirs, ours, strict=True))
        return {path for i, (one, other) in pairs for path in differing(one, other, f"{at}[{i}]")}
    return set() if theirs == ours else {at}


def _plain(value: Json, other: Json) -> Json:
    """The text of a list that is one part of text, where the *other* is a text."""
    if isinstance(value, str) and isinstance(other, str) and value[:1] == "{" == other[:1]:
        return json.loads(value)  # a schema, or arguments, as text
    parts = isinstance(value, list) and isinstance(other, str) and [*map(sorted, value)] == [["text", "type"]]
    return value[0]["text"] if parts else value


def of_kind(*kinds: str) -> list[Json]:
    return [
        pytest.param(case, id=f"{case['from']}-{case['to']}-{number}-{case['case'][-40:]}")
        for number, case in enumerate(CASES)
        if case["kind"] in kinds
    ]


def translation(case: dict[str, Json]) -> Translation:
    return Translation(route=case["route"], now=0)


def read(value: Json) -> Json:
    """A body as a value, with the body that Bedrock is asked to count in place of its base64."""
    counted = value.get("input", {}) if isinstance(value, dict) else {}
    invoked = counted.get("invokeModel") if isinstance(counted, dict) else None
    if not invoked:
        return value
    body = json.loads(base64.b64decode(invoked["body"]))
    return {"input": {"invokeModel": {"body": body}}}


@pytest.mark.parametrize("case", of_kind("request"))
def test_request(case: dict[str, Json]) -> None:
    assert differences_of_request(case) == set(case.get("differs", {}))


def differences_of_request(case: dict[str, Json]) -> set[str]:
    """Where ours differs: members of the body, the path, or that it is refused, or not."""
    given, expected = case["input"], case["expected"]
    raw = given["text"] if isinstance(given, dict) and [*given] == ["text"] else json.dumps(given)
    refused = isinstance(expected, dict) and isinstance(expected.get("error"), str)
    headers = [("content-type", "application/json"), *map(tuple, case.get("headers", ()))]
    try:
        call = translation(case).request(raw.encode(), path=case["path"], headers=headers)
    except Refused:
        return set() if refused else {"refused"}
    if refused:
        return {"accepted"}
    if isinstance(call, Answer):
        return {"answered"}
    theirs = expected.get("body", given) if expected.keys() & {"body", "headers"} else expected
    theirs = read(given if theirs is None else theirs)
    theirs = {name: value for name, value in theirs.items() if (name, value) != ("stream", False)}
    path = expected.get("headers", {}).get(":path") or expected.get("path", "")
    elsewhere = path and not unquote(call.full_path()).endswith(unquote(path))
    return differing(theirs, read(json.loads(call.body))) | ({":path"} if elsewhere else set())


@pytest.mark.parametrize("case", of_kind("response", "stream", "error", "recorded"))
def test_response(case: dict[str, Json]) -> None:
    assert differences_of_answer(case) == set(case.get("differs", {}))


def differences_of_answer(case: dict[str, Json]) -> set[str]:
    """Where ours differs. *from* is the upstream here. Of a translated conversation it is compared what a client can
    tell apart, of anything else the body, of an error its message."""
    t, status, asked = translation(case), case.get("status", 200), case["asked"]
    try:
        t.request(json.dumps(asked).encode(), path=case["path"], headers=[("content-type", "application/json")])
    except Refused:
        return {"refused"}
    raw, media_type = bytes_of(case)
    t.response_head(status, [("content-type", media_type)])
    out = t.response_body(raw, end_of_stream=True)
    expected = case["expected"]
    theirs = expected.get("body", expected) if isinstance(expected, dict) else expected
    if theirs == "unchanged" or (case["kind"] == "recorded"):
        same = out == raw or (not t.passthrough and json.loads(out) == json.loads(raw))
        return set() if same else {"body"}
    if "error" in theirs or case["kind"] == "error":
        ours = json.loads(out) if t.head.media_type == "application/json" else {}
        said = ours.get("error", ours)
        if not isinstance(said, dict) or "message" not in said:
            return {"error"} if b"error" not in out else set()
        told = theirs.get("error", theirs)
        return set() if not isinstance(told, dict) or told["message"] in said["message"] else {"message"}
    talk = t.client in ("openai_chat", "anthropic_messages", "openai_responses")
    if not talk:
        return differing(theirs, json.loads(out))
    streamed = isinstance(theirs.get("text"), str)
    data = theirs["text"].encode() if streamed else json.dumps(theirs).encode()
    assert t.client is not None
    head = ResponseHead(200, [("content-type", "text/event-stream" if streamed else "application/json")])
    told_by = [gist(folded(parse(t.client, one, other))) for one, other in ((data, head), (out, t.head))]
    return {word for word, one, other in zip(WORDS, *told_by, strict=True) if one != other}


def bytes_of(case: dict[str, Json]) -> tuple[bytes, str]:
    """What the upstream answers, and its type."""
    given, streamed = case["input"], case["kind"] == "stream" and case["asked"].get("stream")
    if case["kind"] == "recorded":
        return json.dumps(case["expected"]["body"]).encode(), "application/json"
    if isinstance(given, dict) and [*given] == ["base64"]:
        return base64.b64decode(given["base64"]), EVENT_STREAM
    if isinstance(given, dict) and [*given] == ["text"]:
        kind = "text/event-stream" if streamed else "text/plain"
        return given["text"].encode(), kind
    return json.dumps(given).encode(), "application/json"
