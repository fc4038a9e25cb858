from __future__ import annotations

import msgspec
import pytest

from extproc.dialects.openai_responses.words import Carried, write_carrier
from extproc.llm import marker
from extproc.llm.losses import LossReport

from .helpers import DIALECT, Json


def mended(body: bytes) -> tuple[bytes, list[str]]:
    losses = LossReport()
    return DIALECT.mend(body, losses), [str(loss) for loss in losses]


def reasoning(sealed: str) -> Json:
    return {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}


USER = b'{"role":"user", "content": [ {"type":"input_text","text":"gw1."} ]}'
OURS = [
    write_carrier(Carried("why", "S")),
    marker.mark("why"),
    marker.sealed(marker.Seal("google-gemini-v1", encrypted="G")),
]


@pytest.mark.parametrize(
    "body",
    [
        b'{"input": 1}', b'{ "input": "gw1." }', b"{", b'{"input":[7,"anthropic:"]}', b'{"other":"gw1.x"}',
        b'{"model":"m","input":[ ' + USER + b" ]}",
        b'{"input":[{"type":"reasoning","encrypted_content":"gAAAA"}]}',
        b'{"input":[{"type":"message","encrypted_content":"gw1.x"}]}',
    ],
)  # fmt: skip
def test_what_is_well_stays_as_it_is(body: bytes) -> None:
    assert mended(body) == (body, [])


@pytest.mark.parametrize("sealed", OURS)
def test_thinking_that_others_sealed_is_left_out(sealed: str) -> None:
    own = msgspec.json.encode(reasoning("gAAAA"))
    body = b'{"model":"m", "input":[' + b",".join([USER, msgspec.json.encode(reasoning(sealed)), own]) + b'],"x": 1.0}'
    out, losses = mended(body)
    assert out == b'{"model":"m","input":[' + USER + b"," + own + b'],"x":1.0}'
    assert losses == ["input[1]:dropped"]


def test_signatures_behind_call_ids_are_taken_off() -> None:
    id_ = marker.sealed_id("call_1", "S+/=")
    items = [{"type": "function_call", "call_id": id_}, {"type": "function_call_output", "call_id": id_}]
    out, losses = mended(msgspec.json.encode({"input": items}))
    assert [item["call_id"] for item in msgspec.json.decode(out)["input"]] == ["call_1", "call_1"]
    assert len(losses) == 1
