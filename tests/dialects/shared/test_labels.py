"""What labels do with bytes, tried on those of the Responses API."""

from __future__ import annotations

import json

from extproc.dialects.openai_responses.labels import ReasoningLabels
from extproc.dialects.shared.labels import SealLabels
from extproc.llm import marker

SEALED = marker.sealed(marker.Seal("x-v1", encrypted="S"))
ITEM = b'{"type": "reasoning", "encrypted_content": "S"}'


def test_a_seal_is_labelled_once() -> None:
    labels = ReasoningLabels("x-v1", 99)
    assert isinstance(labels, SealLabels)
    whole = labels.whole(b'{"output": [' + ITEM + b"]}")
    assert json.loads(whole)["output"] == [{"type": "reasoning", "encrypted_content": SEALED}]
    for body in (whole, b'{"encrypted_content":  7}', b"encrypted_content", b"[ ]", b'["encrypted_content"]'):
        assert labels.whole(body) == body


def test_events_are_labelled_wherever_they_are_cut() -> None:
    wire = b'event: a\ndata: {"item": ' + ITEM + b'}\n\n: encrypted_content\n\ndata: {"other":  1}\n\ndata: half an'
    outs = set()
    for step in (1, 5, 99):
        labels = ReasoningLabels("x-v1", 99)
        outs.add(b"".join(labels.feed(wire[at : at + step]) for at in range(0, len(wire), step)) + labels.end())
    [out] = outs
    assert json.loads(out.split(b"\n")[1][6:])["item"]["encrypted_content"] == SEALED
    assert out.endswith(b': encrypted_content\n\ndata: {"other":  1}\n\ndata: half an')
