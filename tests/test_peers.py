"""What a peer's tests assert of the same translations, held against ours.

Facts to compare with, not truths: each case names the places where ours says something else, and why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extproc import Refused, Translation
from extproc.llm.fold import folded

from .properties.pipeline import gist, parse

Json = Any
CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "cases" / "peers" / "responses.jsonl").read_text("utf-8").splitlines()
]
DIALECT = {"chat": "openai_chat", "messages": "anthropic_messages", "responses": "openai_responses"}
PROVIDER = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
QUESTION: dict[str, dict[str, Json]] = {
    "messages": {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "q"}]},
    "responses": {"model": "m", "input": "q"},
}


def translation(client: str, upstream: str) -> Translation:
    return Translation(
        DIALECT[client], DIALECT[upstream], route={"provider": PROVIDER[upstream], "auth": "none"}, now=0
    )


def differing(theirs: Json, ours: Json, at: str = "") -> set[str]:
    """The places where the two are not the same; text, and parts of one text, are alike."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = theirs.keys() | ours.keys()
        return {
            path for name in names for path in differing(theirs.get(name), ours.get(name), f"{at}.{name}".strip("."))
        }
    if isinstance(theirs, list) and isinstance(ours, str) and [*map(sorted, theirs)] == [["text", "type"]]:
        theirs = theirs[0]["text"]
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = enumerate(zip(theirs, ours, strict=True))
        return {path for i, (one, other) in pairs for path in differing(one, other, f"{at}[{i}]")}
    return set() if theirs == ours else {at}


def of_kind(*kinds: str) -> list[Json]:
    return [
        pytest.param(case, id=f"{case['from']}-{case['to']}-{case['case']}") for case in CASES if case["kind"] in kinds
    ]


@pytest.mark.parametrize("case", of_kind("request"))
def test_request(case: dict[str, Json]) -> None:
    t = translation(case["from"], case["to"])
    try:
        ours = json.loads(t.request(json.dumps(case["input"]).encode()).body)
    except Refused:
        assert list(case["differs"]) == ["refused"]
        return
    theirs = {name: value for name, value in case["expected"].items() if (name, value) != ("stream", False)}
    assert differing(theirs, ours) == set(case.get("differs", {}))


@pytest.mark.parametrize("case", of_kind("response", "stream"))
def test_response(case: dict[str, Json]) -> None:
    """*from* is the upstream here. Compared is what a client can tell apart: texts, thinking, calls, counts."""
    upstream, client = case["from"], case["to"]
    streamed = case["kind"] == "stream"
    t = translation(client, upstream)
    t.request(json.dumps(QUESTION[client] | {"stream": streamed}).encode())
    t.response_head(200, [("content-type", "text/event-stream" if streamed else "application/json")])
    raw = case["input"]["text"] if streamed else json.dumps(case["input"])
    out = t.response_body(raw.encode(), end_of_stream=True)
    theirs = case["expected"]["text"] if streamed else json.dumps(case["expected"])
    told = [gist(folded(parse(DIALECT[client], data, t.head))) for data in (theirs.encode(), out)]
    words = ("text", "thinking", "calls", "counts", "failed")
    found = {word for word, one, other in zip(words, *told, strict=True) if one != other}
    assert found == set(case.get("differs", {})), told
