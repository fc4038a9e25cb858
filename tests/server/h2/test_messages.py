from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.server.h2.messages import CallFailed, Inbox, Status, prefixed, trailers, trailers_only

from .peer import decoded


def taken(inbox: Inbox) -> list[bytes]:
    found = []
    while (message := inbox.next()) is not None:
        found.append(message)
    return found


@given(st.lists(st.binary(max_size=50), max_size=8), st.lists(st.integers(1, 30), min_size=1))
def test_any_split_of_the_bytes_gives_the_same_messages(sent: list[bytes], cuts: list[int]) -> None:
    wire, inbox, heard, number = b"".join(map(prefixed, sent)), Inbox(50, ""), [], 0
    while wire:
        size = cuts[number % len(cuts)]
        inbox.feed(wire[:size])
        # Not asked for after each read: as when the answers find no room.
        if number % 3:
            heard += taken(inbox)
        wire, number = wire[size:], number + 1
    heard += taken(inbox)
    assert heard == sent
    assert len(inbox) == 0


def test_messages_are_bytes_whatever_held_them() -> None:
    inbox = Inbox(100, "")
    for part in (prefixed(b"one")[:4], prefixed(b"one")[4:] + prefixed(b"two")):
        inbox.feed(part)
    assert [type(each) for each in taken(inbox)] == [bytes, bytes]


def test_a_message_too_long_is_refused_by_its_prefix() -> None:
    inbox = Inbox(10, "")
    inbox.feed(prefixed(b"x" * 11)[:5])
    with pytest.raises(CallFailed) as raised:
        inbox.next()
    assert raised.value.status == Status.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("flag", "encoding", "status"),
    [
        (1, "gzip", Status.UNIMPLEMENTED),
        (1, "", Status.INTERNAL),
        (1, "identity", Status.INTERNAL),
        (2, "gzip", Status.INTERNAL),
    ],
)
def test_a_compressed_message(flag: int, encoding: str, status: Status) -> None:
    inbox = Inbox(10, encoding)
    inbox.feed(bytes((flag, 0, 0, 0, 0)))
    with pytest.raises(CallFailed) as raised:
        inbox.next()
    assert raised.value.status == status


def test_an_encoding_that_is_announced_and_not_used() -> None:
    inbox = Inbox(10, "gzip")
    inbox.feed(prefixed(b"plain"))
    assert inbox.next() == b"plain"


@given(st.text(max_size=100))
def test_a_status_message_survives_its_encoding(message: str) -> None:
    fields = decoded(trailers(Status.INTERNAL, message))
    assert fields["grpc-status"] == "13"
    assert unquote(fields.get("grpc-message", "")) == message.strip()
    assert fields.get("grpc-message", "").isascii() and fields.get("grpc-message", "").isprintable()


def test_blocks() -> None:
    assert decoded(trailers(0)) == {"grpc-status": "0"}
    assert decoded(trailers_only(Status.UNIMPLEMENTED, "100% no")) == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-status": "12",
        "grpc-message": "100%25 no",
        "grpc-accept-encoding": "identity",
    }
    assert len(decoded(trailers(2, "m" * 5000))["grpc-message"]) == 1024


@given(st.lists(st.binary(max_size=9000), max_size=4), st.integers(0, 20_000), st.integers(0, 4))
def test_the_rest_is_all_that_was_not_given_out(messages: list[bytes], cut: int, count: int) -> None:
    wire = b"".join(map(prefixed, messages))
    inbox = Inbox(1 << 20, "")
    inbox.feed(wire[:cut])
    out = []
    for _ in range(count):
        if (message := inbox.next()) is None:
            break
        out.append(prefixed(message))
    inbox.feed(wire[cut:])
    assert b"".join(out) + inbox.rest() == wire
    assert len(inbox) == inbox.announced == inbox.whole == 0 and inbox.next() is None and inbox.rest() == b""
