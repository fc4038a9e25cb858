"""Where records go: by settings, from a process that serves, and from several."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from extproc.server.records import sinks_of
from extproc.settings import SettingError, Settings
from extproc.telemetry.files import Lines
from extproc.telemetry.outcome import Began, Ending, Outcome
from extproc.telemetry.sinks import Full

from ..support.side_service import SideService
from ..support.upstream import eventually
from .test_serving import sidecar

BEGAN = Began("translator", 1.0, "id-1")
LOGGED = Outcome("translator", Ending.COMPLETE, summary=True)


def test_nowhere_by_default() -> None:
    assert sinks_of(Settings()) == (None, [])


@pytest.mark.rows("D18")
def test_lines_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "records"
    to_file, (sink,) = sinks_of(Settings(records=str(path)))
    sink.ended(BEGAN, LOGGED)
    sink.ended(BEGAN, Outcome("router", Ending.PASSED))
    assert eventually(lambda: path.stat().st_size > 0)
    path.rename(tmp_path / "moved")
    assert to_file is not None
    to_file.reopen_soon()
    sink.ended(Began("translator", 2.0, "id-2"), LOGGED)
    sink.close()
    found = [msgspec.json.decode((tmp_path / name).read_bytes()) for name in ("moved", "records")]
    assert [entry["request_id"] for entry in found] == ["id-1", "id-2"] and sink.dropped == 0


def test_a_full_disk_is_counted() -> None:
    _, (sink,) = sinks_of(Settings(records="/dev/full"))
    sink.ended(BEGAN, LOGGED)
    sink.close()
    assert (sink.name, sink.dropped) == ("file", 1)


def test_of_a_batch_that_finds_no_room_the_rest_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to_file, (sink,) = sinks_of(Settings(records=str(tmp_path / "records")))
    assert to_file is not None

    def write(self: Lines, lines: bytes) -> None:
        self.written = 1
        raise OSError("full")

    monkeypatch.setattr(Lines, "write", write)
    with pytest.raises(Full, match="full") as raised:
        to_file.write([(BEGAN, LOGGED)] * 3)
    assert raised.value.lost == 2
    sink.close()


def test_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        sinks_of(Settings(records=str(tmp_path / "none" / "log")))


@pytest.mark.rows("D32")
def test_to_an_endpoint_and_to_kafka_at_once(tmp_path: Path) -> None:
    service = SideService()
    key = tmp_path / "key"
    key.write_text("secret-of-the-logs\n")
    settings = Settings(
        records=str(tmp_path / "records"), records_http=f"{service.url}/in", records_kafka="mock:1",
        records_http_auth=f"Bearer ${{file:{key}}}", records_kafka_topic="test2", records_kafka_key="key1",
        records_kafka_options="test.mock.num.brokers=1, sasl.password=${PASSWORD}", records_batch=1,
    )  # fmt: skip
    _, sinks = sinks_of(settings, {"PASSWORD": "hidden-from-all"})
    for sink in sinks:
        sink.ended(BEGAN, LOGGED)
        sink.close()
    assert [(sink.name, sink.dropped) for sink in sinks] == [("http", 0), ("kafka", 0), ("file", 0)]
    (asked,) = service.asked
    assert asked.headers["authorization"] == "Bearer secret-of-the-logs"
    assert msgspec.json.decode(asked.body) == [msgspec.json.decode((tmp_path / "records").read_bytes())]
    service.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"records_http": "http://x", "records_http_auth": "Bearer hidden-from-all"},
         "--records-http-auth: refer to the secret by"),
        ({"records_http": "http://x", "records_http_auth": "Bearer ${NONE}"},
         "--records-http-auth: environment variable NONE is not set"),
        ({"records_kafka": "x:1"}, "--records-kafka-topic: say which topic"),
        ({"records_kafka_options": "sasl.password=hidden-from-all"}, "sasl.password: refer to the secret by"),
        ({"records_kafka_options": "sasl.password"}, "expected name=value"),
        ({"records_kafka_options": "batch.num.messages=1"}, "batch.num.messages is said by another setting"),
        ({"records_kafka_options": "no.such.property=x"}, "no.such.property"),
        ({"records_kafka_options": "sasl.username=${NONE}"}, "sasl.username: environment variable NONE is not set"),
    ],
)  # fmt: skip
def test_wrong_settings_are_named_and_secrets_are_not_repeated(settings: dict[str, str], said: str) -> None:
    if "records_kafka_options" in settings:
        settings = {"records_kafka": "x:1", "records_kafka_topic": "t", **settings}
    with pytest.raises(SettingError) as raised:
        sinks_of(Settings(**settings), {})  # type: ignore[arg-type]
    assert said in str(raised.value) and "hidden" not in str(raised.value)


def test_kafka_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(SettingError, match=r"pip install 'extproc-llm\[kafka\]'"):
        sinks_of(Settings(records_kafka="x:1", records_kafka_topic="t"))


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2])
def test_a_signal_does_not_end_it(tmp_path: Path, number: signal.Signals) -> None:
    with sidecar("--records", str(tmp_path / "records")) as (child, _):
        os.kill(child.pid, number)
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(10) == 0
