from __future__ import annotations

import msgspec
import pytest

from extproc.llm import marker
from extproc.llm.losses import LossReport

from .helpers import DIALECT

SEALED = marker.sealed(marker.Seal("openai-responses-v1", encrypted="gAAA"))


def mended(body: bytes) -> tuple[bytes, list[str]]:
    losses = LossReport()
    return DIALECT.mend(body, losses), [str(loss) for loss in losses]


def thought(signature: str) -> bytes:
    return msgspec.json.encode({"reasoningContent": {"reasoningText": {"text": "why", "signature": signature}}})


USER = b'{"role":"user", "content": [ {"text":"gw1."} ]}'
TEXT = b'{ "text":  "a" }'


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": "gw1."}', b"{", b'{"messages":[{"role":"user","content":["gw1.x"]}]}', b'{"other":"gw1.x"}',
        b'{"messages":[ ' + USER + b" ]}",
        b'{"messages":[{"role":"assistant","content":[' + thought("S") + b"," + TEXT + b"]}]}",
    ],
)  # fmt: skip
def test_what_is_well_stays_as_it_is(body: bytes) -> None:
    assert mended(body) == (body, [])


def test_thinking_that_others_sealed_is_left_out() -> None:
    turn = b'{"role":"assistant","content":[' + thought(SEALED) + b"," + TEXT + b"]}"
    alone = b'{"role":"assistant","content":[' + thought(SEALED) + b"]}"
    out, losses = mended(b'{"messages":[' + b",".join([USER, turn, USER, alone]) + b'],"x": 1.0}')
    kept = b'{"role":"assistant","content":[' + TEXT + b"]}"
    assert out == b'{"messages":[' + b",".join([USER, kept, USER]) + b'],"x":1.0}'
    assert losses == ["messages[1].content[0]:dropped", "messages[3].content[0]:dropped"]
