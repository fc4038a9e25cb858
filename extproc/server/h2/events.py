"""What the HTTP/2 machine says of the bytes that it was given."""

from __future__ import annotations

from ...frozen import Plain
from .frames import Code
from .heads import Head


class RequestReceived(Plain):
    """A stream opened with a well-formed request."""

    stream_id: int
    head: Head


class DataReceived:  # noqa: PLW1641
    """Bytes of a request's body. Whoever handled them says so with ``Connection.handled``.

    One for each message and piece: a class of our own is made and read in a fifth of what a Struct takes."""

    __slots__ = ("data", "stream_id")

    def __init__(self, stream_id: int, data: bytes) -> None:
        self.stream_id = stream_id
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataReceived) and self.stream_id == other.stream_id and self.data == other.data


class RequestEnded(Plain):
    """The peer sends nothing more on this stream."""

    stream_id: int


class StreamReset(Plain):
    """The stream is over, by the peer's RST_STREAM or by ours; nothing can be sent on it."""

    stream_id: int
    code: int
    by_peer: bool


class ConnectionEnded(Plain):
    """The peer broke the connection's rules. Send what ``output`` gives, then close. All streams are over."""

    code: Code
    reason: str


Event = RequestReceived | DataReceived | RequestEnded | StreamReset | ConnectionEnded
