from __future__ import annotations

import pytest

from extproc.server.h2 import frames
from extproc.server.h2.frames import Code, ConnectionFault, StreamFault
from extproc.server.h2.outbox import BATCH_BYTES, JOINED, Outbox, Stream, most_queued


def stream(number: int, window: int) -> Stream:
    return Stream(number, 0, window)


def sent(outbox: Outbox) -> list[tuple[int, bytes]]:
    outbox.pump()
    wire, found = b"".join(outbox.take_parts()), []
    while wire:
        word, _, stream_id = frames.HEAD.unpack_from(wire)
        size = 9 + (word >> 8)
        found.append((stream_id, wire[9:size]))
        wire = wire[size:]
    return found


def test_what_fits_goes_out_at_once() -> None:
    outbox, one = Outbox(100, 0.0), stream(1, 10)
    outbox.data(one, b"hello")
    assert (one.send_window, outbox.window, outbox.queued) == (5, frames.DEFAULT_WINDOW - 5, 0)
    assert sent(outbox) == [(1, b"hello")]
    assert sent(outbox) == []


def test_there_is_output_while_frames_are_due_or_a_stream_may_go_on() -> None:
    outbox, one = Outbox(100, 0.0), stream(1, 5)
    assert not outbox.has_output
    outbox.data(one, b"due")
    assert outbox.has_output
    assert sent(outbox) == [(1, b"due")] and not outbox.has_output
    outbox.data(one, b"and more")
    assert outbox.has_output, "two bytes of it fit"
    assert sent(outbox) == [(1, b"an")] and not outbox.has_output, "its window is closed"


def test_the_stream_on_which_most_waits() -> None:
    outbox, one, two = Outbox(100, 0.0), stream(1, 0), stream(3, 0)
    outbox.data(one, b"less")
    outbox.data(two, b"and more")
    assert most_queued({1: one, 3: two}) is two


def test_a_closed_window_stalls_only_its_own_stream() -> None:
    outbox, one, two = Outbox(100, 0.0), stream(1, 0), stream(3, 100)
    outbox.data(one, b"stuck")
    outbox.data(two, b"free")
    assert sent(outbox) == [(3, b"free")]
    outbox.widen(one, 2)
    assert sent(outbox) == [(1, b"st")]
    outbox.widen(one, 2)
    outbox.widen(one, 2)
    assert sent(outbox) == [(1, b"uck")]
    assert outbox.queued == one.queued == 0 and not outbox.waiting and not outbox.blocked


def test_order_is_kept_behind_what_waits() -> None:
    outbox, one = Outbox(100, 0.0), stream(1, 3)
    outbox.data(one, b"abcd")
    outbox.data(one, b"e")
    outbox.widen(one, 100)
    outbox.data(one, b"f")
    assert b"".join(payload for _, payload in sent(outbox)) == b"abcdef"


def test_the_connections_window_holds_for_all() -> None:
    outbox, one, two = Outbox(100, 0.0), stream(1, 10**6), stream(3, 10**6)
    outbox.window = 4
    outbox.data(one, b"aaa")
    outbox.data(two, b"bbb")
    assert sent(outbox) == [(1, b"aaa"), (3, b"b")]
    outbox.widen(None, 10)
    assert sent(outbox) == [(3, b"bb")]


def test_streams_take_turns() -> None:
    outbox, one, two = Outbox(100, 0.0), stream(1, 10**6), stream(3, 10**6)
    outbox.window = 0
    outbox.data(one, b"a" * 40_000)
    outbox.data(two, b"b" * 20_000)
    outbox.widen(None, 10**6)
    size = frames.MAX_FRAME_BYTES
    assert [(n, len(payload)) for n, payload in sent(outbox)] == [
        (1, size), (3, size), (1, size), (3, 20_000 - size), (1, 40_000 - 2 * size),
    ]  # fmt: skip


def test_a_long_answer_goes_out_in_batches() -> None:
    outbox, one, two = Outbox(100, 0.0), stream(1, 10**7), stream(3, 10**7)
    outbox.window = 10**7
    outbox.data(one, bytes(10**6))
    outbox.pump()
    assert BATCH_BYTES <= len(b"".join(outbox.take_parts())) <= BATCH_BYTES + frames.MAX_FRAME_BYTES + 9
    outbox.data(two, b"short")
    assert (3, b"short") in sent(outbox)


