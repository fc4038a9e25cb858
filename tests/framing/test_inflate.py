from __future__ import annotations

import gzip
import zlib

import pytest
import zstandard

from extproc.framing.inflate import InflateError, Inflater, InflatesTooFar, UnknownEncoding, inflated

TEXT = b"data: hello\n\n" * 500

GZIP = gzip.compress(TEXT, mtime=0)
"""Without the time of day: a test is named alike wherever it is collected."""

_bare = zlib.compressobj(wbits=-15)
BARE = _bare.compress(TEXT) + _bare.flush()
ZSTD = zstandard.compress(TEXT)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", GZIP),
        ("x-gzip", GZIP),
        (" GZIP ", GZIP),
        ("identity, gzip", GZIP),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", BARE),
        ("deflate, gzip", gzip.compress(BARE, mtime=0)),
        ("gzip, none, gzip", gzip.compress(GZIP, mtime=0)),
        ("gzip", b"".join(gzip.compress(TEXT[i : i + 1000], mtime=0) for i in range(0, len(TEXT), 1000))),
        ("gzip", gzip.compress(b"", mtime=0) + GZIP + bytes(512)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_inflates_as_it_comes(encoding: str, data: bytes, step: int) -> None:
    inflater = Inflater.for_encoding(encoding, len(TEXT))
    assert inflater is not None
    assert b"".join(inflater.feed(data[i : i + step]) for i in range(0, len(data), step)) == TEXT


@pytest.mark.parametrize("encoding", ["", "identity", " Identity ", "none", "utf-8", "UTF-8, identity"])
def test_plain_bodies_need_none(encoding: str) -> None:
    assert Inflater.for_encoding(encoding, 1) is None


@pytest.mark.parametrize(
    ("encoding", "told"),
    [("br", "br"), ("zstd", "zstd"), ("gzip, br", "'br'"), ("gzip, gzip, gzip, gzip", "'gzip, gzip, gzip, gzip'")],
)
def test_unknown_encodings_fail_at_the_first_byte(encoding: str, told: str) -> None:
    inflater = Inflater.for_encoding(encoding, 100)
    assert inflater is not None
    assert inflater.feed(b"") == b""
    with pytest.raises(InflateError, match=told):
        inflater.feed(b"x")


def test_a_flushed_stream_is_not_held_back() -> None:
    compress = zlib.compressobj(wbits=31)
    inflater = Inflater.for_encoding("gzip", 1000)
    assert inflater is not None
    first = compress.compress(b"data: a\n\n") + compress.flush(zlib.Z_SYNC_FLUSH)
    assert inflater.feed(first) == b"data: a\n\n"


def test_members_that_hold_nothing_cost_little_and_are_counted() -> None:
    inflater = Inflater.for_encoding("gzip", 1000)
    assert inflater is not None
    empty = gzip.compress(b"", mtime=0)
    assert inflater.feed(empty * 90_000) == b""
    with pytest.raises(InflateError, match="parts"):
        inflater.feed(empty * 20_000)


def test_broken_data() -> None:
    inflater = Inflater.for_encoding("gzip", 100)
    assert inflater is not None
    with pytest.raises(InflateError, match="broken"):
        inflater.feed(b"this is not gzip")


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
@pytest.mark.parametrize("data", [GZIP, zlib.compress(TEXT)], ids=["gzip", "zlib"])
@pytest.mark.parametrize("step", [1, 1000])
def test_a_body_is_what_its_first_bytes_say(encoding: str, data: bytes, step: int) -> None:
    inflater = Inflater.for_encoding(encoding, 1_000_000)
    assert inflater is not None
    assert b"".join(inflater.feed(data[i : i + step]) for i in range(0, len(data), step)) == TEXT
    assert inflater.ended and not inflater.plain


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_header_over_a_body_that_a_proxy_has_inflated_means_nothing(step: int) -> None:
    inflater, data = Inflater.for_encoding("gzip", 1000), b'data: {"a": 1}\n\n'
    assert inflater is not None
    assert b"".join(inflater.feed(data[i : i + step]) for i in range(0, len(data), step)) == data
    assert inflater.plain
    with pytest.raises(InflateError, match="not compressed"):
        inflated(data, "gzip", 1000)  # a client's: nothing stands between that could have done it


def test_the_bound_holds_against_a_bomb() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    for step in (1000, len(bomb)):
        inflater = Inflater.for_encoding("gzip", 10_000)
        assert inflater is not None
        with pytest.raises(InflateError, match="larger than 10000"):
            for i in range(0, len(bomb), step):
                inflater.feed(bomb[i : i + step])


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", GZIP),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", BARE),
        ("zstd", ZSTD),
        ("Zstd", zstandard.compress(TEXT[:99]) + zstandard.compress(TEXT[99:])),
        ("gzip, zstd", zstandard.compress(GZIP)),
        ("identity", TEXT),
        ("", TEXT),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_whole_body_is_inflated(encoding: str, data: bytes) -> None:
    assert inflated(data, encoding, len(TEXT)) == TEXT
    assert inflated(b"", encoding, 9) == b""


@pytest.mark.parametrize(("encoding", "data"), [("gzip", GZIP), ("deflate", BARE), ("zstd", ZSTD)], ids=str)
def test_what_grows_too_far_or_is_broken_is_told_apart(encoding: str, data: bytes) -> None:
    with pytest.raises(InflatesTooFar, match="larger than"):
        inflated(data, encoding, len(TEXT) - 1)
    for broken in (b"\xff" * 40, b"no"):
        with pytest.raises(InflateError):
            inflated(broken, encoding, len(TEXT))


@pytest.mark.parametrize(("encoding", "data"), [("gzip", GZIP), ("deflate", BARE)], ids=str)
def test_a_body_that_is_cut_off_is_none(encoding: str, data: bytes) -> None:
    with pytest.raises(InflateError, match="cut off"):
        inflated(data[:-3], encoding, len(TEXT))


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, br", "x", "gzip, gzip, gzip, gzip"])
def test_an_unknown_encoding_is_named(encoding: str) -> None:
    with pytest.raises(UnknownEncoding):
        inflated(b"x", encoding, 100)


def test_a_wide_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    made = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = made.compress(b"{}") + made.flush()
    with pytest.raises(InflateError, match="broken"):
        inflated(data, "zstd", 100)
