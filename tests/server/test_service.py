from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from extproc.capabilities import CapabilityError
from extproc.envoy_api.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from extproc.exchange.attributes import FILTER
from extproc.exchange.machine import Exchange
from extproc.server.service import NotAMessage, Service
from extproc.settings import Settings
from extproc.telemetry.outcome import Ending
from tests.exchange.conversation import OPENAI, leaf


def first(path: str = "/v1/messages") -> bytes:
    message = ProcessingRequest()
    message.request_headers.headers.headers.add(key=":path", raw_value=path.encode())
    message.request_headers.headers.headers.add(key=":method", raw_value=b"POST")
    message.attributes[FILTER].update(leaf(OPENAI))
    return message.SerializeToString()


def answers(made: list[bytes]) -> list[ProcessingResponse]:
    return [ProcessingResponse.FromString(data) for data in made]


@pytest.mark.parametrize("role", ["", "translator", "router"])
def test_a_session_answers_bytes_with_bytes(role: str) -> None:
    session = Service(Settings()).open(role)
    (answer,) = answers(session.receive(first()))
    assert answer.WhichOneof("response") == "request_headers"


def test_an_unknown_role_is_answered_in_the_clients_shape() -> None:
    session = Service(Settings()).open("ruter")
    (answer,) = answers(session.receive(first()))
    assert answer.immediate_response.status.code == 500
    assert b"x-extproc-role must be one of translator, router" in answer.immediate_response.body


def test_streams_beyond_the_bound_are_told_so() -> None:
    service = Service(replace(Settings(), max_concurrent_streams=2))
    sessions = [service.open() for _ in range(3)]
    kinds = [answers(session.receive(first()))[0].WhichOneof("response") for session in sessions]
    assert kinds == ["request_headers", "request_headers", "immediate_response"]
    for session in sessions:
        session.close()
    assert service.open_sessions == 0
    assert service.endings == {("translator", Ending.CANCELLED): 2, ("translator", Ending.REFUSED): 1}
    (answer,) = answers(service.open().receive(first()))
    assert answer.WhichOneof("response") == "request_headers", "there is room again"


def test_what_is_no_message_is_the_only_thing_that_raises() -> None:
    dice = random.Random(7)
    message = first()
    for _ in range(2000):
        session = Service.open(SERVICE)
        broken = bytearray(message)
        for _ in range(dice.randint(1, 4)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        try:
            session.receive(bytes(broken))
        except NotAMessage:
            pass
        session.close()
    with pytest.raises(NotAMessage):
        SERVICE.open().receive(b"\xff")


SERVICE = Service(Settings())


@pytest.mark.replaces_code
def test_a_bug_in_closing_does_not_escape(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    service = Service(Settings())
    session = service.open()
    monkeypatch.setattr(Exchange, "close", lambda self: 1 / 0)
    session.close()
    assert "a bug in closing" in caplog.text and service.open_sessions == 0


def test_an_operators_table_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text("nonsense: 1")
    with pytest.raises(CapabilityError):
        Service(replace(Settings(), capabilities=str(path)))
