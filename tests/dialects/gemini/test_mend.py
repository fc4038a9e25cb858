from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from extproc.dialects.gemini.words import STAND_IN
from extproc.llm.losses import LossReport

from .helpers import DIALECT

OURS = base64.b64encode(b"gw1.s.anthropic-claude-v1.SIG").decode()
CALL = {"functionCall": {"name": "f", "args": {"n": 1}}}


def mend(body: Any) -> tuple[bytes, bytes, list[str]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    losses = LossReport()
    return data, DIALECT.mend(data, losses), [str(loss) for loss in losses]


@pytest.mark.parametrize(
    "body",
    [
        {"contents": [{"parts": [{"text": "hi"}]}]},
        {"contents": [{"role": "model", "parts": [CALL | {"thoughtSignature": "CiQB0e2Kb1"}]}]},
        {"contents": [{"parts": [{"text": OURS}]}]},
        {"contents": OURS},
        {"contents": [OURS, 3]},
        b'{"contents": "' + OURS.encode(),
        b'["' + OURS.encode() + b'"]',
        b"",
    ],
)
def test_nothing_to_mend_is_the_same_object(body: Any) -> None:
    data, mended, losses = mend(body)
    assert mended is data
    assert losses == []


@pytest.mark.parametrize("name", ["thoughtSignature", "thought_signature"])
def test_what_another_provider_left_goes_and_the_rest_keeps_its_bytes(name: str) -> None:
    kept = b'{"role":  "user", "parts": [{"text": "\\u00e9"}]}'
    parts = [
        {"text": "t", "thought": True, name: OURS}, {"text": "", name: OURS}, CALL | {name: OURS},
        CALL | {name: "CiQB0e2Kb1"},
    ]  # fmt: skip
    model = json.dumps({"role": "model", "parts": parts}).encode()
    _, mended, losses = mend(b'{"generationConfig": {"topK":  3}, "contents": [' + kept + b"," + model + b"]}")
    assert kept in mended and b'"generationConfig":{"topK":  3}' in mended
    assert json.dumps(parts[-1]).encode() in mended, "a part beside those that are mended"
    assert json.loads(mended)["contents"][1]["parts"] == [
        {"text": "t", "thought": True}, CALL | {name: STAND_IN}, CALL | {name: "CiQB0e2Kb1"},
    ]  # fmt: skip
    assert losses == [f"contents[1].parts[{i}].{name}:rewritten" for i in range(3)]


def test_contents_of_which_nothing_is_left_go() -> None:
    hi = {"role": "user", "parts": [{"text": "hi"}]}
    empty = {"role": "model", "parts": [{"text": "", "thoughtSignature": OURS}]}
    _, mended, losses = mend({"contents": [hi, empty, hi]})
    assert json.loads(mended) == {"contents": [hi, hi]}, "Google refuses contents without parts"
    assert losses == ["contents[1].parts[0].thoughtSignature:rewritten"]
