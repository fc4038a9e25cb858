from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.server.h2.frames import Code, ConnectionFault
from extproc.server.h2.heads import CACHED_BLOCKS, EMPTY_TABLE, Head, HeadReader, block, integer, judged
from extproc.server.h2.limits import Counters

GOOD = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a.B/C")]


def test_a_request() -> None:
    head = judged([*GOOD, (b":authority", b"x"), (b"te", b"trailers"), (b"x-role", b"a"), (b"x-role", b"\xe9")])
    assert head.fault == ""
    assert (head.method, head.path) == ("POST", "/a.B/C")
    assert head.headers == (("te", "trailers"), ("x-role", "a"), ("x-role", "é"))
    assert head.get("x-role") == "a" and head.get("missing") == ""
    assert head.list_bytes == sum(len(n) + len(v) + 32 for n, v in GOOD) + 43 + 42 + 39 + 39


@pytest.mark.parametrize("n", range(3))
def test_each_pseudo_header_is_needed(n: int) -> None:
    assert judged(GOOD[:n] + GOOD[n + 1 :]).fault
    assert judged([*GOOD[:n], (GOOD[n][0], b""), *GOOD[n + 1 :]]).fault


@pytest.mark.parametrize(
    "fields",
    [
        [*GOOD, GOOD[0]],
        [*GOOD, (b":unknown", b"x")],
        [*GOOD, (b":status", b"200")],
        [GOOD[0], (b"a", b"b"), *GOOD[1:]],
        [*GOOD, (b"Upper", b"x")],
        [*GOOD, (b"", b"x")],
        [*GOOD, (b"a b", b"x")],
        [*GOOD, (b"a\x7f", b"x")],
        [*GOOD, (b"a\xe9", b"x")],
        [*GOOD, (b"a:b", b"x")],
        [*GOOD, (b"a", b"x\r\ny")],
        [*GOOD, (b"a", b"x\0")],
        [*GOOD, (b"a", b" x")],
        [*GOOD, (b"a", b"x\t")],
        [*GOOD, (b"connection", b"close")],
        [*GOOD, (b"keep-alive", b"1")],
        [*GOOD, (b"proxy-connection", b"1")],
        [*GOOD, (b"transfer-encoding", b"chunked")],
        [*GOOD, (b"upgrade", b"h2c")],
        [*GOOD, (b"te", b"gzip")],
        [*GOOD, (b"content-length", b"-1")],
        [*GOOD, (b"content-length", b"1"), (b"content-length", b"2")],
        [(b":method", b"CONNECT"), (b":authority", b"x"), (b":path", b"/")],
        [(b":method", b"CONNECT")],
        [],
    ],
)
def test_a_malformed_request(fields: list[tuple[bytes, bytes]]) -> None:
    assert judged(fields).fault


@pytest.mark.parametrize(
    "fields",
    [
        [(b":method", b"CONNECT"), (b":authority", b"x")],
        [*GOOD, (b"a", b"")],
        [*GOOD, (b"a", b"inner space\x80")],
        [*GOOD, (b"content-length", b"12")],
        [*GOOD, (b"content-length", b"5"), (b"content-length", b"5")],
    ],
)
def test_a_well_formed_request(fields: list[tuple[bytes, bytes]]) -> None:
    assert judged(fields).fault == ""


def test_trailers_have_no_pseudo_headers() -> None:
    assert judged([(b"grpc-status", b"0")], trailers=True).fault == ""
    assert judged([(b":path", b"/")], trailers=True).fault


NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=200)
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF), max_size=300)


@given(st.lists(st.tuples(NAMES, VALUES)))
def test_our_blocks_are_what_a_decoder_reads(fields: list[tuple[str, str]]) -> None:
    wire = block((":status", "200"), *fields)
    decoded = list(hpack.Decoder(max_header_list_size=2**20).decode(wire, raw=True))
    assert decoded == [(b":status", b"200")] + [(n.encode(), v.encode("latin-1")) for n, v in fields]


@pytest.mark.parametrize("value", [0, 126, 127, 128, 254, 255, 16383, 16384, 2**20])
def test_integers_as_the_decoder_reads_them(value: int) -> None:
    from hpack.hpack import decode_integer

    assert decode_integer(integer(value), 7) == (value, len(integer(value)))


def reader(cache: dict[bytes, Head] | None = None) -> tuple[HeadReader, Counters]:
    counters = Counters()
    return HeadReader(1000, {} if cache is None else cache, counters), counters


def test_a_block_is_not_remembered_while_the_table_has_room() -> None:
    cache: dict[bytes, Head] = {}
    heads, counters = reader(cache)
    encoder = hpack.Encoder()
    first = encoder.encode([*GOOD, (b"x", b"1")])
    assert heads.read(first).get("x") == "1"
    # The same bytes may mean something else by now.
    again = encoder.encode([*GOOD, (b"x", b"1")])
    assert again != first
    assert heads.read(again).get("x") == "1" == heads.read(again).get("x")
    assert counters.header_cache_hits == 0 and not cache


def test_a_block_is_remembered_once_the_table_is_empty() -> None:
    cache: dict[bytes, Head] = {}
    heads, counters = reader(cache)
    wire = block(*((n.decode(), v.decode()) for n, v in GOOD))
    heads.table_acknowledged()
    assert heads.read(EMPTY_TABLE + wire) == heads.read(wire)
    assert counters.header_cache_hits == 0
    assert heads.read(wire) is heads.read(wire)
    assert counters.header_cache_hits == 2
    # Another connection that has not come so far must not look there.
    other, counted = reader(cache)
    other.read(wire)
    assert counted.header_cache_hits == 0


def test_a_cached_block_does_not_excuse_the_missing_table_update() -> None:
    cache: dict[bytes, Head] = {}
    first, _ = reader(cache)
    first.table_acknowledged()
    wire = block(*((n.decode(), v.decode()) for n, v in GOOD))
    first.read(EMPTY_TABLE + wire)
    first.read(wire)
    second, _ = reader(cache)
    second.table_acknowledged()
    with pytest.raises(ConnectionFault) as raised:
        second.read(wire)
    assert raised.value.code is Code.COMPRESSION_ERROR


def test_the_cache_is_bounded() -> None:
    cache: dict[bytes, Head] = {}
    heads, _ = reader(cache)
    heads.table_acknowledged()
    heads.read(EMPTY_TABLE)
    for n in range(3 * CACHED_BLOCKS):
        heads.read(block(("x", str(n))))
    assert len(cache) <= CACHED_BLOCKS
    cache.clear()
    heads.read(block(("x", "v" * 900)))
    assert len(cache) == 1
    small = HeadReader(10_000, cache, Counters())
    small.table_acknowledged()
    small.read(EMPTY_TABLE + block(("x", "v" * 2000)))
    assert len(cache) == 1


def test_a_list_far_too_long_stops_the_decoder() -> None:
    heads, counters = reader()
    # One entry of the table, named over and over: a few bytes that would become megabytes.
    bomb = hpack.Encoder().encode([(b"x", b"v" * 500)]) + b"\xbe" * 10_000
    with pytest.raises(ConnectionFault) as raised:
        heads.read(bomb)
    assert raised.value.code is Code.ENHANCE_YOUR_CALM
    assert counters.abuse == {"max_header_list_bytes": 1}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_a_compression_error(wire: bytes) -> None:
    heads, _ = reader()
    for read in (heads.read, heads.read_trailers):
        try:
            read(wire)
        except ConnectionFault as fault:
            assert fault.code in (Code.COMPRESSION_ERROR, Code.ENHANCE_YOUR_CALM)
