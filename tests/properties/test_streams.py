"""Properties of every ordered pair of dialects, over every golden stream."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.llm import events as e
from extproc.llm.fold import folded

from .pipeline import ALL_GOLDENS, NAMES, PAIRS, gist, pair_id, parse, run, run_whole, translated

Pair = tuple[str, str, Path]
pairs = pytest.mark.parametrize("pair", PAIRS, ids=pair_id)
sse_pairs = pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair[2].suffix == ".sse"], ids=pair_id)
goldens = pytest.mark.parametrize("golden", ALL_GOLDENS, ids=lambda g: f"{g[0]}/{g[1].stem}")


def test_there_is_something_to_run() -> None:
    assert {name for name, _ in ALL_GOLDENS} == set(NAMES)
    assert len(ALL_GOLDENS) >= 25


def heard_and_told(client: str, upstream: str, chunks: list[bytes]) -> tuple[list[e.ResponseEvent], bytes]:
    """The events of a stream that comes in *chunks*, and what the client gets."""
    events: list[e.ResponseEvent] = []
    response = translated(client, upstream, seen=events)
    out = [response.feed(chunk, False) for chunk in chunks]
    return events, b"".join([*out, response.feed(b"", True)])


@pairs
@pytest.mark.rows("A8", "B12")
def test_any_single_cut_gives_the_same_bytes(pair: Pair) -> None:
    """And the same events, which are those of all clients: each client is tried at other cuts, all together at each."""
    client, upstream, path = pair
    data = path.read_bytes()
    whole = heard_and_told(client, upstream, [data])
    for cut in range(1 + NAMES.index(client), len(data), len(NAMES)):
        if heard_and_told(client, upstream, [data[:cut], data[cut:]]) != whole:
            around = f"{data[max(0, cut - 40) : cut]!r} | {data[cut : cut + 40]!r}"
            pytest.fail(f"a cut at {cut} changes the output: {around}")


@pairs
def test_a_byte_at_a_time_and_random_cuts(pair: Pair) -> None:
    client, upstream, path = pair
    data = path.read_bytes()
    whole = run(client, upstream, [data])
    assert run(client, upstream, [data[i : i + 1] for i in range(len(data))]) == whole
    choose = random.Random(path.name)
    for _ in range(20):
        cuts = sorted(choose.choices(range(len(data) + 1), k=choose.randint(2, 12)))
        chunks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert run(client, upstream, chunks) == whole


@sse_pairs
def test_line_ends_do_not_matter(pair: Pair) -> None:
    client, upstream, path = pair
    data = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    expected = run(client, upstream, [data])
    for end in (b"\r\n", b"\r"):
        other = data.replace(b"\n", end)
        assert run(client, upstream, [other]) == expected
        assert run(client, upstream, [other[i : i + 1] for i in range(len(other))]) == expected


@pairs
@pytest.mark.rows("A25")
def test_cut_short_anywhere_ends_legally_and_never_looks_complete(pair: Pair) -> None:
    client, upstream, path = pair
    data = path.read_bytes()
    complete = folded(parse(client, run(client, upstream, [data])))
    step = max(1, len(data) // 150)
    for cut in range(0, len(data), step):
        seen: list[e.ResponseEvent] = []
        response = translated(client, upstream, seen=seen)
        out = response.feed(data[:cut], False) + response.feed(b"", True)
        answer = folded(parse(client, out))
        ended = folded(seen).ended
        assert (answer.failed is None) == (ended is not None)
        if answer.failed is None:
            # What was cut off can only have been counts and end marks.
            assert gist(answer)[:3] == gist(complete)[:3]


@pairs
def test_text_is_never_held_back(pair: Pair) -> None:
    client, upstream, path = pair
    seen: list[e.ResponseEvent] = []
    response = translated(client, upstream, seen=seen)
    data, out = path.read_bytes(), b""
    for i in range(len(data)):
        before = len(seen)
        out += response.feed(data[i : i + 1], False)
        if any(type(event) is e.TextDelta for event in seen[before:]):
            came = "".join(event.text for event in seen if type(event) is e.TextDelta)
            assert gist(folded(parse(client, out)))[0] == came


@pairs
def test_a_stream_folded_is_the_whole(pair: Pair) -> None:
    client, upstream, path = pair
    data = path.read_bytes()
    streamed = folded(parse(client, run(client, upstream, [data])))
    whole = folded(run_whole(client, upstream, data))
    if streamed.failed is not None:
        assert whole.failed is not None
        return
    assert gist(whole) == gist(streamed)
    assert streamed.ended is not None
    assert whole.ended is not None
    assert whole.ended.stop == streamed.ended.stop


@pairs
def test_there_and_back_keeps_what_a_client_can_tell_apart(pair: Pair) -> None:
    client, upstream, path = pair
    data = path.read_bytes()
    there = run(client, upstream, [data])
    back = run(upstream, client, [there])
    original, returned = folded(parse(upstream, run(upstream, upstream, [data]))), folded(parse(upstream, back))
    before, after = gist(original), gist(returned)
    if original.failed is not None:
        # A call that was cut off: some dialects tell calls whole or not at all.
        before[2] = before[2][: len(after[2])]  # type: ignore[index, arg-type]
    assert after == before


def with_unknown_members(value: object) -> object:
    if isinstance(value, dict):
        # A tool's input is the model's own: there every member is known.
        members = {k: v if k in ("input", "args") else with_unknown_members(v) for k, v in value.items()}
        return members | {"x_new": {"a": [1, None]}}
    return [with_unknown_members(v) for v in value] if isinstance(value, list) else value


@sse_pairs
def test_unknown_members_anywhere_change_nothing(pair: Pair) -> None:
    client, upstream, path = pair
    lines = []
    for line in path.read_bytes().replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            try:
                line = b"data: " + msgspec.json.encode(with_unknown_members(msgspec.json.decode(line[5:])))
            except msgspec.DecodeError:
                pass
        lines.append(line)
    before = folded(parse(client, run(client, upstream, [path.read_bytes()])))
    after = folded(parse(client, run(client, upstream, [b"\n".join(lines)])))
    assert gist(after) == gist(before)


JUNK = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"null", b"[]", b"{}", b"\n\n", b"3", b'"x"', b"true", b"data: ", b"-1", b'{"index":9}', b"\xff"]),
)


@goldens
@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.rows("F7")
def test_whatever_the_upstream_sends_the_client_gets_one_legal_response(
    golden: tuple[str, Path], data: st.DataObject
) -> None:
    upstream, path = golden
    client = data.draw(st.sampled_from(NAMES))
    blob = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(blob)))
        end = min(len(blob), start + data.draw(st.integers(0, 60)))
        blob[start:end] = data.draw(JUNK)
    parse(client, run(client, upstream, [bytes(blob)]))
    if data.draw(st.booleans()):
        run_whole(client, upstream, bytes(blob))
