from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from extproc.credentials.masking import mask_of
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.payloads import Payloads
from extproc.telemetry.sinks import MAX_BATCH, Entry, Full, QueuedSink, Sinks

from ..support.upstream import eventually

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
    assert sinks.any and not Sinks().any
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
    assert sink.dropped == 1 and "the sink full lost 1 exchanges: no space left" in caplog.text


def test_a_failure_is_not_logged_each_time(caplog: pytest.LogCaptureFixture) -> None:
    def write(batch: Sequence[Entry]) -> None:
        raise OSError("no space left")

    sink = QueuedSink("full", write, batch=1)
    for _ in range(20):
        sink.ended(BEGAN, DONE)
    sink.close()
    assert sink.dropped == 20 and caplog.text.count("no space left") == 1


def test_what_a_writer_kept_of_a_batch_is_not_dropped() -> None:
    def write(batch: Sequence[Entry]) -> None:
        raise Full("one of them", 1)

    sink = QueuedSink("some", write, batch=10)
    for _ in range(10):
        sink.ended(BEGAN, DONE)
    sink.close()
    assert 1 <= sink.dropped < 10


def test_bodies_that_wait_have_a_bound_in_bytes() -> None:
    gate = threading.Event()
    written: list[Entry] = []

    def write(batch: Sequence[Entry]) -> None:
        gate.wait(20)
        written.extend(batch)

    payloads = Payloads(1000, mask_of)
    payloads.asked(b"x" * 400)
    heavy = Outcome("translator", Ending.COMPLETE, payloads=payloads)
    sink = QueuedSink("heavy", write, max_bytes=1000, batch=1)
    sink.ended(BEGAN, DONE)
    assert eventually(lambda: sink.waiting == 0), "its thread has the first"
    for _ in range(4):
        sink.ended(BEGAN, heavy)
    sink.ended(BEGAN, DONE)
    assert (sink.dropped, sink.waiting) == (2, 3)
    gate.set()
    sink.close()
    assert len(written) == 4 and sink.dropped == 2


def test_only_what_it_wants() -> None:
    written: list[Entry] = []
    sink = QueuedSink("some", written.extend, wants=lambda outcome: outcome.logged)
    sink.ended(BEGAN, DONE)
    logged = Outcome("translator", Ending.COMPLETE, summary=True)
    sink.ended(BEGAN, logged)
    sink.close()
    assert written == [(BEGAN, logged)] and sink.dropped == 0
    sink.ended(BEGAN, logged)
    assert sink.dropped == 1, "it is closed"
