"""The HTTP/2 machine (RFC 9113) for a server without push: bytes in; events and bytes out. No I/O, no clock.

Whatever the peer sends, ``receive`` returns: broken rules become GOAWAY or RST_STREAM in ``output``, and an event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import frames
from .events import ConnectionEnded, DataReceived, Event, RequestEnded, RequestReceived, StreamReset
from .frames import Code, ConnectionFault, StreamFault
from .heads import EMPTY_TABLE, Head, HeadReader, block
from .limits import SMALL_DATA, Counters, H2Limits, Rate
from .outbox import Outbox, Stream, most_queued
from .states import CONNECTION, LIVE, ConnectionPhase, ConnectionStep, Step, StreamState, after

REMEMBERED: Final = 4096
"""Closed streams of which we still know how they were closed."""

RATES: Final = (
    "max_resets", "max_settings", "max_settings_entries", "max_pings", "max_empty_data", "max_stray_frames",
    "max_small_data", "max_empty_messages", "max_late_frames", "max_window_updates",
)  # fmt: skip
"""The bounds that are counted over a time."""

STREAMS_A_FRAME: Final = 16
"""Streams whose windows are moved in the time that another frame takes."""

HEAD_BYTES_A_FRAME: Final = 256
"""Bytes of a list of headers, as the RFC counts them, that are decoded in that time: one byte of a block may stand for
forty."""

DRAIN_PING: Final = b"draining"
HEADERS_TOO_LARGE: Final = block((":status", "431"))


class Connection:
    """One HTTP/2 connection, seen from the server."""

    def __init__(
        self, limits: H2Limits, counters: Counters, now: float, cache: dict[bytes, Head] | None = None
    ) -> None:
        """``now``: seconds of any clock that only grows; the same clock in every call. ``cache``: see HeadReader."""
        self.phase = ConnectionPhase.PREFACE
        self.streams: dict[int, Stream] = {}
        """The live ones."""

        self.outbox = Outbox(limits.max_stream_output, now)
        self.peer_leaves = False
        """The peer sent GOAWAY: it opens no more streams."""

        self._limits = limits
        self._counters = counters
        self._reader = frames.FrameReader(limits.max_frame_bytes)
        self._heads = HeadReader(limits.max_header_list_bytes, {} if cache is None else cache, counters)
        self._events: list[Event] = []
        self._preface = b""
        self._born = self._drained_at = now
        self._last_id = 0
        self._closed: dict[int, StreamState] = {}
        self._acknowledged = False
        self._shrink_table = False
        self._receive_window = max(limits.connection_window, frames.DEFAULT_WINDOW)
        self._unacknowledged = 0
        self._block: list[bytes] | None = None
        self._block_stream = 0
        self._block_flags = 0
        self._more_work = 0
        """Frames that the last one counts for, beside itself, in this turn."""
        self._is_behind = False
        """Frames that have come may not have had their turn."""
        self._rates = {name: Rate(getattr(limits, name), limits.flood_seconds) for name in RATES}
        self._on: dict[int, Callable[[int, int, bytes], None]] = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_rst_stream,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }
        self.outbox.push(
            frames.settings(
                {
                    frames.HEADER_TABLE_SIZE: 0,
                    frames.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
                    frames.INITIAL_WINDOW_SIZE: limits.stream_window,
                    frames.MAX_FRAME_SIZE: limits.max_frame_bytes,
                    frames.MAX_HEADER_LIST_SIZE: limits.max_header_list_bytes,
                }
            )
        )
        if self._receive_window > frames.DEFAULT_WINDOW:
            self.outbox.push(frames.window_update(0, self._receive_window - frames.DEFAULT_WINDOW))

    # ---- what the caller does

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take bytes from the peer; return what they mean, as far as one turn goes: ``proceed`` when there is
        ``more``. Never raises for anything that a peer can send."""
        if self.phase is ConnectionPhase.FAILED:
            return []
        try:
            if self.phase is ConnectionPhase.PREFACE:
                self.outbox.now = now
                data = self._take_preface(data)
            self._reader.feed(data)
            self._is_behind = True
        except ConnectionFault as fault:
            self._fail(fault)
        return self.proceed(now)

    @property
    def more(self) -> bool:
        """Bytes were received that have not had their turn."""
        return self._is_behind

    def proceed(self, now: float) -> list[Event]:
        """Take one turn of the bytes that were received."""
        self.outbox.now = now
        left = self._limits.turn_frames
        try:
            while left > 0 and self._is_behind:
                left -= self._one_frame()
        except ConnectionFault as fault:
            self._fail(fault)
        if self.phase is ConnectionPhase.FAILED:
            self._reader, self._is_behind = frames.FrameReader(), False
        events, self._events = self._events, []
        return events

    def _one_frame(self) -> int:
        """Take the next frame, if there is one. For how many it counts in this turn."""
        reader = self._reader
        if not reader.next():
            self._is_behind = False
            return 0
        stream_id = reader.stream_id
        try:
            self._on_frame(reader.kind, reader.flags, stream_id, reader.payload)
        except StreamFault as broken:
            self._counters.stream_errors += 1
            self._reset(stream_id, broken.code)
        more, self._more_work = self._more_work, 0
        return 1 + more

    def count(self, name: str) -> None:
        """Count one more of what the bound *name* is about; the connection ends when it is one too many."""
        try:
            self._count(name)
        except ConnectionFault as fault:
            self._fail(fault)

    def output(self, now: float) -> bytes:
        """``output_parts`` in one piece."""
        return b"".join(self.output_parts(now))

    def output_parts(self, now: float) -> list[bytes | memoryview]:
        """Bytes for the peer, a batch at a time: call again, when the socket takes more, until there are none."""
        outbox = self.outbox
        outbox.now = now
        if outbox.waiting:
            outbox.pump()
        if outbox.finished:
            for stream in outbox.finished:
                self._finish(stream)
            outbox.finished.clear()
        return outbox.take_parts()

    def send_headers(self, stream_id: int, block: bytes) -> None:
        """Open the answer. Like all that sends: does nothing on a stream that is over."""
        stream = self.streams.get(stream_id)
        if stream:
            stream.state = after(stream.state, Step.SEND_HEADERS)
            stream.was_answered = True
            self.outbox.push(frames.frame(frames.HEADERS, frames.END_HEADERS, stream_id, self._own_block(block)))

    def send_data(self, stream_id: int, payload: bytes) -> None:
        """Send DATA as the windows allow."""
        stream = self.streams.get(stream_id)
        if stream:
            self.outbox.data(stream, payload)
            if self.outbox.queued > self._limits.max_queued_output:
                self._counters.met("max_queued_output")
                self.reset(most_queued(self.streams).id, Code.ENHANCE_YOUR_CALM)

    def send_trailers(self, stream_id: int, block: bytes) -> None:
        """End the answer, after the DATA that waits. Also an answer of headers only."""
        stream = self.streams.get(stream_id)
        if stream:
            flags = frames.END_HEADERS | frames.END_STREAM
            stream.was_answered = True
            if self.outbox.trailers(stream, frames.frame(frames.HEADERS, flags, stream_id, self._own_block(block))):
                self._finish(stream)

    def reset(self, stream_id: int, code: Code) -> None:
        """Give a stream up. The StreamReset event comes with the next ``receive``, ``tick`` or ``pending``."""
        if stream_id in self.streams:
            try:
                self._reset(stream_id, code)
            except ConnectionFault as fault:
                self._fail(fault)

    def handled(self, stream_id: int, size: int) -> None:
        """``size`` bytes of a stream's data need no more room: its window may open again."""
        stream = self.streams.get(stream_id)
        if stream and stream.state is StreamState.OPEN:
            stream.unacknowledged += size
            if stream.unacknowledged * 2 >= self._limits.stream_window:
                self.outbox.push(frames.window_update(stream_id, stream.unacknowledged))
                stream.receive_window += stream.unacknowledged
                stream.unacknowledged = 0

    def drain(self, now: float) -> None:
        """Say goodbye: the peer opens no more streams here; those that are open go on to their end (6.8)."""
        before, self.phase = self.phase, CONNECTION[self.phase][ConnectionStep.DRAIN]
        if before is ConnectionPhase.OPEN:
            self._drained_at = now
            self.outbox.push(frames.goaway(frames.MAX_STREAM_ID, Code.NO_ERROR))
            self.outbox.push(frames.frame(frames.PING, payload=DRAIN_PING))
        elif self.phase is ConnectionPhase.FAILED and before is not ConnectionPhase.FAILED:
            self.outbox.push(frames.goaway(0, Code.NO_ERROR))

    def tick(self, now: float) -> list[Event]:
        """Let time pass: call about once a second. Returns what the bounds on time ended."""
        self.outbox.now = now
        try:
            self._check_handshake(now)
            self._check_stalls(now)
        except ConnectionFault as fault:
            self._fail(fault)
        if self.phase is ConnectionPhase.DRAINING and now - self._drained_at >= 1:
            self._leave()
        return self.pending()

    def pending(self) -> list[Event]:
        """Events of our own making that no ``receive`` has returned yet."""
        events, self._events = self._events, []
        return events

    @property
    def over(self) -> bool:
        """Nothing more will happen: close when ``output`` is empty."""
        if self.phase is ConnectionPhase.FAILED:
            return True
        return not self.streams and (self.phase is ConnectionPhase.LEAVING or self.peer_leaves)

    # ---- frames

    def _take_preface(self, data: bytes) -> bytes:
        data = self._preface + data
        if not data.startswith(frames.PREFACE[: len(data)]):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "no HTTP/2 preface")
        if len(data) < len(frames.PREFACE):
            self._preface = data
            return b""
        self._preface = b""
        self.phase = CONNECTION[self.phase][ConnectionStep.RECV_PREFACE]
        return data[len(frames.PREFACE) :]

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block_stream):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block was interrupted")
        if self.phase is ConnectionPhase.SETTINGS and (kind != frames.SETTINGS or flags & frames.ACK):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if kind == frames.DATA and stream_id:
            # By far the most; of a frame's length the reader has seen to it.
            self._on_data(flags, stream_id, payload)
            return
        handler = self._on.get(kind)
        if handler is None:
            self._count("max_stray_frames")
        else:
            if kind in frames.SHAPES:
                frames.check_shape(kind, stream_id, payload)
            handler(flags, stream_id, payload)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._count_received(size)
        data = frames.unpadded(payload) if flags & frames.PADDED else payload
        if len(data) < SMALL_DATA and not flags & frames.END_STREAM:
            self._count("max_small_data" if data else "max_empty_data")
        stream = self.streams.get(stream_id)
        if stream is None:
            after(self._state_of(stream_id), Step.RECV_DATA)
            return
        stream.state = after(stream.state, Step.RECV_DATA)
        if size > stream.receive_window:
            self._counters.met("stream_window")
            raise StreamFault(Code.FLOW_CONTROL_ERROR, "more data than the stream's window")
        stream.receive_window -= size
        stream.received += len(data)
        if stream.content_length is not None and stream.received > stream.content_length:
            raise StreamFault(Code.PROTOCOL_ERROR, "more data than content-length says")
        if data:
            self._events.append(DataReceived(stream_id, data))
        if flags & frames.END_STREAM:
            self._end_request(stream)
        elif size != len(data):
            self.handled(stream_id, size - len(data))

    def _count_received(self, size: int) -> None:
        if size > self._receive_window:
            self._counters.met("connection_window")
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more data than the connection's window")
        self._receive_window -= size
        self._unacknowledged += size
        # Given back at once: what one slow stream has not handled must not hold up the others. Memory is bounded by the
        # streams' own windows and by max_buffered_bytes.
        if self._unacknowledged * 2 >= self._limits.connection_window:
            self.outbox.push(frames.window_update(0, self._unacknowledged))
            self._receive_window += self._unacknowledged
            self._unacknowledged = 0

    def _end_request(self, stream: Stream) -> None:
        if stream.content_length is not None and stream.received != stream.content_length:
            raise StreamFault(Code.PROTOCOL_ERROR, "less data than content-length says")
        stream.state = after(stream.state, Step.RECV_END)
        self._events.append(RequestEnded(stream.id))

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = frames.unpadded(payload)
        if flags & frames.PRIORITISED:
            if len(payload) < 5:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
            payload = payload[5:]
        if not flags & frames.END_HEADERS:
            self._block, self._block_stream, self._block_flags = [payload], stream_id, flags
        else:
            self._on_block(flags, stream_id, payload)

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._block.append(payload)
        too_long = sum(map(len, self._block)) > self._limits.max_header_list_bytes
        if too_long or len(self._block) - 1 > self._limits.max_continuations:
            self._counters.met("max_continuations")
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many CONTINUATION frames or too many bytes in them")
        if flags & frames.END_HEADERS:
            block, self._block = b"".join(self._block), None
            self._on_block(self._block_flags, stream_id, block)

    def _on_block(self, flags: int, stream_id: int, block: bytes) -> None:
        stream = self.streams.get(stream_id)
        state = stream.state if stream else self._state_of(stream_id)
        # The block is decoded whatever becomes of the stream: the next one may depend on it (4.3).
        if state is not StreamState.IDLE:
            head = self._heads.read_trailers(block)
            self._more_work = head.list_bytes // HEAD_BYTES_A_FRAME
            state = after(state, Step.RECV_HEADERS)
            if stream:
                self._on_trailers(stream, head, flags)
            return
        known = self._counters.header_cache_hits
        head = self._heads.read(block)
        if self._counters.header_cache_hits == known:
            self._more_work = head.list_bytes // HEAD_BYTES_A_FRAME
        if not stream_id & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a stream of a client has an odd number")
        self._open(stream_id, head, flags)

    def _on_trailers(self, stream: Stream, head: Head, flags: int) -> None:
        if head.fault or not flags & frames.END_STREAM:
            raise StreamFault(Code.PROTOCOL_ERROR, head.fault or "trailers that do not end the stream")
        self._end_request(stream)

    def _open(self, stream_id: int, head: Head, flags: int) -> None:
        self._last_id = stream_id
        if len(self.streams) >= self._limits.max_concurrent_streams:
            self._counters.met("max_concurrent_streams")
            raise StreamFault(Code.REFUSED_STREAM, "too many streams")
        # Until our SETTINGS are acknowledged the peer may still use the RFC's default.
        default = 0 if self._acknowledged else frames.DEFAULT_WINDOW
        stream = Stream(stream_id, max(self._limits.stream_window, default), self.outbox.initial_window)
        stream.state = after(stream.state, Step.RECV_HEADERS)
        self.streams[stream_id] = stream
        self._counters.streams += 1
        if head.fault:
            raise StreamFault(Code.PROTOCOL_ERROR, head.fault)
        stream.content_length = head.content_length
        if head.list_bytes > self._limits.max_header_list_bytes:
            self._counters.met("max_header_list_bytes")
            self.send_trailers(stream_id, HEADERS_TOO_LARGE)
            return
        self._events.append(RequestReceived(stream_id, head))
        if flags & frames.END_STREAM:
            self._end_request(stream)

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._count("max_stray_frames")

    def _on_rst_stream(self, flags: int, stream_id: int, payload: bytes) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            self._count("max_late_frames")
            after(self._state_of(stream_id), Step.RECV_RESET)
            return
        if not stream.was_answered:
            self._count("max_resets")
        self._counters.resets += 1
        self._close(stream, after(stream.state, Step.RECV_RESET))
        self._events.append(StreamReset(stream_id, frames.WORD.unpack(payload)[0], True))

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an acknowledgment with a payload")
            if not self._acknowledged:
                self._acknowledged = True
                self._heads.table_acknowledged()
            return
        self._count("max_settings")
        window: int | None = None
        for name, value in frames.SETTING.iter_unpack(payload):
            self._count("max_settings_entries")
            if name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.MAX_WINDOW:
                    raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE above 2^31-1")
                window = value
            else:
                self._apply(name, value)
        if window is not None:
            # Once a frame, however often it says it: each time concerns every stream.
            self.outbox.resize(self.streams.values(), window)
            self._more_work = len(self.streams) // STREAMS_A_FRAME
        self.phase = CONNECTION[self.phase][ConnectionStep.RECV_SETTINGS]
        self.outbox.push(frames.frame(frames.SETTINGS, frames.ACK))

    def _apply(self, name: int, value: int) -> None:
        if name == frames.ENABLE_PUSH and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
        if name == frames.MAX_FRAME_SIZE:
            if not 2**14 <= value < 2**24:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "MAX_FRAME_SIZE out of its range")
            self.outbox.limit_frames(value)
        elif name == frames.HEADER_TABLE_SIZE:
            self._shrink_table = True

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a client does not push")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._count("max_pings")
        if not flags & frames.ACK:
            self.outbox.push(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif payload == DRAIN_PING and self.phase is ConnectionPhase.DRAINING:
            self._leave()

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        self.peer_leaves = True

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        increment = frames.WORD.unpack(payload)[0] & frames.MAX_WINDOW
        stream = self.streams.get(stream_id)
        self._count("max_window_updates")
        if stream_id and stream is None:
            self._count("max_late_frames")
            after(self._state_of(stream_id), Step.RECV_WINDOW)
        else:
            self.outbox.widen(stream, increment)

    # ---- the life of streams and of the connection

    def _state_of(self, stream_id: int) -> StreamState:
        """The state of a stream that is not live."""
        if stream_id > self._last_id:
            return StreamState.NOT_TAKEN if self.phase is ConnectionPhase.LEAVING else StreamState.IDLE
        return self._closed.get(stream_id, StreamState.FORGOTTEN)

    def _close(self, stream: Stream, state: StreamState) -> None:
        stream.state = state
        self.streams.pop(stream.id, None)
        if stream.queued:
            self.outbox.discard(stream)
        self._remember(stream.id, state)

    def _remember(self, stream_id: int, state: StreamState) -> None:
        self._closed[stream_id] = state
        if len(self._closed) > REMEMBERED:
            del self._closed[next(iter(self._closed))]

    def _finish(self, stream: Stream) -> None:
        """The trailers are out."""
        if stream.state not in LIVE:
            return
        state = after(stream.state, Step.SEND_END)
        if state is StreamState.HALF_CLOSED_LOCAL:
            self.outbox.push(frames.rst_stream(stream.id, Code.NO_ERROR))
            state = after(state, Step.SEND_RESET)
        self._close(stream, state)

    def _reset(self, stream_id: int, code: Code) -> None:
        stream = self.streams.get(stream_id)
        if stream:
            self._close(stream, after(stream.state, Step.SEND_RESET))
            self._events.append(StreamReset(stream_id, code, False))
        elif stream_id > self._last_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "an error on a stream that is idle")
        else:
            self._remember(stream_id, StreamState.RESET_BY_US)
        self._counters.resets += 1
        self.outbox.push(frames.rst_stream(stream_id, code))
        if not (stream and stream.was_answered):
            self._count("max_resets")

    def _fail(self, fault: ConnectionFault) -> None:
        if self.phase is ConnectionPhase.FAILED:
            return
        self.phase = CONNECTION[self.phase][ConnectionStep.FAULT]
        self._counters.connection_errors += 1
        for stream in list(self.streams.values()):
            self._close(stream, StreamState.RESET_BY_US)
        self.outbox.push(frames.goaway(self._last_id, fault.code, fault.reason))
        self._events.append(ConnectionEnded(fault.code, fault.reason))

    def _leave(self) -> None:
        self.phase = CONNECTION[self.phase][ConnectionStep.DRAIN_SEEN]
        self.outbox.push(frames.goaway(self._last_id, Code.NO_ERROR))

    def _own_block(self, block: bytes) -> bytes:
        if self._shrink_table:
            self._shrink_table = False
            return EMPTY_TABLE + block
        return block

    # ---- bounds

    def _count(self, name: str) -> None:
        if self._rates[name].exceeded(self.outbox.now):
            self._counters.met(name)
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"{name} exceeded")

    def _check_handshake(self, now: float) -> None:
        if self.phase is ConnectionPhase.FAILED or now - self._born < self._limits.handshake_seconds:
            return
        if self.phase in (ConnectionPhase.PREFACE, ConnectionPhase.SETTINGS):
            self._counters.met("handshake_seconds")
            raise ConnectionFault(Code.PROTOCOL_ERROR, "no preface and SETTINGS in time")
        if not self._acknowledged:
            self._counters.met("handshake_seconds")
            raise ConnectionFault(Code.SETTINGS_TIMEOUT, "SETTINGS not acknowledged in time")

    def _check_stalls(self, now: float) -> None:
        outbox, limit = self.outbox, now - self._limits.stall_seconds
        if outbox.waiting and outbox.moved_at < limit:
            self._counters.met("stall_seconds")
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "the connection's output is stalled")
        for stream in [each for each in outbox.blocked.values() if each.moved_at < limit]:
            self._counters.met("stall_seconds")
            self._reset(stream.id, Code.ENHANCE_YOUR_CALM)
