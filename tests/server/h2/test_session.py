"""Calls as conversations."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from extproc.server.h2 import frames
from extproc.server.h2.frames import Code
from extproc.server.h2.heads import EMPTY_TABLE, Head, block
from extproc.server.h2.limits import Counters, H2Limits
from extproc.server.h2.messages import HEADERS, OK_TRAILERS, CallFailed, Status, prefixed
from extproc.server.h2.session import COPIED, Method, Outlet

from .peer import ECHO, HELLO, REQUEST, Caller, Echo, Frame, data, decoded, headers, rst


def call(**fields: str) -> bytes:
    """A call's block; ``content_type`` for content-type, ``_method`` for :method."""
    named = {name.replace("_", ":" if name[0] == "_" else "-"): value for name, value in fields.items()}
    given = {":method": "POST", ":scheme": "http", ":path": ECHO, "content-type": "application/grpc"} | named
    return block(*given.items())


def answers(heard: list[Frame], stream_id: int = 3) -> bytes:
    return b"".join(each.payload for each in heard if each.kind == frames.DATA and each.stream_id == stream_id)


def end(heard: list[Frame], stream_id: int = 3) -> dict[str, str]:
    """The fields of the block that ends a stream."""
    (last,) = [
        each
        for each in heard
        if each.kind == frames.HEADERS and each.flags & frames.END_STREAM and each.stream_id == stream_id
    ]
    return decoded(last.payload)


def test_a_call_from_its_first_byte_to_its_last() -> None:
    peer = Caller()
    peer.say(headers(3, block=call(x_role="router")), data(3, prefixed(b"one")))
    assert [tuple(each) for each in peer.hear()] == [
        (frames.HEADERS, frames.END_HEADERS, 3, HEADERS),
        (frames.DATA, 0, 3, prefixed(b"one")),
    ]
    (answerer,) = peer.answerers
    assert answerer.head.get("x-role") == "router"
    peer.say(data(3, prefixed(b"two")))
    assert [each.kind for each in peer.hear()] == [frames.DATA]
    assert answerer.closed == 0
    peer.say(data(3, end=True))
    assert [tuple(each) for each in peer.hear()] == [(frames.HEADERS, 5, 3, OK_TRAILERS)]
    assert (answerer.received, answerer.closed) == ([b"one", b"two"], 1)


def test_what_came_in_one_read_is_answered_in_one_write() -> None:
    peer = Caller()
    for_one = prefixed(b"a") + prefixed(b"b")
    peer.say(*[headers(n) + data(n, for_one) + data(n, prefixed(b"c"), end=True) for n in (3, 5, 7)])
    out = peer.machine.output(peer.now)
    assert peer.machine.output(peer.now) == b""
    assert out.count(b"grpc-status") == 3
    assert [each.received for each in peer.answerers] == [[b"a", b"b", b"c"]] * 3


def test_one_message_over_many_frames() -> None:
    peer = Caller()
    peer.say(headers(3))
    for byte in prefixed(b"slowly"):
        assert peer.answerers[0].received == []
        peer.say(data(3, bytes((byte,))))
    assert answers(peer.hear()) == prefixed(b"slowly")


@pytest.mark.parametrize("size", [0, COPIED, COPIED + 1, 100_000])
def test_messages_of_any_size(size: int) -> None:
    peer = Caller()
    peer.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 10**6}), frames.window_update(0, 10**6), headers(3))
    wire = prefixed(bytes(size))
    peer.say(*[data(3, wire[n : n + 16_000]) for n in range(0, len(wire), 16_000)])
    assert answers(peer.hear()) == wire


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto", "application/grpc;x=y"])
def test_content_types_of_grpc(kind: str) -> None:
    peer = Caller()
    peer.say(headers(3, block=call(content_type=kind), end=True))
    assert end(peer.hear())["grpc-status"] == "0"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"content_type": "application/json"}, "415"),
        ({"content_type": "application/grpc-web"}, "415"),
        ({"content_type": ""}, "415"),
        ({"_method": "GET"}, "405"),
    ],
)
def test_what_is_not_grpc_is_answered_as_http_does(fields: dict[str, str], status: str) -> None:
    peer = Caller()
    peer.say(headers(3, block=call(**fields)), data(3, prefixed(b"x")))
    heard = peer.hear()
    assert end(heard)[":status"] == status
    assert heard[-1].code is Code.NO_ERROR
    assert peer.answerers == []