@pytest.mark.parametrize("size", [JOINED - 100, JOINED + 100, 10**6])
def test_what_is_long_is_not_put_together(size: int) -> None:
    outbox, one = Outbox(100, 0.0), stream(1, 10**7)
    outbox.window = 10**7
    body = bytes(size)
    outbox.data(one, body)
    outbox.pump()
    parts = outbox.take_parts()
    assert (len(parts) == 1) == (size <= JOINED)
    assert size <= JOINED or all(part.obj is body for part in parts[1::2] if isinstance(part, memoryview))
    assert b"".join(parts)[9 : 9 + 100] == body[:100]
    assert outbox.take_parts() == [] or size > BATCH_BYTES


def test_trailers_go_out_behind_the_data() -> None:
    outbox, one = Outbox(100, 0.0), stream(1, 0)
    trailers = frames.frame(frames.HEADERS, frames.END_STREAM, 1, b"t")
    outbox.data(one, b"x")
    assert not outbox.trailers(one, trailers)
    assert sent(outbox) == [] and not outbox.finished
    outbox.widen(one, 1)
    assert sent(outbox) == [(1, b"x"), (1, b"t")]
    assert outbox.finished == [one]


def test_a_stream_that_falls_below_the_mark_is_named_once() -> None:
    outbox, one = Outbox(10, 0.0), stream(1, 0)
    outbox.data(one, bytes(25))
    for window, named in ((5, 0), (10, 0), (1, 1), (5, 1), (4, 1)):
        outbox.widen(one, window)
        outbox.pump()
        assert len(outbox.drained) == named, window


def test_what_is_discarded_no_longer_counts() -> None:
    outbox, one, two = Outbox(100, 0.0), stream(1, 0), stream(3, 0)
    outbox.data(one, b"xxx")
    outbox.data(two, b"yy")
    outbox.discard(one)
    assert outbox.queued == 2
    assert list(outbox.blocked) == [3]


def test_a_smaller_initial_window_may_make_windows_negative() -> None:
    outbox, one = Outbox(100, 0.0), stream(1, frames.DEFAULT_WINDOW)
    outbox.data(one, bytes(100))
    outbox.resize([one], 50)
    assert one.send_window == -50
    outbox.data(one, b"x")
    outbox.take_parts()
    outbox.widen(one, 50)
    assert sent(outbox) == []
    outbox.widen(one, 1)
    assert sent(outbox) == [(1, b"x")]


def test_a_larger_initial_window_frees_what_waits() -> None:
    outbox, one = Outbox(100, 0.0), stream(1, 0)
    outbox.initial_window = 0
    outbox.data(one, b"x")
    outbox.resize([one], 10)
    assert sent(outbox) == [(1, b"x")]


def test_a_stream_whose_window_shrank_while_it_waited_waits_on() -> None:
    outbox, one = Outbox(100, 0.0), stream(1, 10)
    outbox.window = 0
    outbox.data(one, b"x")
    outbox.resize([one], frames.DEFAULT_WINDOW - 10)
    outbox.widen(None, 10)
    assert sent(outbox) == []
    outbox.widen(one, 1)
    assert sent(outbox) == [(1, b"x")]


def test_windows_past_their_end() -> None:
    outbox, one = Outbox(100, 0.0), stream(1, frames.MAX_WINDOW)
    with pytest.raises(StreamFault) as of_stream:
        outbox.widen(one, 1)
    with pytest.raises(ConnectionFault) as of_connection:
        outbox.widen(None, frames.MAX_WINDOW)
    with pytest.raises(ConnectionFault) as of_settings:
        outbox.resize([one], frames.DEFAULT_WINDOW + 1)
    assert {each.value.code for each in (of_stream, of_connection, of_settings)} == {Code.FLOW_CONTROL_ERROR}


def test_windows_grow_by_something() -> None:
    outbox, one = Outbox(100, 0.0), stream(1, 1)
    with pytest.raises(StreamFault):
        outbox.widen(one, 0)
    with pytest.raises(ConnectionFault):
        outbox.widen(None, 0)


def test_frames_are_no_longer_than_the_peer_takes_and_leave_others_a_turn() -> None:
    outbox, one = Outbox(100, 0.0), stream(1, 10**6)
    outbox.window = 10**6
    for allowed, expected in ((2**14, 2**14), (20_000, 20_000), (2**24 - 1, frames.LONG_FRAME_BYTES)):
        outbox.limit_frames(allowed)
        outbox.data(one, bytes(100_000))
        assert max(len(payload) for _, payload in sent(outbox)) == expected


def test_small_answers_do_not_take_the_window_from_a_large_one() -> None:
    outbox, large, small = Outbox(100, 0.0), stream(1, 10**6), stream(3, 10**6)
    outbox.window = 0
    outbox.data(large, bytes(100))
    for _ in range(5):
        outbox.widen(None, 10)
        outbox.data(small, b"small")
    assert next(stream_id for stream_id, _ in sent(outbox)) == 1
    assert large.queued == 50
