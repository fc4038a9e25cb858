"""The judge of what clients saw, which the container tests rely on."""

from __future__ import annotations

import pytest

from .load import ASKS, Load, Seen, judge

WHOLE, STREAM = ASKS[0], ASKS[2]
DELTA = b'data: {"type":"content_block_delta","delta":{"text":"The sky is blue."}}\n\n'
STOP = b'data: {"type":"message_stop"}\n\n'
CHAT = b'data: {"choices":[{"delta":{"content":"The sky is blue."}}]}\n\n'


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (DELTA + STOP, "complete"),
        (CHAT + b"data: [DONE]\n\n", "complete"),
        (DELTA, "wrong"),
        (DELTA.replace(b" is blue.", b"") + STOP, "wrong"),
        (b"", "wrong"),
        (DELTA + b'data: {"type":"error","error":{}}\n\n', "broken"),
    ],
)
def test_streams(body: bytes, seen: Seen) -> None:
    assert judge(STREAM, body) == seen


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b'{"content":[{"type":"text","text":"The sky is blue."}]}', "complete"),
        (b'{"choices":[{"message":{"content":"The sky is blue."}}]}', "complete"),
        (b'{"content":[{"type":"text","text":"The sky"}]}', "wrong"),
        (b"{}", "wrong"),
    ],
)
def test_whole_answers(body: bytes, seen: Seen) -> None:
    assert judge(WHOLE, body) == seen


def test_the_count() -> None:
    load = Load()
    for status, seen in ((200, "complete"), (500, "refused"), (0, "broken")):
        load.add(status, seen)  # type: ignore[arg-type]
    assert str(load).startswith("3 exchanges: 1 complete, 1 refused, 1 broken, 0 wrong;")
    assert load.after(load.since[-1][0]) == {"broken": 1}
