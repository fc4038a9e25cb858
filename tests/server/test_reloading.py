"""Other settings for a server that runs. What workers do with them is in ``test_workers``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from extproc.server import service as service_module
from extproc.server.reloading import HANGUP, REPLACE, Alone, adopted, read_anew, reload_when
from extproc.server.service import Service
from extproc.server.serving import set_up_log
from extproc.settings import SettingError, Settings
from tests.exchange.conversation import OPENAI
from tests.server.test_service import answers, first, posted
from tests.server.test_serving import Stream, sidecar
from tests.support.upstream import eventually

LOGGED = OPENAI.removesuffix("}") + ", logging: {summaries: true}}"


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """The log's level is the process's."""
    root, ours = logging.getLogger(), logging.getLogger("extproc")
    before, ours_before = root.level, ours.level
    yield
    root.setLevel(before)
    ours.setLevel(ours_before)


def go_on(service: Service, settings: Settings) -> str:
    return asyncio.run(adopted(service, settings))


def test_what_is_open_keeps_what_it_began_with_and_the_next_has_the_new() -> None:
    service = Service(Settings())
    old = service.open()
    small = replace(Settings(), limits=replace(Settings().limits, max_decoded_bytes=64), log_level="warning")
    assert go_on(service, small) == ""
    assert logging.getLogger().level == logging.WARNING
    new = service.open()
    for session, kind in ((old, "request_body"), (new, "immediate_response")):
        session.receive(first())
        assert answers(session.receive(posted()))[0].WhichOneof("response") == kind
        session.close()
    assert service.open_sessions == 0


def ended(service: Service, count: int = 1) -> None:
    for _ in range(count):
        session = service.open()
        session.receive(first(route=LOGGED))
        session.receive(posted())
        session.close()


def lines(path: Path) -> int:
    return len(list(map(json.loads, path.read_text().splitlines())))


def test_no_record_falls_between_the_old_sinks_and_the_new(tmp_path: Path) -> None:
    """What began before a reload is told after it, once."""
    one, two = tmp_path / "one", tmp_path / "two"
    service = Service(Settings(records=str(one)))
    ended(service, 3)
    held = service.open()
    held.receive(first(route=LOGGED))
    held.receive(posted())
    assert go_on(service, Settings(records=str(two))) == ""
    assert lines(one) == 3
    held.close()
    ended(service)
    assert go_on(service, Settings()) == "" and service.queued == [] and service.lines is None
    assert (lines(one), lines(two)) == (3, 2)
    ended(service)
    assert (lines(one), lines(two)) == (3, 2)


def test_what_is_replaced_leaves_no_file_open(tmp_path: Path) -> None:
    service = Service(Settings(records=str(tmp_path / "0")))
    ended(service)
    for number in range(1, 4):
        assert go_on(service, Settings(records=str(tmp_path / str(number)))) == ""
        ended(service)

    def held() -> list[str]:
        found = []
        for each in os.listdir("/proc/self/fd"):
            # Other threads close theirs meanwhile.
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/self/fd/{each}"))
        return [name for name in found if name.startswith(str(tmp_path))]

    assert held() == [str(tmp_path / "3")]
    service.close()
    assert held() == [] and [lines(tmp_path / str(number)) for number in range(4)] == [1, 1, 1, 1]


def test_drops_are_counted_on(tmp_path: Path) -> None:
    service = Service(Settings(records="/dev/full"))
    ended(service, 2)
    assert eventually(lambda: service.queued[0].dropped == 2)
    release = threading.Event()
    write = service.queued[0]._write
    service.queued[0]._write = lambda batch: (release.wait(5), write(batch))[1]
    ended(service, 3)
    prepared = service.prepare(Settings(records=str(tmp_path / "records")))
    before = service.adopt(prepared)
    assert service.queued[0].dropped == 2
    release.set()
    service.retire(before)
    assert service.queued[0].dropped == 5
    service.close()


@pytest.mark.replaces_code
def test_several_places_that_hang_take_as_long_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker has to say in time that it goes on with other settings."""
    monkeypatch.setattr(service_module, "CLOSING_SECONDS", 0.2)
    release = threading.Event()
    services = [Service(Settings(records=str(tmp_path / name))) for name in "ab"]
    (first_one, second) = [each.queued[0] for each in services]
    asked: list[float] = []
    for sink in (first_one, second):
        sink._write = lambda batch: release.wait(30)  # type: ignore[assignment]
        close = sink.close
        monkeypatch.setattr(sink, "close", lambda seconds, close=close: close(asked.append(seconds) or seconds))  # type: ignore[func-returns-value]
    for each in services:
        ended(each)
    services[0].retire([(first_one, 0), (second, 0)])
    release.set()
    assert asked[0] > 0.1 and asked[1] < 0.1


def test_the_same_places_are_only_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "records"
    settings = Settings(records=str(path))
    service = Service(settings)
    sinks = service.queued
    path.rename(tmp_path / "moved")
    assert go_on(service, replace(settings, secrets="A_KEY")) == ""
    assert service.queued == sinks
    ended(service)
    assert eventually(path.exists)
    service.close()


