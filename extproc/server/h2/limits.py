"""What one peer may make us do, each bound with its name, and the counters that tell when one was met."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from .frames import LONG_FRAME_BYTES, MAX_FRAME_BYTES

SMALL_DATA: Final = 16
"""Bytes of DATA that hardly anyone would send in a frame of their own."""

OWN_TURN: Final = 16 * 1024
"""Bytes of a message that waits until all that is shorter was handled: some milliseconds' work, and a client may send
one after the other, on many calls."""

LONG_MESSAGE: Final = 256 * 1024
"""Bytes of a message for which there must be room in the process before it is taken."""

ANSWER_WINDOW: Final = 256 * 1024
"""Bytes of an answer that the process for long calls may send on one call before Envoy has taken them."""

PASSED_WINDOW: Final = 16 * 1024 * 1024
"""What it may send at once on all calls."""

TAKEN_WINDOW: Final = 256 * 1024
"""Bytes of a request that it takes on one call before it has handled them: those of many calls, here and there, are to
leave room for one whole body."""


@dataclass(frozen=True, slots=True)
class H2Limits:
    """Bounds of one connection. Rates are counted over ``flood_seconds``. Bytes and seconds throughout.

    Behind each: what the peer gets when it goes past.
    """

    max_concurrent_streams: int = 4096
    """Open streams. RST_STREAM(REFUSED_STREAM) for one more."""

    max_header_list_bytes: int = 32 * 1024
    """A request's headers, counted as the RFC counts them (name + value + 32 each). HTTP status 431; GOAWAY
    (ENHANCE_YOUR_CALM) at four times as much, where decoding stops."""

    max_continuations: int = 16
    """CONTINUATION frames behind one HEADERS, and no more than ``max_header_list_bytes`` undecoded.
    GOAWAY(ENHANCE_YOUR_CALM)."""

    flood_seconds: float = 10.0
    """The time over which the next ones are counted, up to ``max_window_updates``."""

    max_resets: int = 20_000
    """Streams that end in RST_STREAM, by either side, before any answer was given. Envoy resets a stream for each
    request that it gives up, thousands a second when an upstream is down. GOAWAY(ENHANCE_YOUR_CALM)."""

    max_settings: int = 100
    """SETTINGS frames: each may move the window of every stream. GOAWAY(ENHANCE_YOUR_CALM)."""

    max_settings_entries: int = 1000
    """Entries of SETTINGS frames. GOAWAY(ENHANCE_YOUR_CALM)."""

    max_pings: int = 2000
    """PING frames. GOAWAY(ENHANCE_YOUR_CALM)."""

    max_empty_data: int = 2000
    """DATA frames without a byte of data and without END_STREAM. GOAWAY(ENHANCE_YOUR_CALM)."""

    max_stray_frames: int = 10_000
    """PRIORITY frames and frames of unknown types. GOAWAY(ENHANCE_YOUR_CALM)."""

    max_small_data: int = 20_000
    """DATA frames of less than ``SMALL_DATA`` bytes, without END_STREAM: a message's prefix may travel alone, its bytes
    one by one do not. GOAWAY(ENHANCE_YOUR_CALM)."""

    max_empty_messages: int = 1000
    """gRPC messages of no bytes: none of Envoy's is. GOAWAY(ENHANCE_YOUR_CALM)."""

    max_late_frames: int = 100_000
    """RST_STREAM and WINDOW_UPDATE for streams that are over. Envoy sends some, for what crosses on the way.
    GOAWAY(ENHANCE_YOUR_CALM)."""

    max_window_updates: int = 300_000
    """WINDOW_UPDATE frames. Envoy sends one or two for each answer. GOAWAY(ENHANCE_YOUR_CALM)."""

    turn_frames: int = 512
    """Frames that are taken before other connections have their turn. No fault: the rest waits."""

    turn_messages: int = 32
    """Messages that are handled before other connections have their turn. No fault: the rest waits."""

    room_seconds: float = 5.0
    """How long a long message waits until the process has room for it, and how long one that has room may be without a
    byte that comes. Refused by the answerer, else RESOURCE_EXHAUSTED."""

    silent_seconds: float = 10.0
    """For the first message of a call. RST_STREAM(CANCEL)."""

    max_message_bytes: int = 128 * 1024 * 1024
    """One gRPC message. Status RESOURCE_EXHAUSTED."""

    max_buffered_bytes: int = 256 * 1024 * 1024
    """Received and not yet handled, over all streams. RESOURCE_EXHAUSTED for the stream that goes past it."""

    max_stream_output: int = 256 * 1024
    """Answers that wait for one stream's window. Above it the stream's next messages wait, unhandled."""

    max_queued_output: int = 256 * 1024 * 1024
    """Answers that wait, over all streams. RST_STREAM(ENHANCE_YOUR_CALM) for the stream with most of it."""

    max_frame_bytes: int = MAX_FRAME_BYTES
    """A frame's payload. GOAWAY(FRAME_SIZE_ERROR)."""

    stream_window: int = 1024 * 1024
    """What a peer may send on one stream before we have handled it. RST_STREAM(FLOW_CONTROL_ERROR)."""

    connection_window: int = 16 * 1024 * 1024
    """What a peer may send at once on all streams. GOAWAY(FLOW_CONTROL_ERROR)."""

    handshake_seconds: float = 10.0
    """For the preface and the first SETTINGS (GOAWAY(PROTOCOL_ERROR)), and for the ACK of ours
    (GOAWAY(SETTINGS_TIMEOUT))."""

    stall_seconds: float = 60.0
    """How long output may wait without a byte of it going out. RST_STREAM(ENHANCE_YOUR_CALM) where the stream's window
    is closed; the connection is cut where the socket or the connection's window is."""


