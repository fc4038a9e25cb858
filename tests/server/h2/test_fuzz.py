"""Whatever bytes come: never an exception, never more memory than the limits say, and only frames go out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.server.h2 import frames
from extproc.server.h2.connection import REMEMBERED
from extproc.server.h2.heads import CACHED_BLOCKS, EMPTY_TABLE, block
from extproc.server.h2.limits import H2Limits
from extproc.server.h2.messages import prefixed
from extproc.server.h2.session import Session
from extproc.server.h2.states import ConnectionPhase

from .peer import HELLO, REQUEST, Caller, data, examples, headers, rst

WRONG = st.tuples(st.integers(0, 10**6), st.integers(0, 255))
LIMITS = H2Limits(
    max_concurrent_streams=5,
    max_header_list_bytes=2000,
    max_continuations=3,
    max_resets=10_000,
    max_message_bytes=1000,
    max_buffered_bytes=3000,
    max_stream_output=500,
    max_queued_output=2000,
    stream_window=2000,
    connection_window=100_000,
)
PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([REQUEST, block(("a", "b")), prefixed(b"message"), prefixed(b"long" * 100)[:100], EMPTY_TABLE]),
    st.integers(0, 2**32 - 1).map(lambda n: n.to_bytes(4, "big")),
    st.tuples(st.integers(0, 8), st.integers(0, 2**32 - 1)).map(lambda pair: frames.SETTING.pack(*pair)),
    st.just(bytes(8)),
)
FRAMES = st.builds(
    frames.frame,
    st.one_of(st.integers(0, 10), st.sampled_from([frames.DATA, frames.HEADERS])),
    st.sampled_from([0, 1, 4, 5, 8, 12, 13, 0x20, 0x24, 0x25, 0xFF]),
    st.sampled_from([0, 1, 3, 5, 7, 9, 11, 101]),
    PAYLOADS,
)
# What keeps a connection alive while it is fuzzed, so that the fuzz gets deeper than its first error.
GOOD = st.one_of(
    st.integers(1, 60).map(lambda n: headers(2 * n + 1)),
    st.integers(1, 60).map(lambda n: data(2 * n + 1, prefixed(b"hello"))),
    st.integers(1, 60).map(lambda n: data(2 * n + 1, prefixed(bytes(900))[:700])),
    st.integers(1, 60).map(lambda n: data(2 * n + 1, end=True)),
    st.integers(1, 60).map(lambda n: rst(2 * n + 1)),
    st.integers(0, 3).map(lambda n: frames.settings({frames.INITIAL_WINDOW_SIZE: n * 100})),
)


def check(machine: Session) -> None:
    """All that grows stays within its bounds."""
    connection = machine._connection
    assert len(connection.streams) <= LIMITS.max_concurrent_streams
    assert len(machine._calls) <= LIMITS.max_concurrent_streams
    assert len(connection._closed) <= REMEMBERED
    if not connection.more:
        assert len(connection._reader._data) <= frames.MAX_FRAME_BYTES + 9 and not connection._reader._later
    assert len(connection._preface) < len(frames.PREFACE)
    assert sum(map(len, connection._block or ())) <= LIMITS.max_header_list_bytes + frames.MAX_FRAME_BYTES
    assert len(connection._heads._cache) <= CACHED_BLOCKS
    held = sum(len(call.inbox) for call in machine._calls.values())
    assert machine._buffered == held <= LIMITS.max_buffered_bytes
    queued = sum(stream.queued for stream in connection.streams.values())
    assert connection.outbox.queued == queued <= LIMITS.max_queued_output
    assert len(connection.outbox.waiting) + len(connection.outbox.blocked) <= LIMITS.max_concurrent_streams
    assert not connection.outbox._due and not connection.outbox.drained and not connection.outbox.finished
    if connection.phase is ConnectionPhase.FAILED:
        assert not connection.streams and not machine._calls and not held


def run(peer: Caller, wire: bytes, cut: int) -> None:
    for n in range(0, len(wire), cut):
        peer.say(wire[n : n + cut])
        peer.hear()
        check(peer.machine)
    for now in (20.0, 100.0, 200.0):
        peer.machine.tick(now)
        peer.hear()
        check(peer.machine)
    peer.machine.abandon()
    assert all(each.closed == 1 for each in peer.answerers)


@settings(max_examples=examples(150), deadline=None)
@given(st.binary(max_size=400), st.booleans(), st.integers(1, 400))
def test_any_bytes(wire: bytes, greeted: bool, cut: int) -> None:
    run(Caller(LIMITS, hello=greeted), wire, cut)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.one_of(FRAMES, GOOD, GOOD), min_size=5, max_size=100), st.integers(1, 2000))
def test_any_frames(sent: list[bytes], cut: int) -> None:
    run(Caller(LIMITS), b"".join(sent), cut)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(GOOD, min_size=1, max_size=8), st.integers(2, 60))
def test_anything_over_and_over(sent: list[bytes], times: int) -> None:
    run(Caller(LIMITS), b"".join(sent) * times, 5000)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(GOOD, min_size=5, max_size=30), st.lists(WRONG, max_size=4))
def test_a_legal_conversation_with_wrong_bytes_in_it(sent: list[bytes], wrong: list[tuple[int, int]]) -> None:
    wire = bytearray(HELLO + headers(1, block=EMPTY_TABLE + REQUEST) + b"".join(sent))
    for place, value in wrong:
        wire[place % len(wire)] = value
    run(Caller(LIMITS, hello=False), bytes(wire), 700)
