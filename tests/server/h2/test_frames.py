from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.server.h2 import frames
from extproc.server.h2.frames import Code, ConnectionFault, FrameReader, StreamFault, check_shape, unpadded

FRAMES = st.tuples(
    st.integers(0, 255), st.integers(0, 255), st.integers(0, frames.MAX_STREAM_ID), st.binary(max_size=300)
)


@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_any_split_of_the_bytes_gives_the_same_frames(sent: list[tuple[int, int, int, bytes]], cuts: list[int]) -> None:
    wire = b"".join(frames.frame(*each) for each in sent)
    reader, number = FrameReader(), 0
    heard: list[tuple[int, int, int, bytes]] = []
    while wire:
        size = cuts[number % len(cuts)]
        heard += reader.cut(wire[:size])
        wire, number = wire[size:], number + 1
    assert heard == sent


@pytest.mark.parametrize("size", [0, 5, 8191, 8192, frames.MAX_FRAME_BYTES, frames.LONG_FRAME_BYTES])
@pytest.mark.parametrize("stream_id", [1, frames.MAX_STREAM_ID])
def test_the_head_of_data_is_that_of_any_frame(stream_id: int, size: int) -> None:
    assert frames.data_head(stream_id, size) == frames.head(frames.DATA, 0, stream_id, size)


def test_the_reserved_bit_is_ignored() -> None:
    wire = frames.frame(frames.DATA, 0, 0x80000003, b"x")
    assert FrameReader().cut(wire) == [(frames.DATA, 0, 3, b"x")]


def test_the_longest_frame_is_taken_and_one_byte_more_is_not() -> None:
    longest = b"x" * frames.MAX_FRAME_BYTES
    assert FrameReader().cut(frames.frame(frames.DATA, 0, 1, longest)) == [(frames.DATA, 0, 1, longest)]
    with pytest.raises(ConnectionFault) as raised:
        # Refused by its head: the payload is not waited for.
        FrameReader().cut(frames.head(frames.DATA, 0, 1, frames.MAX_FRAME_BYTES + 1))
    assert raised.value.code is Code.FRAME_SIZE_ERROR


@pytest.mark.parametrize(
    ("kind", "stream_id", "size", "fault", "code"),
    [
        (frames.DATA, 0, 1, ConnectionFault, Code.PROTOCOL_ERROR),
        (frames.HEADERS, 0, 1, ConnectionFault, Code.PROTOCOL_ERROR),
        (frames.PRIORITY, 0, 5, ConnectionFault, Code.PROTOCOL_ERROR),
        (frames.PRIORITY, 1, 4, StreamFault, Code.FRAME_SIZE_ERROR),
        (frames.PRIORITY, 1, 6, StreamFault, Code.FRAME_SIZE_ERROR),
        (frames.RST_STREAM, 0, 4, ConnectionFault, Code.PROTOCOL_ERROR),
        (frames.RST_STREAM, 1, 3, ConnectionFault, Code.FRAME_SIZE_ERROR),
        (frames.SETTINGS, 1, 0, ConnectionFault, Code.PROTOCOL_ERROR),
        (frames.SETTINGS, 0, 5, ConnectionFault, Code.FRAME_SIZE_ERROR),
        (frames.PING, 1, 8, ConnectionFault, Code.PROTOCOL_ERROR),
        (frames.PING, 0, 7, ConnectionFault, Code.FRAME_SIZE_ERROR),
        (frames.GOAWAY, 1, 8, ConnectionFault, Code.PROTOCOL_ERROR),
        (frames.GOAWAY, 0, 7, ConnectionFault, Code.FRAME_SIZE_ERROR),
        (frames.WINDOW_UPDATE, 0, 3, ConnectionFault, Code.FRAME_SIZE_ERROR),
        (frames.WINDOW_UPDATE, 1, 5, ConnectionFault, Code.FRAME_SIZE_ERROR),
        (frames.CONTINUATION, 0, 1, ConnectionFault, Code.PROTOCOL_ERROR),
    ],
)
def test_a_frame_of_the_wrong_shape(
    kind: int, stream_id: int, size: int, fault: type[ConnectionFault], code: Code
) -> None:
    with pytest.raises(fault) as raised:
        check_shape(kind, stream_id, bytes(size))
    assert raised.value.code is code


@pytest.mark.parametrize(
    ("kind", "stream_id", "size"),
    [(frames.DATA, 1, 0), (frames.SETTINGS, 0, 12), (frames.GOAWAY, 0, 100), (frames.WINDOW_UPDATE, 0, 4)],
)
def test_a_frame_of_the_right_shape(kind: int, stream_id: int, size: int) -> None:
    check_shape(kind, stream_id, bytes(size))


@pytest.mark.parametrize(
    ("payload", "rest"), [(b"\0", b""), (b"\0ab", b"ab"), (b"\2ab\0\0", b"ab"), (b"\3\0\0\0", b"")]
)
def test_padding_is_removed(payload: bytes, rest: bytes) -> None:
    assert unpadded(payload) == rest


@pytest.mark.parametrize("payload", [b"", b"\1", b"\4\0\0\0", b"\xff" * 255])
def test_more_padding_than_frame(payload: bytes) -> None:
    with pytest.raises(ConnectionFault):
        unpadded(payload)


def test_a_long_reason_is_cut() -> None:
    [(_, _, _, payload)] = FrameReader().cut(frames.goaway(7, Code.NO_ERROR, "r" * 1000))
    assert payload == b"\0\0\0\7\0\0\0\0" + b"r" * 256