def of_our_own(limits: H2Limits) -> H2Limits:
    """*limits* for a peer that is of this program: it passes on what others send, who were counted where they came in.
    What each of their calls may take stays bounded."""
    most = 2**31 - 1
    return H2Limits(
        max_concurrent_streams=limits.max_concurrent_streams,
        max_message_bytes=limits.max_message_bytes,
        max_frame_bytes=LONG_FRAME_BYTES,
        stream_window=TAKEN_WINDOW,
        max_resets=most,
        max_empty_data=most,
        max_small_data=most,
        max_empty_messages=most,
        max_late_frames=most,
        max_window_updates=most,
    )


_COUNTED: Final = (
    "abuse", "connection_errors", "connections", "header_cache_hits", "messages", "resets", "stream_errors", "streams",
)  # fmt: skip


class Counters:
    """Plain numbers that only grow; whoever publishes metrics reads them. Shared by the connections of a process."""

    __slots__ = _COUNTED

    def __init__(self) -> None:
        self.connections = 0
        self.streams = 0
        self.messages = 0
        self.resets = 0
        self.stream_errors = 0
        self.connection_errors = 0
        self.header_cache_hits = 0
        self.abuse: dict[str, int] = {}
        """How often each bound was met, by the name of its setting."""

    def read(self) -> dict[str, int | dict[str, int]]:
        """All of them, by name."""
        return {name: getattr(self, name) for name in _COUNTED}

    def met(self, name: str) -> None:
        """Count a bound that was met. ``name`` is the setting's."""
        self.abuse[name] = self.abuse.get(name, 0) + 1


@dataclass(slots=True)
class Rate:
    """Counts what happens within a period; starts anew with each."""

    limit: int
    period: float
    count: int = field(default=0, init=False)
    since: float = field(default=float("-inf"), init=False)

    def exceeded(self, now: float) -> bool:
        """Count one more; True if that is one too many."""
        if now - self.since >= self.period:
            self.since = now
            self.count = 0
        self.count += 1
        return self.count > self.limit
