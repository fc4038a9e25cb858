"""What we send: frames that are due, and answers that wait for a window (RFC 9113, section 5.2).

Streams take turns, one frame each, so a long answer does not hold up the short ones behind it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final

from . import frames
from .frames import Code, ConnectionFault, StreamFault
from .states import StreamState

BATCH_BYTES: Final = 256 * 1024
"""Where one write ends and the caller is asked whether the socket takes more."""


JOINED: Final = 64 * 1024
"""Up to here what is due is put together, which takes less than to write it in parts."""


class Stream:
    """One stream's state, both windows, and what waits to be sent on it."""

    __slots__ = (
        "content_length", "id", "moved_at", "queue", "queued", "receive_window", "received", "send_window", "state",
        "trailers", "unacknowledged", "was_answered",
    )  # fmt: skip

    def __init__(self, stream_id: int, receive_window: int, send_window: int) -> None:
        self.id = stream_id
        self.state = StreamState.IDLE
        self.receive_window = receive_window
        self.unacknowledged = 0
        self.received = 0
        self.content_length: int | None = None
        self.send_window = send_window
        self.queue: deque[memoryview] = deque()
        self.queued = 0
        self.trailers: bytes | None = None
        self.moved_at = 0.0
        self.was_answered = False


class Outbox:
    """Frames on their way out. Control frames go first come, first served; DATA as the windows allow."""

    def __init__(self, mark: int, now: float) -> None:
        """``mark``: a stream whose queue falls below it is named in ``drained``."""
        self.window = frames.DEFAULT_WINDOW
        self.initial_window = frames.DEFAULT_WINDOW
        self.longest_frame = frames.MAX_FRAME_BYTES
        self.queued = 0
        self.now = now
        """The caller's clock; it sets this before it calls."""

        self.moved_at = now
        """When a frame last left ``waiting``, or entered it while it was empty."""

        self.drained: list[Stream] = []
        self.finished: list[Stream] = []
        """Streams whose trailers had to wait and are out now; the caller takes their last step and empties the list."""

        self.waiting: OrderedDict[int, Stream] = OrderedDict()
        """Streams with something to send and a window for it, in the order of their turns."""

        self.blocked: dict[int, Stream] = {}
        """Streams with something to send whose own window is closed."""

        self._mark = mark
        self._due: list[bytes | memoryview] = []
        self._size = 0

    def push(self, frame: bytes) -> None:
        """Send a frame that needs no window."""
        self._due.append(frame)
        self._size += len(frame)

    def data(self, stream: Stream, payload: bytes) -> None:
        """Send DATA, or let it wait its turn."""
        size = len(payload)
        if (
            not stream.queue
            # Small answers must not take the connection's window from a large one, again and again.
            and not self.waiting
            and size <= stream.send_window
            and size <= self.window
            and size <= self.longest_frame
            and self._size < BATCH_BYTES
        ):
            stream.send_window -= size
            self.window -= size
            self._due.append(frames.data_head(stream.id, size))
            self._due.append(payload)
            self._size += size + 9
            return
        if not stream.queue:
            stream.moved_at = self.now
            self.blocked[stream.id] = stream
            self.unblock(stream)
        stream.queue.append(memoryview(payload))
        stream.queued += size
        self.queued += size

    def trailers(self, stream: Stream, frame: bytes) -> bool:
        """Send the HEADERS frame that ends the stream, after what waits. True if it is out now."""
        if stream.queue:
            stream.trailers = frame
            return False
        self.push(frame)
        return True

    def discard(self, stream: Stream) -> None:
        """Forget what waits on a stream that was reset."""
        self.waiting.pop(stream.id, None)
        self.blocked.pop(stream.id, None)
        self.queued -= stream.queued
        stream.queue.clear()
        stream.queued = 0

    def widen(self, stream: Stream | None, increment: int) -> None:
        """Take a WINDOW_UPDATE. Raises the fault for an increment of 0 or a window past 2^31-1 (6.9, 6.9.1)."""
        fault = StreamFault if stream else ConnectionFault
        if increment == 0:
            raise fault(Code.PROTOCOL_ERROR, "a window update of 0")
        where = stream.send_window if stream else self.window
        if where + increment > frames.MAX_WINDOW:
            raise fault(Code.FLOW_CONTROL_ERROR, "a window above 2^31-1")
        if stream:
            stream.send_window += increment
            self.unblock(stream)
        else:
            self.window += increment

    def limit_frames(self, size: int) -> None:
        """Take the peer's SETTINGS_MAX_FRAME_SIZE."""
        self.longest_frame = min(size, frames.LONG_FRAME_BYTES)

    def resize(self, streams: Iterable[Stream], size: int) -> None:
        """Take the peer's SETTINGS_INITIAL_WINDOW_SIZE, which moves the windows of open streams too (6.9.2)."""
        change, self.initial_window = size - self.initial_window, size
        for stream in streams:
            if stream.send_window + change > frames.MAX_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window above 2^31-1")
            stream.send_window += change
            self.unblock(stream)

    def unblock(self, stream: Stream) -> None:
        """Give a stream its turn again if its window now has room."""
        if stream.send_window > 0 and stream.id in self.blocked:
            if not self.waiting:
                self.moved_at = self.now
            self.waiting[stream.id] = self.blocked.pop(stream.id)

    def pump(self) -> None:
        """Move what waits into frames, one frame for each stream in turn, until windows or the batch are full."""
        while self.waiting and self.window > 0 and self._size < BATCH_BYTES:
            stream = self.waiting.pop(next(iter(self.waiting)))
            if stream.send_window > 0:
                self._one_frame(stream)
            else:
                self.blocked[stream.id] = stream

    def _one_frame(self, stream: Stream) -> None:
        chunk = stream.queue[0]
        size = min(len(chunk), stream.send_window, self.window, self.longest_frame)
        self._due.append(frames.data_head(stream.id, size))
        self._due.append(chunk[:size])
        self._size += size + 9
        self.window -= size
        stream.send_window -= size
        if size < len(chunk):
            stream.queue[0] = chunk[size:]
        else:
            stream.queue.popleft()
        if stream.queued >= self._mark > stream.queued - size:
            self.drained.append(stream)
        stream.queued -= size
        self.queued -= size
        stream.moved_at = self.moved_at = self.now
        if stream.queue:
            self.waiting[stream.id] = stream
        elif stream.trailers is not None:
            self.push(stream.trailers)
            stream.trailers = None
            self.finished.append(stream)

    @property
    def has_output(self) -> bool:
        """Frames are due, or may be once they are looked for."""
        return bool(self._due) or bool(self.waiting)

    def take_parts(self) -> list[bytes | memoryview]:
        """All that is due: in one piece, but where it is long in the parts that it consists of. What is long would be
        copied once more only to be copied into the socket."""
        due = self._due
        if self._size <= JOINED and len(due) > 1:
            due = [b"".join(due)]
        self._due = []
        self._size = 0
        return due


def most_queued(streams: dict[int, Stream]) -> Stream:
    """Of *streams*, of which there is one at least, that on which most waits."""
    # Not by a function within the one that asks: that makes an object of its own for each call, whether or not it comes
    # so far.
    return max(streams.values(), key=_queued_on)


def _queued_on(stream: Stream) -> int:
    return stream.queued
