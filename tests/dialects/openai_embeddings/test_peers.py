"""What peers' tests assert of embeddings, held against ours: facts to compare with, not truths. Each case names the
places where ours says something else, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extproc import Call, Refused, Translation
from tests.test_peers import differing

Json = Any
CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "cases" / "peers" / "embeddings.jsonl").read_text("utf-8").splitlines()
]
PATH = "/v1/embeddings"


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(case, id=f"{at}-{case['to']}") for at, case in enumerate(CASES) if case["kind"] == kind]


@pytest.mark.rows("B5")
@pytest.mark.parametrize("case", of_kind("request"))
def test_request(case: dict[str, Json]) -> None:
    theirs = case["expected"].get("body", case["expected"])
    try:
        call = Translation(route=case["route"], now=0).request(json.dumps(case["input"]).encode(), path=PATH)
    except Refused:
        assert "error" in theirs or list(case["differs"]) == ["refused"]
        return
    assert isinstance(call, Call)
    assert differing(theirs, json.loads(call.body)) == set(case.get("differs", {}))


@pytest.mark.rows("B5")
@pytest.mark.parametrize("case", of_kind("response"))
def test_response(case: dict[str, Json]) -> None:
    t = Translation(route=case["route"], now=0)
    t.request(json.dumps(case["asked"]).encode(), path=PATH)
    t.response_head(case["status"], [("content-type", "application/json")])
    raw = case["input"].get("text") or json.dumps(case["input"])
    ours = json.loads(t.response_body(raw.encode(), end_of_stream=True))
    theirs = case["expected"].get("body", case["expected"])
    if "error" in theirs or "error" in ours:
        assert ("error" in theirs) is ("error" in ours) or list(case["differs"]) == ["error"]
        return
    for item in (*theirs["data"], *ours["data"]):
        item["embedding"] = [round(number, 6) for number in item["embedding"]]  # theirs went through float32
    assert differing(theirs, ours) == set(case.get("differs", {}))
