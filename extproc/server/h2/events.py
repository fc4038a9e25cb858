"""What the HTTP/2 machine says of the bytes that it was given."""

from __future__ import annotations

from msgspec import Struct

from .frames import Code
from .heads import Head


class RequestReceived(Struct, frozen=True, gc=False):
    """A stream opened with a well-formed request."""

    stream_id: int
    head: Head


class DataReceived(Struct, frozen=True, gc=False):
    """Bytes of a request's body. Whoever handled them says so with ``Connection.handled``."""

    stream_id: int
    data: bytes


class RequestEnded(Struct, frozen=True, gc=False):
    """The peer sends nothing more on this stream."""

    stream_id: int


class StreamReset(Struct, frozen=True, gc=False):
    """The stream is over, by the peer's RST_STREAM or by ours; nothing can be sent on it."""

    stream_id: int
    code: int
    by_peer: bool


class ConnectionEnded(Struct, frozen=True, gc=False):
    """The peer broke the connection's rules. Send what ``output`` gives, then close. All streams are over."""

    code: Code
    reason: str


Event = RequestReceived | DataReceived | RequestEnded | StreamReset | ConnectionEnded
