from __future__ import annotations

import struct
from itertools import pairwise
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.framing.eventstream import Corrupt, EventStreamDecoder, EventStreamMessage, encode, encode_headers

EMPTY = bytes.fromhex("000000100000000005c248eb7d98c8ff")
PAYLOAD_32 = bytes.fromhex(
    "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e"
    "7b27666f6f273a27626172277d8d9c08b1"
)
"""Test vectors of AWS's own implementations (aws-c-event-stream, smithy-rs), as published there."""


def decoded(
    data: bytes, cuts: list[int] | None = None, max_message_bytes: int = 1 << 20
) -> list[EventStreamMessage | Corrupt]:
    decoder = EventStreamDecoder(max_message_bytes)
    edges = [0, *(cuts or []), len(data)]
    found: list[EventStreamMessage | Corrupt] = []
    for a, b in pairwise(edges):
        found += decoder.feed(data[a:b])
    return found + decoder.end()


def message(headers: bytes, *, header_length: int | None = None, total: int | None = None) -> bytes:
    """A message with right checksums, whatever else is wrong with it."""
    length = len(headers) if header_length is None else header_length
    prelude = struct.pack(">II", 16 + len(headers) if total is None else total, length)
    body = prelude + struct.pack(">I", crc32(prelude)) + headers
    return body + struct.pack(">I", crc32(body))


def header(kind: int, value: bytes, name: bytes = b"n") -> bytes:
    return bytes((len(name),)) + name + bytes((kind,)) + value


EVENT = encode(encode_headers({":message-type": "event", ":event-type": "chunk"}), b'{"a":1}')
EVENT_READ = EventStreamMessage({":message-type": "event", ":event-type": "chunk"}, b'{"a":1}')


def test_published_vectors() -> None:
    assert decoded(EMPTY) == [EventStreamMessage({}, b"")]
    assert decoded(PAYLOAD_32) == [EventStreamMessage({"content-type": "application/json"}, b"{'foo':'bar'}")]
    assert encode(b"", b"") == EMPTY
    assert encode(encode_headers({"content-type": "application/json"}), b"{'foo':'bar'}") == PAYLOAD_32


HEADERS = [
    (header(0, b""), True),
    (header(1, b""), False),
    (header(2, b"\xcf"), -49),
    (header(3, b"\xff\xfe"), -2),
    (header(4, b"\x00\x00\xa0\x0c"), 40972),
    (header(5, b"\x00\x00\x00\x00\x02\x87\x57\xb2"), 42424242),
    (header(6, b"\x00\x03abc"), b"abc"),
    (header(7, b"\x00\x04" + "aé!".encode()), "aé!"),
    (header(7, b"\x00\x00"), ""),
    (header(8, b"\x00\x00\x00\x00\x00\x84\x5f\xed"), 8675309),
    (header(9, bytes(range(16))), bytes(range(16))),
]


@pytest.mark.parametrize(("raw", "value"), HEADERS)
def test_every_type_of_header(raw: bytes, value: object) -> None:
    [read] = decoded(message(raw + header(7, b"\x00\x01z", b"last")))
    assert isinstance(read, EventStreamMessage)
    assert read.headers == {"n": value, "last": "z"}
    assert type(read.headers["n"]) is type(value)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (EVENT[:8] + b"\0\0\0\0" + EVENT[12:], "prelude"),
        (EVENT[:-1] + bytes((EVENT[-1] ^ 1,)), "checksum of a message"),
        (EVENT[:40] + bytes((EVENT[40] ^ 1,)) + EVENT[41:], "checksum of a message"),
        (message(b"", total=15), "15 bytes"),
        (message(b"", total=1 << 30), "1073741824 bytes"),
        (message(b"", header_length=1), "1 bytes of headers"),
        (message(bytes(140_000)), "140000 bytes of headers"),
        (message(header(10, b"")), "unknown type 10"),
        (message(header(7, b"\x00\x05abc")), "cut off"),
        (message(header(6, b"\x00")), "cut off"),
        (message(header(4, b"\x00\x00")), "cut off"),
        (message(header(9, b"\x00\x00")), "cut off"),
        (message(b"\x05ab"), "cut off"),
        (message(b"\x01a"), "cut off"),
    ],
)  # fmt: skip
def test_what_is_corrupt_ends_the_stream_wherever_it_is_cut(data: bytes, problem: str) -> None:
    stream = EVENT + data + EVENT
    first, last = decoded(stream)
    assert first == EVENT_READ
    assert isinstance(last, Corrupt)
    assert problem in last.problem
    for cut in range(min(len(stream), 400)):
        assert decoded(stream, [cut]) == [first, last]


def test_every_flipped_bit_is_noticed() -> None:
    for bit in range(len(EVENT) * 8):
        broken = bytearray(EVENT)
        broken[bit // 8] ^= 1 << (bit % 8)
        assert EVENT_READ not in decoded(bytes(broken) + EVENT[:40])


def test_a_message_comes_with_the_byte_that_ends_it() -> None:
    decoder = EventStreamDecoder()
    assert decoder.feed(EVENT[:-1]) == []
    assert decoder.feed(EVENT[-1:] + EVENT[:5]) == [EVENT_READ]
    assert decoder.feed(EVENT[5:]) == [EVENT_READ]
    assert decoder.feed(EVENT[:30]) == []
    assert decoder.end() == []


def test_the_bound() -> None:
    assert decoded(EVENT, max_message_bytes=len(EVENT)) == [EVENT_READ]
    [corrupt] = decoded(EVENT, max_message_bytes=len(EVENT) - 1)
    assert isinstance(corrupt, Corrupt)


@given(st.lists(st.binary(max_size=40), max_size=4), st.binary(max_size=30), st.lists(st.integers(0, 400), max_size=6))
def test_any_bytes_any_cuts(payloads: list[bytes], junk: bytes, cuts: list[int]) -> None:
    data = b"".join(encode(encode_headers({"k": "v"}), payload) for payload in payloads) + junk
    assert decoded(data, sorted(min(cut, len(data)) for cut in cuts)) == decoded(data)


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=40), max_size=5), st.binary(max_size=100))
def test_there_and_back(headers: dict[str, str], payload: bytes) -> None:
    assert decoded(encode(encode_headers(headers), payload)) == [EventStreamMessage({**headers}, payload)]