def test_a_secret_of_a_place_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a")
    settings = Settings(records_http="http://127.0.0.1:1/", records_http_auth=f"Bearer ${{file:{file}}}")
    service = Service(settings)
    sinks = service.queued
    assert go_on(service, settings) == "" and service.queued != sinks
    file.unlink()
    sinks = service.queued
    assert f"file {str(file)!r}: No such file" in go_on(service, settings) and service.queued == sinks
    service.close()


def test_a_bug_in_reading_them_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(Settings())

    def fails(self: Service, settings: Settings) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Service, "prepare", fails)
    assert go_on(service, Settings()) == "ZeroDivisionError()"


def test_what_is_read_anew(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable() -> Settings:
        raise SettingError("--x: is wrong")

    assert read_anew(Settings(), unreadable) is None
    assert caplog.messages == ["not reloaded: --x: is wrong"]
    caplog.clear()
    wanted = Settings(listen="127.0.0.1:7", max_side_calls=3, secrets="A_KEY")
    monkeypatch.setenv("EXTPROC_XYZZY", "1")
    assert read_anew(Settings(), lambda: wanted, HANGUP) == Settings(secrets="A_KEY")
    assert caplog.messages == [
        "changed, and of effect from the next start: --listen, --max-side-calls",
        "EXTPROC_XYZZY is no setting and has no effect",
    ]
    assert read_anew(Settings(), lambda: wanted, REPLACE) == Settings(secrets="A_KEY", max_side_calls=3)


def test_alone(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.INFO)
    read: list[Callable[[], Settings]] = [lambda: Settings(records=str(tmp_path / "x"))]
    service = Service(Settings())

    def wanted() -> Settings:
        return read.pop()()

    alone = Alone(service, Settings(), wanted)
    asyncio.run(alone.reload())
    assert json.loads(service.config())["settings"]["records"] == str(tmp_path / "x")
    read.append(lambda: Settings(capabilities="/none.yaml"))
    asyncio.run(alone.reload())
    assert json.loads(service.config())["settings"]["records"] == str(tmp_path / "x")
    # Threads of other tests may still log.
    said = [each.getMessage() for each in caplog.records if each.name == "extproc.server.reloading"]
    assert said == ["reloaded", "not reloaded: /none.yaml: No such file or directory"]
    service.close()


def test_what_is_asked_meanwhile_is_done_once_more() -> None:
    done: list[int] = []

    async def asked_twice() -> None:
        asked = asyncio.Event()
        asked.set()
        enough = asyncio.Event()

        async def reload() -> None:
            done.append(1)
            if len(done) == 1:
                asked.set()
                asked.set()
            else:
                enough.set()

        task = asyncio.create_task(reload_when(asked, reload))
        await asyncio.wait_for(enough.wait(), 5)
        task.cancel()

    asyncio.run(asked_twice())
    assert len(done) == 2


def test_a_reload_that_fails_in_an_unknown_way_is_not_the_last(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    async def asked_again() -> None:
        asked, enough = asyncio.Event(), asyncio.Event()
        asked.set()

        async def reload() -> None:
            done.append(1)
            if len(done) == 1:
                asked.set()
                raise ZeroDivisionError
            enough.set()

        task = asyncio.create_task(reload_when(asked, reload))
        await asyncio.wait_for(enough.wait(), 5)
        task.cancel()

    asyncio.run(asked_again())
    assert len(done) == 2 and "a bug in reloading" in caplog.text


@pytest.mark.parametrize(
    ("said", "ours", "others"),
    [("debug", logging.DEBUG, logging.INFO), ("info", logging.INFO, logging.INFO),
     ("error", logging.ERROR, logging.ERROR)],
)  # fmt: skip
def test_the_logs_level_is_the_one_that_a_start_would_have_had(said: str, ours: int, others: int) -> None:
    """At debug the libraries beneath would log what is signed."""
    set_up_log(Settings(log_level="warning"))
    assert go_on(Service(Settings()), Settings(log_level=said)) == ""
    assert logging.getLogger("extproc.server").getEffectiveLevel() == ours
    assert logging.getLogger("botocore.auth").getEffectiveLevel() == others


@pytest.mark.parametrize("transport", ["grpcio", "h2"])
def test_one_process_reloads_and_drops_no_stream(tmp_path: Path, transport: str) -> None:
    file, log = tmp_path / "settings.yaml", []
    file.write_text("log_level: info\n")
    with sidecar("--config", str(file), "--transport", transport) as (child, address):
        assert child.stderr is not None
        stream = Stream(address)
        assert stream.answered() == "request_headers"
        for text, said in (
            ("log_level: loud\n", "not reloaded: " + f"{file}: log_level: 'loud' is not one of"),
            ("max_open_blocks: 3\nrecords: stdout\n", " reloaded"),
        ):
            file.write_text(text)
            child.send_signal(signal.SIGHUP)
            log.append(child.stderr.readline())
            assert said in log[-1]
        stream.finish()
        assert list(stream.call) == []
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
