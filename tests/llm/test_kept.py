from __future__ import annotations

import pytest

from extproc.llm import events as e
from extproc.llm.kept import CODE, EVENT_BYTES, VALUE_BYTES, Kept

CITED = e.CitationAdded(0, e.Citation("url", "d"))


@pytest.mark.parametrize(
    ("events", "piece", "weighs"),
    [
        ([], b"{}", 2),
        ([], b'{"a":[1,2,3]}', 13 + 3 * VALUE_BYTES),
        ([e.KeepAlive()], b"x" * 99, 0),
        ([e.ResponseEnded(e.StopReason.END)], b"x" * 99, 0),
        ([e.TextStarted(0), e.BlockEnded(0)], b"x" * 99, 2 * EVENT_BYTES),
        ([e.TextDelta(0, "four")], b"x" * 99, EVENT_BYTES + 4),
        ([e.ThinkingDelta(0, "four")], b"x" * 99, EVENT_BYTES + 4),
        ([e.ToolInputDelta(0, "four")], b"x" * 99, EVENT_BYTES + 4),
        ([CITED], b"{,}", EVENT_BYTES + 3 + VALUE_BYTES),
        ([CITED, CITED], b"{,}", 2 * EVENT_BYTES + 3 + VALUE_BYTES),
    ],
)
def test_what_may_be_kept_of_a_piece(events: list[e.ResponseEvent], piece: bytes, weighs: int) -> None:
    for most, full in ((weighs, False), (weighs - 1, True)):
        kept = Kept(most)
        kept.add_events(events, piece)
        assert kept.full is full


def test_what_is_told_of_later_counts_at_once() -> None:
    kept = Kept(2 * EVENT_BYTES + 7)
    kept.add(4)
    kept.add(3)
    assert not kept.full
    kept.add(0)
    assert kept.full
    failed = kept.failure()
    assert (failed.code, failed.status) == (CODE, 502) and str(2 * EVENT_BYTES + 7) in failed.message
