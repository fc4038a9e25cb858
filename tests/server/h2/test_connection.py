"""The connection as conversations: what the peer says, what it hears. RFC 9113's sections are named."""

from __future__ import annotations

import hpack
import pytest

from extproc.server.h2 import frames
from extproc.server.h2.connection import DRAIN_PING, REMEMBERED, Connection
from extproc.server.h2.events import ConnectionEnded, DataReceived, RequestEnded, RequestReceived, StreamReset
from extproc.server.h2.frames import Code
from extproc.server.h2.heads import EMPTY_TABLE, block
from extproc.server.h2.limits import Counters, H2Limits
from extproc.server.h2.messages import HEADERS, OK_TRAILERS
from extproc.server.h2.states import ConnectionPhase

from .peer import HELLO, REQUEST, SETTINGS_ACK, Peer, data, decoded, headers, rst

F = frames.frame
BAD_BLOCK = b"\xff\xff\xff"
MORE = (":method", "POST"), (":scheme", "http"), (":path", "/x")


def window(stream_id: int, increment: int) -> bytes:
    return frames.window_update(stream_id, increment)


def padded(kind: int, stream_id: int, payload: bytes, padding: int, flags: int = 0) -> bytes:
    return F(kind, flags | frames.PADDED, stream_id, bytes((padding,)) + payload + bytes(padding))


def malformed(*fields: tuple[str, str]) -> bytes:
    return headers(3, block=block(*fields))


def ended(stream_id: int) -> bytes:
    """Ends on both sides: the test answers what it is asked."""
    return headers(stream_id, end=True)