def test_an_unknown_method() -> None:
    peer = Caller()
    peer.say(headers(3, block=call(_path="/test.Test/Nothing")), data(3, prefixed(b"x"), end=True))
    fields = end(peer.hear())
    assert fields["grpc-status"] == "12" and "/test.Test/Nothing" in fields["grpc-message"]


def test_a_compressed_message() -> None:
    peer = Caller()
    peer.say(headers(3, block=call(grpc_encoding="gzip")), data(3, b"\1\0\0\0\1x"))
    fields = end(peer.hear())
    assert fields["grpc-status"] == "12" and fields["grpc-accept-encoding"] == "identity"


def test_a_deadline_is_ignored() -> None:
    peer = Caller()
    peer.say(headers(3, block=call(grpc_timeout="1n")), data(3, prefixed(b"x"), end=True))
    peer.now = 100.0
    assert end(peer.hear())["grpc-status"] == "0"


def test_an_end_inside_a_message() -> None:
    peer = Caller()
    peer.say(headers(3), data(3, prefixed(b"whole") + prefixed(b"half")[:-1], end=True))
    heard = peer.hear()
    assert answers(heard) == prefixed(b"whole")
    assert end(heard)["grpc-status"] == "13"


def test_trailers_end_a_call_too() -> None:
    peer = Caller()
    peer.say(headers(3), data(3, prefixed(b"x")), headers(3, end=True, block=block(("x", "y"))))
    assert end(peer.hear())["grpc-status"] == "0"


def test_a_reset_closes_the_answerer_after_what_came_before_it() -> None:
    peer = Caller()
    peer.say(headers(3), data(3, prefixed(b"last")), rst(3))
    (answerer,) = peer.answerers
    assert (answerer.received, answerer.closed) == ([b"last"], 1)
    assert answers(peer.hear()) == b""


def test_the_connections_end_closes_all() -> None:
    peer = Caller()
    peer.say(headers(3), headers(5), data(5, prefixed(b"x")), frames.frame(frames.PUSH_PROMISE, 0, 3))
    assert [each.closed for each in peer.answerers] == [1, 1]
    assert peer.answerers[1].received == [b"x"]
    peer.machine.abandon()
    assert [each.closed for each in peer.answerers] == [1, 1]


def test_a_lost_connection_closes_all() -> None:
    peer = Caller()
    peer.say(headers(3), headers(5))
    peer.machine.abandon()
    assert [each.closed for each in peer.answerers] == [1, 1]


def test_a_window_opens_by_what_was_handled_and_by_no_more() -> None:
    peer = Caller(H2Limits(stream_window=65535))
    peer.say(headers(3))
    opened, wire = 0, prefixed(bytes(9_000))
    for sent in range(1, 51):
        peer.say(data(3, wire), frames.window_update(3, len(wire)), frames.window_update(0, len(wire)))
        updates = [each for each in peer.hear() if each.kind == frames.WINDOW_UPDATE and each.stream_id]
        opened += sum(int.from_bytes(each.payload, "big") for each in updates)
        assert sent * len(wire) - 65535 / 2 <= opened <= sent * len(wire)


class Refusing(Echo):
    def receive(self, message: bytes) -> Sequence[bytes]:
        if message == b"bug":
            raise ZeroDivisionError
        if message == b"no":
            raise CallFailed(Status.UNAVAILABLE, "not now")
        return (message, message)


def refusing(head: Head, outlet: Outlet) -> Refusing:
    if head.get("x-refuse"):
        raise CallFailed(Status.INVALID_ARGUMENT, "not this")
    return Refusing(head, outlet)


class Unclosable(Echo):
    def close(self) -> None:
        raise ZeroDivisionError


def caller(method: Method) -> Caller:
    return Caller(methods={ECHO: method})


def test_an_answerer_that_ends_its_call() -> None:
    peer = caller(refusing)
    peer.say(headers(3), data(3, prefixed(b"yes") + prefixed(b"no") + prefixed(b"yes")))
    heard = peer.hear()
    assert answers(heard) == prefixed(b"yes") * 2
    assert end(heard) == {"grpc-status": "14", "grpc-message": "not now"}
    peer.say(headers(5, block=call(x_refuse="1")))
    assert end(peer.hear(), 5)["grpc-status"] == "3"


