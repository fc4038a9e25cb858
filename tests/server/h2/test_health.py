from __future__ import annotations

from extproc.envoy_api.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from extproc.server.h2 import frames
from extproc.server.h2.heads import block
from extproc.server.h2.health import Health
from extproc.server.h2.messages import prefixed

from .peer import Caller, Frame, data, headers
from .test_session import answers, end

SERVING, NOT_SERVING, UNKNOWN = (
    HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING, HealthCheckResponse.SERVICE_UNKNOWN,
)  # fmt: skip


class Asker(Caller):
    """Opens calls to one Health."""

    def __init__(self) -> None:
        self.health = Health(("", "a.B"))
        super().__init__(methods=self.health.methods())

    def ask(self, stream_id: int, method: str, service: str) -> list[Frame]:
        path = f"/grpc.health.v1.Health/{method}"
        fields = {":method": "POST", ":scheme": "http", ":path": path, "content-type": "application/grpc"}
        message = prefixed(HealthCheckRequest(service=service).SerializeToString())
        self.say(headers(stream_id, block=block(*fields.items())), data(stream_id, message, end=True))
        return self.hear()


def statuses(heard: list[Frame], stream_id: int) -> list[int]:
    wire = answers(heard, stream_id)
    found: list[int] = []
    while wire:
        size = int.from_bytes(wire[1:5], "big") + 5
        found.append(HealthCheckResponse.FromString(wire[5:size]).status)
        wire = wire[size:]
    return found


def test_check() -> None:
    asker = Asker()
    for n, service in ((3, ""), (5, "a.B")):
        heard = asker.ask(n, "Check", service)
        assert statuses(heard, n) == [SERVING]
        assert end(heard, n)["grpc-status"] == "0"
    assert end(asker.ask(7, "Check", "c.D"), 7)["grpc-status"] == "5"
    asker.health.stop()
    assert statuses(asker.ask(9, "Check", ""), 9) == [NOT_SERVING]


def test_what_is_not_a_request() -> None:
    asker = Asker()
    fields = {":method": "POST", ":scheme": "http", "content-type": "application/grpc"}
    wire = block((":path", "/grpc.health.v1.Health/Check"), *fields.items())
    asker.say(headers(3, block=wire), data(3, prefixed(b"\xff\xff")))
    assert end(asker.hear())["grpc-status"] == "13"


def test_watch_stays_open_and_tells_of_the_change() -> None:
    asker = Asker()
    assert statuses(asker.ask(3, "Watch", "a.B"), 3) == [SERVING]
    assert statuses(asker.ask(5, "Watch", "c.D"), 5) == [UNKNOWN]
    asker.health.stop()
    heard = asker.hear()
    assert (statuses(heard, 3), statuses(heard, 5)) == ([NOT_SERVING], [])
    heard += asker.ask(7, "Watch", "")
    assert statuses(heard, 7) == [NOT_SERVING]
    assert [end(heard, n)["grpc-status"] for n in (3, 5, 7)] == ["0"] * 3
    assert not asker.health.watches


def test_a_watch_that_is_reset_is_forgotten() -> None:
    asker = Asker()
    asker.ask(3, "Watch", "")
    asker.say(frames.rst_stream(3, frames.Code.CANCEL))
    assert not asker.health.watches
    asker.health.stop()
    assert asker.hear() == []