CONNECTION_ERRORS = {
    "4.2 a frame too long": (F(frames.DATA, 0, 3, bytes(16385)), Code.FRAME_SIZE_ERROR),
    "4.3 a block that cannot be decoded": (headers(3, block=BAD_BLOCK), Code.COMPRESSION_ERROR),
    "4.3 trailers that cannot be decoded": (headers(3) + headers(3, end=True, block=BAD_BLOCK), Code.COMPRESSION_ERROR),
    "4.3 a block for a stream that is gone": (rst(1) + headers(1, block=BAD_BLOCK), Code.COMPRESSION_ERROR),
    "5.1 DATA on an idle stream": (data(3, b"x"), Code.PROTOCOL_ERROR),
    "5.1 RST_STREAM on an idle stream": (rst(3), Code.PROTOCOL_ERROR),
    "5.1 WINDOW_UPDATE on an idle stream": (window(3, 1), Code.PROTOCOL_ERROR),
    "5.1.1 an even stream": (headers(2), Code.PROTOCOL_ERROR),
    "5.1.1 an even stream above": (headers(4), Code.PROTOCOL_ERROR),
    "5.1.1 a lower stream": (headers(7) + headers(5), Code.PROTOCOL_ERROR),
    "5.5 an unknown frame in a block": (headers(3, flags=0) + F(99, 0, 3), Code.PROTOCOL_ERROR),
    "6.1 DATA on the connection": (data(0, b"x"), Code.PROTOCOL_ERROR),
    "6.1 more padding than DATA": (headers(3) + F(frames.DATA, frames.PADDED, 3, b"\5abcd"), Code.PROTOCOL_ERROR),
    "6.2 HEADERS on the connection": (headers(0), Code.PROTOCOL_ERROR),
    "6.2 more padding than HEADERS": (F(frames.HEADERS, frames.PADDED | 4, 3, b"\xffx"), Code.PROTOCOL_ERROR),
    "6.2 HEADERS too short for a priority": (F(frames.HEADERS, 0x24, 3, b"\0\0\0\0"), Code.FRAME_SIZE_ERROR),
    "6.3 PRIORITY on the connection": (F(frames.PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
    "6.4 RST_STREAM on the connection": (rst(0), Code.PROTOCOL_ERROR),
    "6.4 RST_STREAM of three bytes": (headers(3) + F(frames.RST_STREAM, 0, 3, bytes(3)), Code.FRAME_SIZE_ERROR),
    "6.5 SETTINGS on a stream": (F(frames.SETTINGS, 0, 3), Code.PROTOCOL_ERROR),
    "6.5 SETTINGS of five bytes": (F(frames.SETTINGS, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
    "6.5 an acknowledgment with a payload": (F(frames.SETTINGS, frames.ACK, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    "6.5.2 ENABLE_PUSH 2": (frames.settings({frames.ENABLE_PUSH: 2}), Code.PROTOCOL_ERROR),
    "6.5.2 a window above its end": (frames.settings({frames.INITIAL_WINDOW_SIZE: 2**31}), Code.FLOW_CONTROL_ERROR),
    "6.5.2 frames too small": (frames.settings({frames.MAX_FRAME_SIZE: 2**14 - 1}), Code.PROTOCOL_ERROR),
    "6.5.2 frames too large": (frames.settings({frames.MAX_FRAME_SIZE: 2**24}), Code.PROTOCOL_ERROR),
    "6.6 PUSH_PROMISE": (headers(3) + F(frames.PUSH_PROMISE, 4, 3, bytes(4) + REQUEST), Code.PROTOCOL_ERROR),
    "6.7 PING on a stream": (F(frames.PING, 0, 3, bytes(8)), Code.PROTOCOL_ERROR),
    "6.7 PING of seven bytes": (F(frames.PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "6.8 GOAWAY on a stream": (F(frames.GOAWAY, 0, 3, bytes(8)), Code.PROTOCOL_ERROR),
    "6.8 GOAWAY of seven bytes": (F(frames.GOAWAY, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "6.9 WINDOW_UPDATE of 0": (window(0, 0), Code.PROTOCOL_ERROR),
    "6.9 WINDOW_UPDATE of three bytes": (F(frames.WINDOW_UPDATE, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
    "6.9.1 a window past its end": (window(0, 2**31 - 1), Code.FLOW_CONTROL_ERROR),
    "6.9.2 SETTINGS that push a window past its end": (
        headers(3) + window(3, 2**31 - 1 - 65535) + frames.settings({frames.INITIAL_WINDOW_SIZE: 65536}),
        Code.FLOW_CONTROL_ERROR,
    ),
    "6.10 CONTINUATION of nothing": (F(frames.CONTINUATION, 4, 3, REQUEST), Code.PROTOCOL_ERROR),
    "6.10 CONTINUATION after the end": (headers(3) + F(frames.CONTINUATION, 4, 3, REQUEST), Code.PROTOCOL_ERROR),
    "6.10 CONTINUATION of another": (headers(3, flags=0) + F(frames.CONTINUATION, 4, 5), Code.PROTOCOL_ERROR),
    "6.10 CONTINUATION on the connection": (headers(3, flags=0) + F(frames.CONTINUATION, 4, 0), Code.PROTOCOL_ERROR),
    "6.10 DATA in a block": (headers(3, flags=0) + data(3), Code.PROTOCOL_ERROR),
    "6.10 HEADERS in a block": (headers(3, flags=0) + headers(5), Code.PROTOCOL_ERROR),
    "6.10 PING in a block": (headers(3, flags=0) + F(frames.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
}

STREAM_ERRORS = {
    "5.1 DATA after the end": (headers(3, end=True) + data(3, b"x"), Code.STREAM_CLOSED),
    "5.1 HEADERS after the end": (headers(3, end=True) + headers(3), Code.STREAM_CLOSED),
    "5.1 DATA after RST_STREAM": (headers(3) + rst(3) + data(3, b"x"), Code.STREAM_CLOSED),
    "5.1 HEADERS after RST_STREAM": (headers(3) + rst(3) + headers(3), Code.STREAM_CLOSED),
    "6.3 PRIORITY of four bytes": (headers(3) + F(frames.PRIORITY, 0, 3, bytes(4)), Code.FRAME_SIZE_ERROR),
    "6.9 WINDOW_UPDATE of 0": (headers(3) + window(3, 0), Code.PROTOCOL_ERROR),
    "6.9.1 a window past its end": (headers(3) + window(3, 2**31 - 1), Code.FLOW_CONTROL_ERROR),
    "8.1 trailers that do not end the stream": (headers(3) + headers(3, block=block(("a", "b"))), Code.PROTOCOL_ERROR),
    "8.1 trailers with a pseudo header": (headers(3) + headers(3, end=True), Code.PROTOCOL_ERROR),
    "8.1.1 more than content-length": (
        malformed(*MORE, ("content-length", "2")) + data(3, b"xxx"),
        Code.PROTOCOL_ERROR,
    ),
    "8.1.1 less than content-length": (
        malformed(*MORE, ("content-length", "2")) + data(3, b"x", end=True),
        Code.PROTOCOL_ERROR,
    ),
    "8.1.1 nothing, against content-length": (
        headers(3, end=True, block=block(*MORE, ("content-length", "2"))),
        Code.PROTOCOL_ERROR,
    ),
    "8.2.1 an upper-case name": (malformed(*MORE, ("Name", "x")), Code.PROTOCOL_ERROR),
    "8.2.2 a header of HTTP/1 connections": (malformed(*MORE, ("connection", "close")), Code.PROTOCOL_ERROR),
    "8.3 a pseudo header too many": (malformed(*MORE, (":path", "/y")), Code.PROTOCOL_ERROR),
    "8.3.1 no path": (malformed(*MORE[:2]), Code.PROTOCOL_ERROR),
}

ALLOWED = {
    "4.1 an unknown frame": F(99, 0xFF, 3, b"whatever"),
    "4.1 an unknown flag": headers(3, flags=0x44) + F(frames.DATA, 0xC2, 3, b"x"),
    "5.1 PRIORITY on an idle stream": F(frames.PRIORITY, 0, 9, bytes(5)),
    "5.1 PRIORITY on a closed stream": F(frames.PRIORITY, 0, 1, bytes(5)),
    "5.1 WINDOW_UPDATE after the end": headers(3, end=True) + window(3, 1),
    "5.1 RST_STREAM after the end": headers(3, end=True) + rst(3),
    "5.1 two after RST_STREAM": headers(3) + rst(3) + rst(3) + window(3, 1),
    "5.1.1 streams that are skipped": headers(99),
    "6.2 padding and priority": F(frames.HEADERS, 0x2D, 3, b"\2" + bytes(5) + REQUEST + bytes(2)),
    "6.5.2 an unknown setting": frames.settings({0x99: 1}),
    "6.5.3 an acknowledgment too many": SETTINGS_ACK,
    "6.8 GOAWAY": frames.goaway(0, Code.NO_ERROR, "bye"),
    "6.10 an empty block's parts": headers(3, flags=0, block=b"") + F(9, 0, 3, REQUEST) + F(9, 4, 3),
    "8.1 trailers": headers(3) + headers(3, end=True, block=block(("a", "b"))),
    "8.1.1 as much as content-length": (
        malformed(*MORE, ("content-length", "2")) + data(3, b"x") + data(3, b"x", end=True)
    ),
}


@pytest.mark.parametrize("name", CONNECTION_ERRORS)
def test_a_connection_error_is_answered_with_goaway_and_ends_everything(name: str) -> None:
    said, code = CONNECTION_ERRORS[name]
    peer = Peer()
    events = peer.say(said)
    assert isinstance(events[-1], ConnectionEnded) and events[-1].code is code
    last = peer.hear()[-1]
    assert (last.kind, last.code) == (frames.GOAWAY, code)
    assert peer.machine.over
    assert peer.counters.connection_errors == 1
    # Deaf from here on.
    assert peer.say(headers(101), F(frames.PING, 0, 0, bytes(8))) == []
    assert peer.hear() == []


@pytest.mark.parametrize("name", STREAM_ERRORS)
def test_a_stream_error_is_answered_with_rst_stream_and_the_others_go_on(name: str) -> None:
    said, code = STREAM_ERRORS[name]
    peer = Peer()
    peer.say(said)
    assert [(each.stream_id, each.code) for each in peer.hear() if each.kind == frames.RST_STREAM] == [(3, code)]
    assert peer.counters.stream_errors == 1
    assert 3 not in peer.machine.streams
    # What was on its way is discarded (5.1), and the connection lives.
    assert peer.say(data(3, b"more"), headers(3, end=True, block=block(("a", "b"))), window(3, 1), rst(3)) == []
    assert peer.alive()
    assert peer.say(headers(5)) != []


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_allowed_is_no_error(name: str) -> None:
    peer = Peer()
    events = peer.say(ALLOWED[name])
    assert not [event for event in events if isinstance(event, ConnectionEnded)]
    assert not [each for each in peer.hear() if each.kind in (frames.GOAWAY, frames.RST_STREAM)]
    assert peer.alive()


@pytest.mark.parametrize("name", [*CONNECTION_ERRORS, *STREAM_ERRORS, *ALLOWED])
def test_one_byte_at_a_time_is_answered_the_same(name: str) -> None:
    said = (CONNECTION_ERRORS | STREAM_ERRORS).get(name, (ALLOWED.get(name, b""), 0))[0]
    at_once, bit_by_bit = Peer(), Peer()
    events = at_once.say(said)
    # Long frames bring nothing here but time.
    step = 1 if len(said) < 1000 else 501
    assert [event for n in range(0, len(said), step) for event in bit_by_bit.say(said[n : n + step])] == events
    assert at_once.hear() == bit_by_bit.hear()


# ---- greetings


def test_the_servers_preface_comes_first() -> None:
    peer = Peer(H2Limits(max_concurrent_streams=7, connection_window=100_000), hello=False)
    settings, update = peer.hear()
    assert settings.kind == frames.SETTINGS
    values = dict(frames.SETTING.iter_unpack(settings.payload))
    assert values[frames.HEADER_TABLE_SIZE] == 0
    assert values[frames.MAX_CONCURRENT_STREAMS] == 7
    assert values[frames.INITIAL_WINDOW_SIZE] == peer.limits.stream_window
    assert update.payload == (100_000 - 65535).to_bytes(4, "big")
    peer.say(frames.PREFACE, frames.settings({}))
    assert [(each.kind, each.flags) for each in peer.hear()] == [(frames.SETTINGS, frames.ACK)]


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", b"\0"])
def test_no_preface(said: bytes) -> None:
    peer = Peer(hello=False)
    peer.say(said)
    assert peer.hear()[-1].code is Code.PROTOCOL_ERROR
    assert peer.machine.over


@pytest.mark.parametrize("said", [F(frames.PING, 0, 0, bytes(8)), headers(1), SETTINGS_ACK, F(99)])
def test_the_first_frame_is_settings(said: bytes) -> None:
    peer = Peer(hello=False)
    peer.say(frames.PREFACE, said)
    assert peer.hear()[-1].code is Code.PROTOCOL_ERROR


def test_requests_may_come_before_our_settings_are_acknowledged() -> None:
    peer = Peer(H2Limits(stream_window=100), hello=False)
    encoder = hpack.Encoder()
    peer.say(frames.PREFACE, frames.settings({}))
    for n in (1, 3):
        said = encoder.encode([(":method", "POST"), (":scheme", "http"), (":path", "/x"), ("x-secret", "value")])
        (event,) = peer.say(headers(n, block=said))
        assert isinstance(event, RequestReceived) and event.head.get("x-secret") == "value"
    # The RFC's default window until then, not ours.
    assert peer.say(data(1, bytes(16_000)))
    encoder.header_table_size = 0
    (event,) = peer.say(SETTINGS_ACK, headers(5, block=encoder.encode([*MORE])))
    assert isinstance(event, RequestReceived) and event.head.path == "/x"


def test_after_the_acknowledgment_the_table_must_be_emptied() -> None:
    peer = Peer(hello=False)
    peer.say(HELLO, headers(1))
    assert peer.hear()[-1].code is Code.COMPRESSION_ERROR


# ---- streams


def test_a_request_and_its_answer() -> None:
    peer = Peer()
    said = peer.say(headers(3), data(3, b"ping"), data(3, b"!", end=True))
    request, *rest = said
    assert isinstance(request, RequestReceived) and request.head.get("content-type") == "application/grpc"
    assert rest == [DataReceived(3, b"ping"), DataReceived(3, b"!"), RequestEnded(3)]
    machine = peer.machine
    machine.send_headers(3, HEADERS)
    machine.send_data(3, b"pong")
    machine.send_trailers(3, OK_TRAILERS)
    assert [tuple(each) for each in peer.hear()] == [
        (frames.HEADERS, frames.END_HEADERS, 3, HEADERS),
        (frames.DATA, 0, 3, b"pong"),
        (frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 3, OK_TRAILERS),
    ]
    assert not machine.streams
    # Ended on both sides: only WINDOW_UPDATE and RST_STREAM can still come (5.1).
    assert peer.say(window(3, 5), rst(3)) == []
    peer.say(data(3, b"late"))
    assert peer.hear()[-1].code is Code.STREAM_CLOSED


def test_an_early_answer_tells_the_peer_to_stop() -> None:
    peer = Peer()
    peer.say(headers(3))
    peer.machine.send_trailers(3, OK_TRAILERS)
    trailers, reset = peer.hear()
    assert trailers.flags & frames.END_STREAM
    assert (reset.kind, reset.code) == (frames.RST_STREAM, Code.NO_ERROR)
    assert peer.say(data(3, b"x", end=True), window(3, 0)) == []
    assert peer.alive()


def test_nothing_is_sent_on_a_stream_that_is_over() -> None:
    peer = Peer()
    peer.say(headers(3), rst(3))
    machine = peer.machine
    machine.send_headers(3, HEADERS)
    machine.send_data(3, b"x")
    machine.send_trailers(3, OK_TRAILERS)
    machine.reset(3, Code.CANCEL)
    machine.handled(3, 10)
    assert peer.hear() == []


def test_a_reset_takes_what_waits_with_it() -> None:
    peer = Peer()
    peer.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}), headers(3), headers(5))
    for n in (3, 5):
        peer.machine.send_data(n, bytes(1000))
    assert peer.machine.outbox.queued == 2000
    assert peer.say(rst(3)) == [StreamReset(3, Code.CANCEL, True)]
    peer.machine.reset(5, Code.CANCEL)
    assert peer.machine.pending() == [StreamReset(5, Code.CANCEL, False)]
    assert peer.machine.outbox.queued == 0
    assert peer.machine.tick(1000.0) == []


def test_the_way_of_closing_is_remembered_within_a_bound() -> None:
    peer = Peer()
    for n in range(3, 2 * REMEMBERED + 20, 2):
        peer.say(headers(n), rst(n))
    peer.hear()
    # Too long ago to know: a stream error, and not the connection's end.
    peer.say(data(3, b"x"))
    assert [each.code for each in peer.hear()] == [Code.STREAM_CLOSED]
    assert len(peer.machine._closed) <= REMEMBERED


def test_head_too_large_is_answered_as_http_does() -> None:
    peer = Peer(H2Limits(max_header_list_bytes=300))
    assert peer.say(headers(3, block=block(*MORE, ("x", "v" * 200)))) == []
    answer, _ = peer.hear()
    assert decoded(answer.payload) == {":status": "431"}
    assert peer.counters.abuse == {"max_header_list_bytes": 1}
    assert peer.alive()


def test_settings_that_resize_the_table_are_answered_in_the_next_block() -> None:
    peer = Peer()
    peer.say(frames.settings({frames.HEADER_TABLE_SIZE: 100}), headers(3), headers(5))
    peer.machine.send_headers(3, HEADERS)
    peer.machine.send_headers(5, HEADERS)
    blocks = [each.payload for each in peer.hear() if each.kind == frames.HEADERS]
    assert blocks == [EMPTY_TABLE + HEADERS, HEADERS]


# ---- windows


def test_what_is_handled_opens_the_streams_window_again() -> None:
    peer = Peer(H2Limits(stream_window=100_000))
    peer.say(headers(3), data(3, bytes(10_000)), data(3, bytes(16_000)), data(3, bytes(16_000)), data(3, bytes(16_000)))
    assert peer.hear() == []
    peer.machine.handled(3, 49_999)
    assert peer.hear() == []
    peer.machine.handled(3, 1)
    assert [tuple(each) for each in peer.hear()] == [(frames.WINDOW_UPDATE, 0, 3, (50_000).to_bytes(4, "big"))]


def test_padding_is_given_back_too() -> None:
    peer = Peer(H2Limits(stream_window=65535))
    peer.say(headers(3))
    for _ in range(400):
        peer.say(padded(frames.DATA, 3, b"x", 250))
        peer.machine.handled(3, 1)
    assert peer.alive()
    assert 3 in peer.machine.streams


def test_the_connections_window_opens_whoever_has_not_handled_what() -> None:
    peer = Peer(H2Limits(connection_window=65535))
    peer.say(headers(3))
    peer.say(data(3, bytes(16_000)), data(3, bytes(16_000)), data(3, bytes(16_000)))
    assert [(each.stream_id, int.from_bytes(each.payload, "big")) for each in peer.hear()] == [(0, 48_000)]


def test_data_for_streams_that_are_gone_counts_for_the_connection() -> None:
    peer = Peer(H2Limits(connection_window=65535))
    peer.say(headers(3))
    peer.machine.reset(3, Code.CANCEL)
    peer.hear()
    for _ in range(20):
        peer.say(data(3, bytes(16_000)))
    assert sum(int.from_bytes(each.payload, "big") for each in peer.hear()) >= 20 * 16_000 - 65535 // 2 - 16_000
    assert peer.alive()


# ---- the end


def test_a_drain_is_two_goaways() -> None:
    peer = Peer()
    peer.say(headers(3))
    peer.machine.drain(0.0)
    goaway, ping = peer.hear()
    assert goaway.payload == frames.GOAWAY_HEAD.pack(2**31 - 1, Code.NO_ERROR)
    assert ping.payload == DRAIN_PING
    # This one was on its way.
    assert isinstance(peer.say(headers(5))[0], RequestReceived)
    peer.say(F(frames.PING, frames.ACK, 0, DRAIN_PING))
    (goaway,) = peer.hear()
    assert goaway.payload == frames.GOAWAY_HEAD.pack(5, Code.NO_ERROR)
    # These are not taken, and no error either: the peer was told (6.8).
    assert peer.say(headers(7), data(7, b"x"), window(7, 1), rst(7)) == []
    assert peer.alive() and not peer.machine.over
    for n in (3, 5):
        peer.machine.send_trailers(n, OK_TRAILERS)
    peer.hear()
    assert peer.machine.over
    peer.machine.drain(0.0)
    assert peer.hear() == []


def test_a_drain_does_not_wait_for_a_peer_that_answers_no_ping() -> None:
    peer = Peer()
    peer.machine.drain(0.0)
    peer.hear()
    assert not peer.machine.over
    peer.machine.tick(1.5)
    assert [each.kind for each in peer.hear()] == [frames.GOAWAY]
    assert peer.machine.over


def test_a_drain_before_the_greeting_is_the_end() -> None:
    peer = Peer(hello=False)
    peer.machine.drain(0.0)
    assert peer.hear()[-1].kind == frames.GOAWAY
    assert peer.machine.over and peer.machine.phase is ConnectionPhase.FAILED


def test_a_peer_that_leaves_may_finish() -> None:
    peer = Peer()
    peer.say(headers(3), frames.goaway(0, Code.NO_ERROR))
    assert not peer.machine.over
    peer.machine.send_trailers(3, OK_TRAILERS)
    assert peer.machine.over


def test_a_ping_is_answered_and_an_answer_is_not() -> None:
    peer = Peer()
    peer.say(F(frames.PING, 0, 0, b"12345678"), F(frames.PING, frames.ACK, 0, b"12345678"))
    assert [tuple(each) for each in peer.hear()] == [(frames.PING, frames.ACK, 0, b"12345678")]


def test_a_fresh_connection_holds_nothing() -> None:
    machine = Connection(H2Limits(), Counters(), 0.0)
    assert machine.receive(b"", 0.0) == [] and machine.pending() == []
    assert not machine.over
