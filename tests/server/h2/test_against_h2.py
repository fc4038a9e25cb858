"""The machine against the ``h2`` library as its client: any legal conversation, cut anywhere, with any windows.

``h2`` checks what it receives as strictly as it checks what it is asked to send: whatever our side says that breaks a
rule, flow control included, raises here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.server.h2.heads import Head
from extproc.server.h2.limits import Counters, H2Limits
from extproc.server.h2.messages import prefixed
from extproc.server.h2.session import Outlet, Session

from .peer import ECHO, Echo, examples

LIMITS = st.builds(
    H2Limits,
    stream_window=st.sampled_from([2000, 10_000, 65535, 200_000]),
    connection_window=st.sampled_from([65535, 100_000]),
    max_stream_output=st.sampled_from([1, 500, 100_000]),
)
PICK = st.integers(0, 5)
SIZE = st.one_of(st.integers(0, 30), st.integers(0, 40_000))
OPEN = st.tuples(st.just("open"), st.booleans(), PICK)
SAY = [
    st.tuples(st.just("message"), PICK, SIZE),
    st.tuples(st.just("send"), PICK, SIZE, st.one_of(st.none(), st.integers(0, 255))),
    st.tuples(st.just("deliver"), st.integers(1, 20_000)),
]
STEPS = st.lists(
    st.one_of(
        OPEN,
        *SAY,
        *SAY,
        *SAY,
        st.tuples(st.just("end"), PICK, st.booleans()),
        st.tuples(st.just("reset"), PICK),
        st.tuples(st.just("ping")),
        st.tuples(st.just("prioritise"), PICK),
        st.tuples(
            st.just("settings"), st.integers(0, 70_000), st.sampled_from([16384, 17000, 90_000]), st.integers(0, 5000)
        ),
        st.tuples(st.just("widen"), PICK, st.integers(1, 50_000)),
    ),
    min_size=8,
    max_size=80,
)


@dataclass
class Call:
    """What the client means to say on one stream, and what it has heard."""

    stream_id: int
    said: bytes = b""
    to_send: bytes = b""
    wants_end: bool = False
    trailers: bool = False
    ended: bool = False
    reset: bool = False
    heard: bytes = b""
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return "grpc-status" in self.fields


class Client:
    """``h2`` on one side, a Session on the other, and nothing between them but bytes."""

    def __init__(self, limits: H2Limits) -> None:
        self.answerers: list[Echo] = []
        self.session = Session({ECHO: self._echo}, limits, Counters(), 0.0)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config=config)
        self.h2.initiate_connection()
        self.calls: list[Call] = []

    def _echo(self, head: Head, outlet: Outlet) -> Echo:
        self.answerers.append(Echo(head, outlet))
        return self.answerers[-1]

    def pick(self, number: int) -> Call | None:
        return self.calls[number % len(self.calls)] if self.calls else None

    def step(self, name: str, *args: Any) -> None:
        getattr(self, name)(*args)

    def open(self, indexed: bool, variant: int) -> None:
        stream_id = self.h2.get_next_available_stream_id()
        headers = [
            (":method", "POST"), (":scheme", "http"), (":path", ECHO), (":authority", "x"), ("te", "trailers"),
            ("content-type", "application/grpc"), ("x-variant", "v" * variant),
        ]  # fmt: skip
        if not indexed and self.h2.encoder.header_table_size:
            self.h2.encoder.header_table_size = 0
        self.h2.send_headers(stream_id, headers, priority_weight=20 if variant == 1 else None)
        self.calls.append(Call(stream_id))

    def message(self, number: int, size: int) -> None:
        call = self.pick(number)
        if call and not call.wants_end and not call.reset:
            wire = prefixed(bytes((size % 251,)) * size)
            call.said += wire
            call.to_send += wire

    def send(self, number: int, size: int, padding: int | None) -> None:
        call = self.pick(number)
        if call is None or call.reset or call.ended:
            return
        room = min(self.h2.local_flow_control_window(call.stream_id), self.h2.max_outbound_frame_size)
        if padding is not None and padding + 1 > room:
            padding = None
        size = max(0, min(size, len(call.to_send), room - (0 if padding is None else padding + 1)))
        if size or padding is not None:
            self.h2.send_data(call.stream_id, call.to_send[:size], pad_length=padding)
            call.to_send = call.to_send[size:]
        self._end_if_done(call)

    def end(self, number: int, trailers: bool) -> None:
        call = self.pick(number)
        if call and not call.reset and not call.wants_end:
            call.wants_end, call.trailers = True, trailers
            self._end_if_done(call)

    def _end_if_done(self, call: Call) -> None:
        if call.wants_end and not call.to_send and not call.ended:
            call.ended = True
            if call.trailers:
                self.h2.send_headers(call.stream_id, [("x-trailer", "t")], end_stream=True)
            else:
                self.h2.end_stream(call.stream_id)

    def reset(self, number: int) -> None:
        call = self.pick(number)
        if call and not call.reset and not call.done:
            call.reset = True
            self.h2.reset_stream(call.stream_id)

    def ping(self) -> None:
        self.h2.ping(b"12345678")

    def prioritise(self, number: int) -> None:
        self.h2.prioritize(2 * number + 1, weight=3)

    def settings(self, window: int, frame: int, table: int) -> None:
        # h2 takes an acknowledgment for one of all SETTINGS that it has said.
        self.deliver(1 << 20)
        codes = SettingCodes
        self.h2.update_settings(
            {codes.INITIAL_WINDOW_SIZE: window, codes.MAX_FRAME_SIZE: frame, codes.HEADER_TABLE_SIZE: table}
        )

    def widen(self, number: int, size: int) -> None:
        call = self.pick(number - 1) if number else None
        if call is None:
            self.h2.increment_flow_control_window(size)
        elif not call.reset and not call.done:
            self.h2.increment_flow_control_window(size, call.stream_id)

    def deliver(self, cut: int) -> None:
        """What the client has said reaches the server in pieces; what the server answers reaches the client."""
        said = self.h2.data_to_send()
        for n in range(0, max(1, len(said)), cut):
            self.session.receive(said[n : n + cut], 0.0)
            self._listen(cut)
            while self.session.more:
                self.session.proceed(0.0)
                self._listen(cut)

    def _listen(self, cut: int) -> None:
        while heard := self.session.output(0.0):
            for k in range(0, len(heard), cut):
                for event in self.h2.receive_data(heard[k : k + cut]):
                    self._hear(event)

    def _hear(self, event: h2.events.Event) -> None:
        assert not isinstance(event, h2.events.ConnectionTerminated), event
        call = next((each for each in self.calls if each.stream_id == getattr(event, "stream_id", None)), None)
        if call is None or call.reset:
            return
        if isinstance(event, h2.events.DataReceived):
            call.heard += event.data or b""
        elif isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived):
            call.fields |= {str(name): str(value) for name, value in event.headers or ()}
        assert not isinstance(event, h2.events.StreamReset), event

    def finish(self) -> None:
        """Say all that is left, open every window, and hear all."""
        for number, call in enumerate(self.calls):
            self.end(number, call.trailers)
        for _ in range(5000):
            for number in range(len(self.calls)):
                self.send(number, 100_000, None)
                self.widen(number + 1, 20_000)
            self.widen(0, 60_000)
            self.deliver(100_000)
            if all(call.reset or call.done for call in self.calls):
                return
        raise AssertionError("some calls never end")


@settings(max_examples=examples(120), deadline=None)
@given(LIMITS, st.tuples(OPEN, OPEN), STEPS)
def test_any_legal_conversation(
    limits: H2Limits, first: tuple[tuple[Any, ...], ...], steps: list[tuple[Any, ...]]
) -> None:
    client = Client(limits)
    for name, *args in [*first, *steps]:
        client.step(name, *args)
    client.finish()
    for call in client.calls:
        if not call.reset:
            assert call.heard == call.said
            assert call.fields["grpc-status"] == "0"
        else:
            assert call.said.startswith(call.heard)
    assert [each.closed for each in client.answerers] == [1] * len(client.answerers)
    held = client.session
    assert not held._calls and not held._connection.streams
    assert held._buffered == held._connection.outbox.queued == 0
    assert not held._connection.outbox.waiting and not held._connection.outbox.blocked


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.integers(0, 60_000), min_size=1, max_size=6), st.integers(1, 3000))
def test_an_answer_crosses_any_window(sizes: list[int], window: int) -> None:
    client = Client(H2Limits())
    client.settings(window, 16384, 4096)
    client.deliver(10**6)
    client.open(True, 0)
    for size in sizes:
        client.message(0, size)
    client.finish()
    (call,) = client.calls
    assert call.heard == call.said
