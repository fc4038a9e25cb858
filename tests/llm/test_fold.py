from __future__ import annotations

from extproc.llm import events as e
from extproc.llm.fold import Folded, OpaqueBlock, TextBlock, ThinkingBlock, ToolCallBlock


def test_interleaved_events_fold_into_whole_blocks() -> None:
    citation = e.Citation("url", "test", url="https://e.x")
    folded = Folded()
    events: list[e.ResponseEvent] = [
        e.ResponseStarted("r", "m"), e.KeepAlive(),
        e.ThinkingStarted(0), e.ThinkingDelta(0, "w"), e.ThinkingDelta(0, "hy"), e.ThinkingSealed(0, "sig", None, "s"),
        e.BlockEnded(0),
        e.TextStarted(1), e.TextDelta(1, "a"), e.CitationAdded(1, citation), e.TextDelta(1, "b"), e.BlockEnded(1),
        e.ToolCallStarted(2, "t1", "f"), e.ToolCallStarted(3, "t2", "g", "custom"), e.ToolInputDelta(3, "x"),
        e.ToolInputDelta(2, "{}"), e.BlockEnded(2), e.BlockEnded(3),
        e.OpaqueStarted(4, "d", {"type": "x"}), e.OpaqueDelta(4, {"y": 1}), e.BlockEnded(4),
        e.ResponseEnded(e.StopReason.TOOL_CALL, e.Usage(1, 2)),
    ]  # fmt: skip
    for event in events:
        folded.add(event)
    thinking, text, first, second, opaque = folded.blocks
    assert isinstance(thinking, ThinkingBlock)
    assert (thinking.text, thinking.signature, thinking.signer) == ("why", "sig", "s")
    assert isinstance(text, TextBlock)
    assert (text.text, text.citations) == ("ab", [citation])
    assert isinstance(first, ToolCallBlock)
    assert (first.id, first.input, first.kind) == ("t1", "{}", "function")
    assert isinstance(second, ToolCallBlock)
    assert (second.id, second.input, second.kind) == ("t2", "x", "custom")
    assert isinstance(opaque, OpaqueBlock)
    assert opaque.deltas == [{"y": 1}]
    assert folded.usage == e.Usage(1, 2)
    assert folded.failed is None