def test_a_bug_ends_one_call_and_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    peer = caller(refusing)
    peer.say(headers(3), data(3, prefixed(b"bug")))
    assert end(peer.hear())["grpc-message"] == "internal error"
    assert "ZeroDivisionError" in caplog.text
    assert peer.alive()


def test_a_bug_in_close_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    peer = caller(Unclosable)
    peer.say(headers(3), rst(3))
    assert "ZeroDivisionError" in caplog.text
    assert peer.alive()


def test_an_answerer_that_speaks_without_being_asked() -> None:
    peer = Caller()
    peer.say(headers(3), headers(5))
    first, second = (each.outlet for each in peer.answerers)
    first.send(b"news")
    assert answers(peer.hear()) == prefixed(b"news")
    first.end(Status.OK)
    assert end(peer.hear())["grpc-status"] == "0"
    first.end(Status.OK)
    first.send(b"too late")
    assert peer.hear() == []
    second.stay()
    peer.say(data(5, end=True))
    assert peer.hear() == []
    second.end(Status.OK)
    assert end(peer.hear(), 5)["grpc-status"] == "0"


def test_an_answerer_may_stay_for_a_while() -> None:
    peer = Caller()
    peer.say(headers(3), headers(5))
    first, second = (each.outlet for each in peer.answerers)
    first.stay()
    second.stay()
    peer.say(data(3, end=True))
    assert peer.hear() == []
    first.send(b"late")
    first.settle()
    second.settle()
    heard = peer.hear()
    assert answers(heard) == prefixed(b"late") and end(heard)["grpc-status"] == "0"
    assert peer.answerers[1].closed == 0
    peer.say(data(5, end=True))
    assert end(peer.hear(), 5)["grpc-status"] == "0"


class Hasty(Echo):
    def receive(self, message: bytes) -> Sequence[bytes]:
        self.received.append(message)
        self.outlet.end(Status.UNAVAILABLE, "enough")
        return (message,)


def test_an_answerer_that_ends_its_call_while_it_is_asked() -> None:
    made: list[Hasty] = []

    def hasty(head: Head, outlet: Outlet) -> Hasty:
        made.append(Hasty(head, outlet))
        return made[-1]

    peer = caller(hasty)
    peer.say(headers(3), data(3, prefixed(b"a") + prefixed(b"b") + prefixed(b"c")[:-1]))
    heard = peer.hear()
    assert answers(heard) == b"" and end(heard)["grpc-status"] == "14"
    assert [(each.received, each.closed) for each in made] == [([], 1), ([b"a"], 1)]
    assert peer.machine._buffered == 0


def test_what_waits_is_handled_before_the_end() -> None:
    peer = Caller(H2Limits(max_stream_output=10))
    peer.say(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}), headers(3))
    peer.say(data(3, prefixed(b"0123456789") * 5, end=True))
    assert len(peer.answerers[0].received) == 1
    for _ in range(80):
        peer.say(frames.window_update(3, 1))
    heard = peer.hear()
    assert answers(heard) == prefixed(b"0123456789") * 5
    assert end(heard)["grpc-status"] == "0"
    assert peer.answerers[0].closed == 1


def test_a_drain_lets_calls_end() -> None:
    peer = Caller()
    peer.say(headers(3))
    peer.machine.drain(0.0)
    peer.say(frames.frame(frames.PING, frames.ACK, 0, b"draining"))
    peer.hear()
    assert not peer.machine.over
    peer.say(data(3, prefixed(b"x"), end=True))
    assert end(peer.hear())["grpc-status"] == "0"
    assert peer.machine.over


def test_envoys_repeated_block_is_read_once() -> None:
    peer = Caller()
    before = peer.counters.header_cache_hits
    peer.say(*[headers(n) for n in range(3, 23, 2)])
    assert peer.counters.header_cache_hits == before + 9
    assert peer.counters.streams == 11


def test_logging_of_a_failed_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    peer = Caller()
    peer.say(frames.frame(frames.PUSH_PROMISE, 0, 3))
    assert "PROTOCOL_ERROR" in caplog.text


def test_counters_are_shared() -> None:
    peer = Caller()
    assert isinstance(peer.counters, Counters)
    peer.say(HELLO[len(frames.PREFACE) :], headers(3, block=EMPTY_TABLE + REQUEST), data(3, prefixed(b"x") * 3))
    assert peer.counters.messages == 3
