from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.sinks import MAX_BATCH, Entry, QueuedSink, Sinks

BEGAN = Began("translator", 1.0, "id-1")
DONE = Outcome("translator", Ending.COMPLETE)


class Listening:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def started(self, began: Began) -> None:
        self.heard.append(f"started {began.request_id}")

    def first_content(self, began: Began, seconds: float) -> None:
        self.heard.append(f"content of {began.request_id} after {seconds}")

    def ended(self, began: Began, outcome: Outcome) -> None:
        self.heard.append(f"{began.request_id} {outcome.ending.value}")


class Broken:
    def started(self, began: Began) -> None:
        raise OSError

    def first_content(self, began: Began, seconds: float) -> None:
        raise OSError

    def ended(self, began: Began, outcome: Outcome) -> None:
        raise OSError


def test_all_are_told_whatever_one_of_them_does(caplog: pytest.LogCaptureFixture) -> None:
    first, last = Listening(), Listening()
    sinks = Sinks([first, Broken(), last])
    sinks.started(BEGAN)
    sinks.first_content(BEGAN, 0.5)
    sinks.ended(BEGAN, DONE)
    assert first.heard == last.heard == ["started id-1", "content of id-1 after 0.5", "id-1 complete"]
    assert caplog.text.count("a bug in Broken") == 3


def test_a_queued_sink_writes_in_order_and_all_that_waits_at_its_end() -> None:
    written: list[Entry] = []
    sizes: list[int] = []

    def write(batch: Sequence[Entry]) -> None:
        sizes.append(len(batch))
        written.extend(batch)

    sink = QueuedSink("test", write)
    entries = [(Began("translator", float(n)), DONE) for n in range(3 * MAX_BATCH)]
    for entry in entries:
        sink.ended(*entry)
    sink.close()
    assert written == entries and sink.dropped == 0 and max(sizes) <= MAX_BATCH


def test_a_sink_that_hangs_blocks_nobody_and_counts_what_it_drops() -> None:
    taken, go_on = threading.Event(), threading.Event()
    written: list[Entry] = []

    def write(batch: Sequence[Entry]) -> None:
        taken.set()
        go_on.wait(10)
        written.extend(batch)

    sink = QueuedSink("slow", write, bound=5)
    sink.ended(BEGAN, DONE)
    assert taken.wait(5)
    for _ in range(8):
        sink.ended(BEGAN, DONE)
    assert sink.dropped == 3
    go_on.set()
    sink.close()
    assert len(written) == 6 and sink.dropped == 3


def test_what_a_hanging_sink_has_not_written_at_the_end_is_dropped_and_counted() -> None:
    taken, go_on = threading.Event(), threading.Event()

    def write(batch: Sequence[Entry]) -> None:
        taken.set()
        go_on.wait(10)

    sink = QueuedSink("stuck", write)
    sink.ended(BEGAN, DONE)
    assert taken.wait(5)
    sink.ended(BEGAN, DONE)
    sink.close(0.05)
    assert sink.dropped == 1
    go_on.set()


def test_what_cannot_be_written_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    def write(batch: Sequence[Entry]) -> None:
        raise OSError("no space left")

    sink = QueuedSink("full", write)
    sink.ended(BEGAN, DONE)
    sink.close()
    assert sink.dropped == 1 and "the sink full could not write" in caplog.text
