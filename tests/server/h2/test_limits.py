"""Each bound by its name: what a peer gets that goes past it, and that it is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

import pytest

from extproc.server.h2 import frames
from extproc.server.h2.connection import HEADERS_TOO_LARGE
from extproc.server.h2.frames import Code
from extproc.server.h2.heads import block
from extproc.server.h2.limits import H2Limits, Rate, of_our_own
from extproc.server.h2.messages import prefixed
from extproc.server.h2.session import CALL_BYTES
from extproc.server.memory import Budget

from .peer import ECHO, HELLO, REQUEST, Caller, Echo, Frame, Peer, data, decoded, headers, rst

F = frames.frame
COVERED: dict[str, Callable[[], None]] = {}


def covers(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(test: Callable[[], None]) -> Callable[[], None]:
        COVERED[name] = test
        return test

    return register


def gone(peer: Peer, code: Code, name: str) -> bool:
    """The connection ended with this code, and the bound was counted once."""
    last = peer.hear()[-1]
    return (last.kind, last.code, peer.counters.abuse) == (frames.GOAWAY, code, {name: 1}) and peer.machine.over


def resets(heard: list[Frame]) -> list[tuple[int, Code]]:
    return [(each.stream_id, each.code) for each in heard if each.kind == frames.RST_STREAM]


def grpc_status(heard: list[Frame]) -> str:
    (last,) = [each for each in heard if each.kind == frames.HEADERS and each.flags & frames.END_STREAM]
    return decoded(last.payload)["grpc-status"]


def floods(name: str, said: Callable[[int], bytes], **more: int) -> None:
    """``limit`` is fine within the period, again in the next, and one more is not."""
    peer = Peer(H2Limits(**{name: 5}, **more), hello=False)
    peer.say(HELLO, headers(1, block=b"\x20" + REQUEST))
    used = peer.machine._rates[name].count
    for n in range(5 - used):
        peer.say(said(n))
    peer.now = 10.0
    for n in range(5, 10):
        peer.say(said(n))
    assert not peer.machine.over and peer.counters.abuse == {}
    peer.say(said(10))
    assert gone(peer, Code.ENHANCE_YOUR_CALM, name)


@covers("max_concurrent_streams")
def test_concurrent_streams() -> None:
    peer = Peer(H2Limits(max_concurrent_streams=2))
    peer.say(headers(3), headers(5), headers(7))
    assert resets(peer.hear()) == [(7, Code.REFUSED_STREAM)]
    assert peer.counters.abuse == {"max_concurrent_streams": 1}
    # Refused, not ended: what was on its way is discarded, and when another ends there is room again.
    peer.say(data(7, b"x"), rst(3), headers(9))
    assert resets(peer.hear()) == []
    assert set(peer.machine.streams) == {5, 9}


@covers("max_header_list_bytes")
def test_header_list() -> None:
    peer = Peer(H2Limits(max_header_list_bytes=400))
    peer.say(headers(3, block=REQUEST + block(("x", "v" * 300))))
    assert peer.hear()[0].payload == HEADERS_TOO_LARGE
    assert peer.counters.abuse == {"max_header_list_bytes": 1}
    assert peer.alive()
    peer.counters.abuse.clear()
    peer.say(headers(5, block=REQUEST + block(("x", "v" * 2000))))
    assert gone(peer, Code.ENHANCE_YOUR_CALM, "max_header_list_bytes")


@covers("max_continuations")
def test_continuations() -> None:
    for part in (b"", b"\0\1x\1y"):
        peer = Peer(H2Limits(max_continuations=3))
        peer.say(headers(3, flags=0), *[F(frames.CONTINUATION, 0, 3, part)] * 3)
        assert peer.hear() == []
        peer.say(F(frames.CONTINUATION, 0, 3, part))
        assert gone(peer, Code.ENHANCE_YOUR_CALM, "max_continuations")


def test_continuations_by_their_bytes() -> None:
    peer = Peer(H2Limits(max_header_list_bytes=20_000))
    peer.say(headers(3, flags=0, block=bytes(16_000)), F(frames.CONTINUATION, 0, 3, bytes(4001)))
    assert gone(peer, Code.ENHANCE_YOUR_CALM, "max_continuations")


@covers("max_resets")
def test_rapid_resets() -> None:
    floods("max_resets", lambda n: headers(2 * n + 3) + rst(2 * n + 3))


def test_resets_that_the_peer_makes_us_send_count_too() -> None:
    floods("max_resets", lambda n: headers(2 * n + 3) + frames.window_update(2 * n + 3, 0))


def test_resets_on_streams_that_are_gone_count_too() -> None:
    def late_data(n: int) -> bytes:
        return headers(2 * n + 3) + rst(2 * n + 3) + data(2 * n + 3, b"x")

    peer = Peer(H2Limits(max_resets=5))
    for n in range(4):
        peer.say(late_data(n))
    assert peer.hear()[-1].kind == frames.GOAWAY


def test_refused_streams_count_as_resets() -> None:
    peer = Peer(H2Limits(max_resets=5, max_concurrent_streams=1))
    peer.say(*[headers(n) for n in range(3, 15, 2)])
    assert peer.hear()[-1].code is Code.ENHANCE_YOUR_CALM


def test_resets_after_an_answer_are_how_envoy_ends_streams() -> None:
    peer = Caller(H2Limits(max_resets=5))
    for n in range(3, 103, 2):
        peer.say(headers(n), data(n, prefixed(b"x")))
        peer.say(rst(n))
    assert peer.alive()


@covers("max_settings")
def test_settings_flood() -> None:
    floods("max_settings", lambda n: frames.settings({}))


@covers("max_settings_entries")
def test_settings_entries_flood() -> None:
    floods("max_settings_entries", lambda n: frames.settings({99: n}))


@pytest.mark.replaces_code
def test_a_frame_of_many_settings_moves_the_windows_once() -> None:
    peer = Caller(H2Limits(max_concurrent_streams=17_000))
    peer.say(*[headers(n) for n in range(3, 16_003, 2)])
    moved = []
    resize = peer.machine._connection.outbox.resize
    peer.machine._connection.outbox.resize = lambda streams, size: moved.append(size) or resize(streams, size)  # type: ignore[method-assign, func-returns-value]
    entries = b"".join(frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, 65535 - n % 2) for n in range(900))
    peer.say(F(frames.SETTINGS, payload=entries))
    assert moved == [65534] and peer.alive()
    assert {stream.send_window for stream in peer.machine._connection.streams.values()} == {65534}


@covers("max_small_data")
def test_small_data_flood() -> None:
    floods("max_small_data", lambda n: data(1, b"x" * (1 + n)))


@covers("max_late_frames")
def test_late_frames_flood() -> None:
    peer = Peer(H2Limits(max_late_frames=5))
    peer.say(headers(3), rst(3))
    for _ in range(3):
        peer.say(rst(3))
    for _ in range(2):
        peer.say(frames.window_update(3, 1))
    assert not peer.machine.over
    peer.say(rst(3))
    assert gone(peer, Code.ENHANCE_YOUR_CALM, "max_late_frames")


@covers("max_window_updates")
def test_window_updates_flood() -> None:
    floods("max_window_updates", lambda n: frames.window_update(n % 2, 1))


@covers("max_empty_messages")
def test_empty_messages_flood() -> None:
    peer = Caller(H2Limits(max_empty_messages=5))
    peer.say(headers(3), data(3, prefixed(b"") * 5))
    assert peer.alive()
    peer.say(data(3, prefixed(b"")))
    assert gone(peer, Code.ENHANCE_YOUR_CALM, "max_empty_messages")


@covers("turn_frames")
def test_a_turn_is_of_so_many_frames() -> None:
    peer = Peer(H2Limits(turn_frames=3))
    wire = b"".join(F(frames.PING, 0, 0, bytes([n]) * 8) for n in range(8))
    for part in (wire[:40], wire[40:]):
        peer.machine.receive(part, 0.0)
    answered = []
    while True:
        answered.append(len([each for each in peer.hear_now() if each.kind == frames.PING]))
        if not peer.machine.more:
            break
        peer.machine.proceed(0.0)
    assert sum(answered) == 8 and max(answered) <= 6 and len(answered) >= 2


@covers("turn_messages")
def test_a_turn_is_of_so_many_messages() -> None:
    peer = Caller(H2Limits(turn_messages=3))
    said = [bytes([n]) for n in range(8)]
    peer.machine.receive(headers(3) + data(3, b"".join(map(prefixed, said)), end=True) + headers(5), 0.0)
    handled = [len(peer.answerers[0].received)]
    while peer.machine.more:
        peer.machine.proceed(0.0)
        handled.append(len(peer.answerers[0].received))
    assert handled == [3, 6, 8] and peer.answerers[0].received == said
    assert grpc_status(peer.hear()) == "0"


@covers("silent_seconds")
def test_a_call_on_which_nothing_comes() -> None:
    peer = Caller()
    peer.say(headers(3), headers(5), data(5, prefixed(b"x")))
    peer.hear()
    peer.machine.tick(9.0)
    assert resets(peer.hear()) == []
    peer.machine.tick(10.0)
    assert resets(peer.hear()) == [(3, Code.CANCEL)]
    assert peer.counters.abuse == {"silent_seconds": 1} and peer.alive()


@covers("room_seconds")
def test_a_long_message_waits_for_room_so_long() -> None:
    budget = Budget(3_000_000)
    first, second = (Caller(H2Limits(stream_window=65535), budget=budget) for _ in range(2))
    for peer in (first, second):
        peer.say(headers(3), data(3, prefixed(bytes(2_000_000))[:16000]))
    assert len(budget.waiting) == 1 and budget.held < 2_100_000
    assert not [each for each in second.hear() if each.kind == frames.WINDOW_UPDATE]
    # The one that has room is heard; one that does not use it loses it.
    first.now = second.now = 3.0
    first.say(data(3, bytes(16000)))
    for peer in (first, second):
        peer.machine.tick(5.0)
    assert grpc_status(second.hear()) == "8" and first.alive()
    assert not budget.waiting
    first.hear()
    first.machine.tick(8.0)
    assert grpc_status(first.hear()) == "8"
    assert budget.held == 0
    assert first.counters.abuse == second.counters.abuse == {"room_seconds": 1}


def test_a_long_message_that_waited_is_taken_when_there_is_room() -> None:
    budget = Budget(3_000_000)
    asked: list[bool] = []
    budget.on_room = lambda: asked.append(True)
    first, second = (Caller(H2Limits(stream_window=65535), budget=budget) for _ in range(2))
    for peer in (first, second):
        peer.say(headers(3), data(3, prefixed(bytes(2_000_000))[:16000]))
    assert not budget.admit()
    first.say(rst(3))
    assert asked and budget.admit() and not budget.waiting
    sent = 16000
    while sent < 2_000_005:
        second.say(data(3, bytes(min(16000, 2_000_005 - sent))))
        sent += 16000
        second.hear()
    assert second.answerers[0].received == [bytes(2_000_000)]
    second.machine.abandon()
    assert budget.held == 0


@covers("max_frame_bytes")
def test_a_frame_is_no_longer_than_was_said() -> None:
    for limits in (H2Limits(), of_our_own(H2Limits())):
        most = limits.max_frame_bytes
        peer = Peer(limits)
        (said,) = [each for each in Peer(limits, hello=False).hear() if each.kind == frames.SETTINGS]
        assert dict(frames.SETTING.iter_unpack(said.payload))[frames.MAX_FRAME_SIZE] == most
        peer.say(headers(3), data(3, bytes(most)))
        assert peer.alive()
        peer.say(frames.head(frames.DATA, 0, 3, most + 1))
        assert peer.hear()[-1].code == Code.FRAME_SIZE_ERROR and peer.machine.over


def test_a_long_message_may_be_answered_before_it_has_come() -> None:
    class Refusing(Echo):
        def expect(self, size: int) -> Sequence[bytes]:
            return (b"%d" % size,) if size > 1_500_000 else ()

    budget = Budget(3_000_000)
    peer = Caller(methods={ECHO: Refusing}, budget=budget)
    peer.say(headers(3), data(3, prefixed(bytes(1_000_000))[:16000]))
    assert budget.held > 1_000_000 and not any(each.kind == frames.HEADERS for each in peer.hear())
    peer.say(headers(5), data(5, prefixed(bytes(2_000_000))[:16000]))
    heard = peer.hear()
    assert grpc_status(heard) == "0" and b"2000005" in b"".join(each.payload for each in heard)
    assert budget.held < 1_100_000 and not budget.waiting and peer.alive()


def test_what_all_connections_hold_has_one_bound() -> None:
    budget = Budget(1_000_000)
    peers = [Caller(budget=budget) for _ in range(20)]
    for peer in peers:
        peer.say(headers(3), *[data(3, part) for part in (prefixed(bytes(200_000))[:15000], *[bytes(15000)] * 9)])
    refused = [peer for peer in peers if peer.answerers[0].closed]
    assert 10 < len(refused) < 20 and budget.held <= 1_000_000
    assert all(grpc_status(peer.hear()) == "8" for peer in refused)
    for peer in peers:
        peer.machine.abandon()
    assert budget.held == 0


def test_answers_that_wait_count_with_all_others() -> None:
    budget = Budget(100_000)
    peers = [Caller(budget=budget) for _ in range(10)]
    for peer in peers:
        peer.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}), headers(3), data(3, prefixed(bytes(15_000))))
        peer.hear()
    assert 0 < budget.held <= 100_000
    assert sum(peer.counters.abuse.get("max_held_bytes", 0) for peer in peers) >= 3
    for peer in peers:
        peer.machine.abandon()
    assert budget.held == 0


def test_a_call_on_which_nothing_came_gives_way_on_whatever_connection() -> None:
    budget = Budget(10 * CALL_BYTES)
    silent, other = Caller(budget=budget), Caller(budget=budget)
    silent.say(*[headers(n) for n in range(3, 23, 2)])
    other.say(headers(3), data(3, prefixed(b"x")), headers(5))
    assert resets(silent.hear()) == [(3, Code.CANCEL), (5, Code.CANCEL)] and resets(other.hear()) == []
    assert budget.held == 10 * CALL_BYTES
    # Where none is silent there is none to give way.
    other.say(*[each for n in range(7, 47, 2) for each in (headers(n), data(n, prefixed(b"x")))])
    silent.hear()
    refused = resets(other.hear())
    assert refused[0] == (5, Code.CANCEL) and {code for _, code in refused[1:]} == {Code.REFUSED_STREAM}
    assert budget.held == 10 * CALL_BYTES and not budget.silent


@covers("max_pings")
def test_ping_flood() -> None:
    floods("max_pings", lambda n: F(frames.PING, n % 2, 0, bytes(8)))


@covers("max_empty_data")
def test_empty_data_flood() -> None:
    floods("max_empty_data", lambda n: data(1) if n % 2 else F(frames.DATA, frames.PADDED, 1, b"\2\0\0"))


def test_an_empty_end_is_not_a_flood() -> None:
    peer = Caller(H2Limits(max_empty_data=2))
    for n in range(3, 43, 2):
        peer.say(headers(n), data(n, end=True))
    assert peer.alive()


@covers("max_stray_frames")
def test_stray_frames_flood() -> None:
    floods("max_stray_frames", lambda n: F(99) if n % 2 else F(frames.PRIORITY, 0, 1, bytes(5)))


@covers("max_message_bytes")
def test_message_size() -> None:
    peer = Caller(H2Limits(max_message_bytes=100))
    peer.say(headers(3), data(3, prefixed(bytes(100))))
    assert len(peer.answerers[0].received) == 1
    peer.hear()
    # Refused by its prefix; its bytes are not waited for.
    peer.say(data(3, prefixed(bytes(101))[:5]))
    heard = peer.hear()
    assert grpc_status(heard) == "8"
    assert resets(heard) == [(3, Code.NO_ERROR)]
    assert peer.counters.abuse == {"max_message_bytes": 1}
    assert peer.answerers[0].closed == 1


@covers("max_buffered_bytes")
def test_buffered_bytes() -> None:
    peer = Caller(H2Limits(max_buffered_bytes=1000))
    unfinished = prefixed(bytes(900))[:700]
    peer.say(headers(3), data(3, unfinished), headers(5), data(5, unfinished))
    heard = peer.hear()
    assert grpc_status(heard) == "8" and resets(heard) == [(5, Code.NO_ERROR)]
    assert peer.counters.abuse == {"max_buffered_bytes": 1}
    # What was refused no longer counts, nor what was finished.
    peer.say(data(3, bytes(205)))
    assert peer.answerers[0].received == [bytes(900)]
    peer.say(headers(7), data(7, unfinished))
    assert resets(peer.hear()) == []


@covers("max_stream_output")
def test_output_of_one_stream() -> None:
    peer = Caller(H2Limits(max_stream_output=1000, stream_window=65535))
    peer.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}), headers(3), headers(5))
    peer.say(*[data(3, prefixed(bytes(195)))] * 100, data(5, prefixed(b"x")))
    # The sixth message finds 1,000 bytes waiting, and is not handled; the other stream is.
    assert [len(each.received) for each in peer.answerers] == [5, 1]
    assert not [each for each in peer.hear() if each.kind == frames.WINDOW_UPDATE]
    peer.say(frames.window_update(3, 200))
    peer.hear()
    assert len(peer.answerers[0].received) == 6
    peer.say(frames.window_update(3, 10**6))
    echoed = b"".join(each.payload for each in peer.hear() if each.kind == frames.DATA)
    assert echoed == prefixed(bytes(195)) * 99
    assert len(peer.answerers[0].received) == 100


@covers("max_queued_output")
def test_output_of_all_streams() -> None:
    peer = Caller(H2Limits(max_queued_output=1000))
    peer.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}), headers(3), headers(5))
    peer.say(data(3, prefixed(bytes(300))), data(5, prefixed(bytes(600))))
    assert resets(peer.hear()) == []
    peer.say(data(3, prefixed(bytes(195))))
    assert resets(peer.hear()) == [(5, Code.ENHANCE_YOUR_CALM)]
    assert peer.counters.abuse == {"max_queued_output": 1}
    assert [each.closed for each in peer.answerers] == [0, 1]


@covers("stream_window")
def test_more_than_the_streams_window() -> None:
    peer = Peer(H2Limits(stream_window=70_000))
    peer.say(headers(3), headers(5), *[data(3, bytes(14_000))] * 5)
    assert resets(peer.hear()) == []
    peer.say(data(3, b"x"))
    assert resets(peer.hear()) == [(3, Code.FLOW_CONTROL_ERROR)]
    assert peer.counters.abuse == {"stream_window": 1}
    assert peer.alive()


@covers("connection_window")
def test_more_than_the_connections_window() -> None:
    # It opens again at half, so only one read can hold too much.
    peer = Peer(H2Limits(connection_window=65535))
    peer.machine._receive_window = 100
    peer.say(headers(3), data(3, bytes(101)))
    assert gone(peer, Code.FLOW_CONTROL_ERROR, "connection_window")


@covers("handshake_seconds")
def test_a_slow_preface() -> None:
    for said in (b"", frames.PREFACE[:10], frames.PREFACE):
        peer = Peer(hello=False)
        peer.say(said)
        peer.machine.tick(9.9)
        assert not peer.machine.over
        peer.machine.tick(10.0)
        assert gone(peer, Code.PROTOCOL_ERROR, "handshake_seconds")


def test_settings_that_are_never_acknowledged() -> None:
    peer = Peer(hello=False)
    peer.say(frames.PREFACE, frames.settings({}))
    peer.machine.tick(10.0)
    assert gone(peer, Code.SETTINGS_TIMEOUT, "handshake_seconds")


@covers("stall_seconds")
def test_a_reader_that_stalls_one_stream() -> None:
    peer = Caller()
    peer.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 3}), headers(3), data(3, prefixed(b"xx")))
    peer.hear()
    peer.now = 50.0
    peer.say(frames.window_update(3, 1))
    peer.hear()
    for now in (60.0, 109.0):
        peer.machine.tick(now)
        assert peer.hear() == []
    peer.machine.tick(111.0)
    assert resets(peer.hear()) == [(3, Code.ENHANCE_YOUR_CALM)]
    assert peer.counters.abuse == {"stall_seconds": 1}
    assert peer.answerers[0].closed == 1
    assert peer.alive()


def test_a_reader_that_stalls_the_connection() -> None:
    peer = Caller(H2Limits(max_stream_output=10**6))
    peer.say(headers(3), *[data(3, prefixed(bytes(16_000)))] * 5)
    peer.hear()
    peer.machine.tick(59.0)
    assert peer.hear() == []
    peer.machine.tick(61.0)
    assert gone(peer, Code.ENHANCE_YOUR_CALM, "stall_seconds")
    assert peer.answerers[0].closed == 1


def test_a_stall_is_counted_from_its_own_beginning() -> None:
    peer = Caller(H2Limits(max_stream_output=10**6))
    peer.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}), headers(3), data(3, prefixed(b"stuck")))
    peer.hear()
    # Another stream uses up the connection's window, long after the first one stopped.
    peer.now = 59.0
    peer.say(headers(5), frames.window_update(5, 10**6), *[data(5, prefixed(bytes(16_000)))] * 5)
    peer.hear()
    peer.machine.tick(61.0)
    assert resets(peer.hear()) == [(3, Code.ENHANCE_YOUR_CALM)]
    assert not peer.machine.over
    peer.machine.tick(118.0)
    assert peer.hear() == []
    peer.machine.tick(120.0)
    assert peer.hear()[-1].kind == frames.GOAWAY


@covers("flood_seconds")
def test_a_rate_starts_anew_with_each_period() -> None:
    rate = Rate(2, 10.0)
    assert [rate.exceeded(now) for now in (0.0, 1.0, 2.0, 9.9, 10.0, 11.0, 12.0)] == [
        False, False, True, True, False, False, True,
    ]  # fmt: skip


def test_every_bound_has_its_test() -> None:
    assert set(COVERED) == {each.name for each in fields(H2Limits)}


@pytest.mark.parametrize("name", [each.name for each in fields(H2Limits)])
def test_every_bound_is_a_positive_number(name: str) -> None:
    assert getattr(H2Limits(), name) > 0


def test_of_a_peer_that_passes_on_no_rates_are_counted() -> None:
    peer = Caller(of_our_own(H2Limits(max_small_data=3, max_empty_messages=3, max_resets=3)))
    peer.say(headers(3), *[data(3, byte) for byte in (b"\0",) * 50])
    for stream in range(5, 25, 2):
        peer.say(headers(stream), rst(stream))
    assert peer.alive()
