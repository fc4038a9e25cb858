"""Several processes under one supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from extproc.cli import main
from extproc.demo.processes import NotStarted
from extproc.server import health, workers
from extproc.server.workers import Worker, WorkerProcess
from extproc.settings import MIB, Settings
from extproc.telemetry.ring import Look
from tests.server.test_serving import Stream
from tests.support.upstream import eventually
from tests.support.workers import Workers, alive

# ---- restarts, with processes that only pretend


class Pretended(WorkerProcess):
    """Serves if it should, and ends at once."""

    serve = True
    begun = 0

    async def run(self, serving: Callable[[], None]) -> int:
        Pretended.begun += 1
        self.listening = ["127.0.0.1:7"] if self.serve else []
        if self.serve:
            serving()
        await asyncio.sleep(0)
        return -9


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> type[Pretended]:
    monkeypatch.setattr(workers, "WorkerProcess", Pretended)
    monkeypatch.setattr(workers, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(workers, "MAX_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(Pretended, "serve", True)
    monkeypatch.setattr(Pretended, "begun", 0)
    return Pretended


def waits(log: pytest.LogCaptureFixture) -> list[float]:
    return [float(match[1]) for line in log.messages if (match := re.search(r"another starts in (\S+) s$", line))]


async def _kept(worker: Worker, lives: int) -> int:
    keeping = asyncio.create_task(worker.keep())
    while Pretended.begun < lives:
        await asyncio.sleep(0.001)
    worker.end()
    return await keeping


def test_a_crash_loop_is_slowed_down_to_a_bound(pretended: type[Pretended], caplog: pytest.LogCaptureFixture) -> None:
    assert asyncio.run(_kept(Worker(0, Settings(), lambda ended: None), 8)) == -9
    assert waits(caplog)[:7] == [0.001, 0.002, 0.004, 0.008, 0.016, 0.02, 0.02]
    assert re.fullmatch(
        r"worker 0 \(pid 0\) on 127\.0\.0\.1:7 was killed by SIGKILL after 0\.0 s; another starts in 0\.001 s",
        caplog.messages[0],
    )


def test_one_that_lived_long_is_followed_at_once(
    pretended: type[Pretended], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "STABLE_SECONDS", 0.0)
    asyncio.run(_kept(Worker(0, Settings(), lambda ended: None), 4))
    assert waits(caplog)[:3] == [0.0, 0.0, 0.0]


def test_a_first_process_that_never_serves_is_the_last(pretended: type[Pretended]) -> None:
    pretended.serve = False
    assert asyncio.run(Worker(0, Settings(), lambda ended: None).keep()) == -9
    assert pretended.begun == 1


def test_an_end_does_not_wait_for_the_next_start(pretended: type[Pretended], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "FIRST_WAIT_SECONDS", 60.0)
    monkeypatch.setattr(workers, "MAX_WAIT_SECONDS", 60.0)

    async def ended() -> None:
        worker = Worker(0, Settings(), lambda ended: None)
        keeping = asyncio.create_task(worker.keep())
        await asyncio.sleep(0.05)
        worker.end()
        await asyncio.wait_for(keeping, 5)

    asyncio.run(ended())
    assert pretended.begun == 1


# ---- as processes


@pytest.fixture(params=["grpcio", "h2"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@contextlib.contextmanager
def running(folder: Path, count: int = 2, *flags: str, listen: str | None = None) -> Iterator[Workers]:
    with Workers(folder, count, *flags, listen=listen) as made:
        assert len(made.pids()) == count
        yield made
    assert made.gone(), "workers stayed behind"


def begun(address: str) -> Stream:
    """A stream whose headers are answered."""
    stream = Stream(address)
    assert stream.answered() == "request_headers"
    return stream


def whole(stream: Stream) -> bool:
    stream.finish()
    return list(stream.call) == [] and stream.call.code() is grpc.StatusCode.OK


def test_one_is_no_supervisor(tmp_path: Path) -> None:
    with Workers(tmp_path, 1) as one:
        assert one.addresses == [f"unix:{tmp_path}/x.sock"] and one.pids() == []
        whole(begun(one.addresses[0]))


def test_each_serves_on_its_own_address(tmp_path: Path, transport: str) -> None:
    with running(tmp_path, 3, "--transport", transport) as made:
        assert made.addresses == [f"unix:{tmp_path}/x.{number}.sock" for number in range(3)]
        assert len(set(made.pids())) == 3
        streams = [begun(address) for address in made.addresses]
        assert all(map(whole, streams))
        made.signal(signal.SIGTERM)
        assert eventually(lambda: not made.alive()) and made.stop() == 0
    assert [line for line in made.text.splitlines() if not line.startswith("extproc listens on ")] == []


def test_any_free_ports(tmp_path: Path) -> None:
    with running(tmp_path, 2, listen="127.0.0.1:0") as made:
        first, second = made.addresses
        assert first != second
        assert [health.check(address, 5) for address in made.addresses] == ["SERVING"] * 2
        os.kill(made.pids()[0], signal.SIGKILL)
        assert eventually(lambda: made.text.count("serves on ") == 1), made.text
        assert f"serves on {first}" in made.text or f"serves on {second}" in made.text
        assert [health.check(address, 5) for address in made.addresses] == ["SERVING"] * 2


def test_one_that_dies_is_replaced_and_the_other_knows_nothing_of_it(tmp_path: Path, transport: str) -> None:
    with running(tmp_path, 2, "--transport", transport) as made:
        lost, kept = (begun(address) for address in made.addresses)
        before = made.pids()
        os.kill(before[0], signal.SIGKILL)
        with pytest.raises(grpc.RpcError):
            next(lost.call)
        assert lost.call.code() is grpc.StatusCode.UNAVAILABLE
        lost.finish()
        address = made.addresses[0]
        assert eventually(lambda: f") serves on {address}" in made.text, 30), made.text
        assert whole(begun(address))
        assert whole(kept)
        after = made.pids()
        assert after[0] != before[0] and after[1] == before[1]
        lines = [line for line in made.text.splitlines() if "WARNING" in line]
        assert len(lines) == 1 and f"worker 0 (pid {before[0]}) on {address} was killed by SIGKILL" in lines[0]


def test_a_drain_waits_for_the_streams_of_all(tmp_path: Path, transport: str) -> None:
    with running(tmp_path, 2, "--drain-seconds", "20", "--transport", transport) as made:
        streams = [begun(address) for address in made.addresses]
        made.signal(signal.SIGTERM)
        assert whole(streams[0])
        assert eventually(lambda: len(made.pids()) == 1)
        assert made.alive()
        assert whole(streams[1])
        assert eventually(lambda: not made.alive()) and made.stop() == 0


@pytest.mark.parametrize("how", ["bound", "insisted"])
def test_a_drain_ends_at_its_bound_or_when_asked_again(tmp_path: Path, transport: str, how: str) -> None:
    seconds = "0.5" if how == "bound" else "60"
    with running(tmp_path, 2, "--drain-seconds", seconds, "--transport", transport) as made:
        stream = begun(made.addresses[1])
        made.signal(signal.SIGTERM)
        assert eventually(lambda: len(made.pids()) == 1)
        if how == "insisted":
            made.signal(signal.SIGTERM)
        assert eventually(lambda: not made.alive()) and made.stop() == 0
        stream.finish()
        assert stream.call.code() is not grpc.StatusCode.OK


def test_a_signal_to_the_whole_group_counts_once(tmp_path: Path, transport: str) -> None:
    with running(tmp_path, 2, "--transport", transport) as made:
        stream = begun(made.addresses[0])
        for pid in [*made.pids(), made.pid]:
            os.kill(pid, signal.SIGTERM)
        assert not eventually(lambda: not made.alive(), 0.5)
        assert whole(stream)
        assert eventually(lambda: not made.alive()) and made.stop() == 0


def test_during_the_delay_all_say_that_they_go(tmp_path: Path) -> None:
    with running(tmp_path, 2, "--drain-delay-seconds", "20") as made:
        made.signal(signal.SIGTERM)
        for address in made.addresses:
            assert eventually(lambda address=address: health.check(address, 5) == "NOT_SERVING")  # type: ignore[misc]
        assert whole(begun(made.addresses[1]))
        made.signal(signal.SIGTERM)
        assert eventually(lambda: not made.alive())


def test_one_that_hangs_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    with running(tmp_path, 2, "--drain-seconds", "0") as made:
        hung = made.pids()[0]
        os.kill(hung, signal.SIGSTOP)
        made.signal(signal.SIGTERM)
        assert eventually(lambda: not made.alive(), workers.GRACE_SECONDS + 5)
        assert made.stop() == 1
        assert f"the worker with pid {hung} did not drain in time: killed" in made.text


def test_workers_do_not_outlive_their_supervisor(tmp_path: Path, transport: str) -> None:
    with Workers(tmp_path, 2, "--drain-delay-seconds", "60", "--transport", transport) as made:
        first, second = made.pids()
        stream = begun(made.addresses[0])
        made.kill()
        assert eventually(lambda: not alive(second))
        assert alive(first), "a stream may finish"
        # Another takes over on the same addresses, though the old worker is still there.
        folder = tmp_path / "successor"
        folder.mkdir()
        with running(folder, 2, "--transport", transport, listen=made.listen) as successor:
            assert whole(stream)
            assert made.gone()
            assert all(whole(begun(address)) for address in successor.addresses)


def test_an_address_that_cannot_be_had_ends_it_all(tmp_path: Path, transport: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        made = Workers(tmp_path, 2, "--transport", transport, listen=f"127.0.0.1:{port - 1}")
        with pytest.raises(NotStarted, match="ended with status 2"):
            made.start()
    assert "extproc listens" not in made.text
    assert [line for line in made.text.splitlines() if line.startswith("extproc: cannot listen on ")]


def test_capabilities_that_cannot_be_read_end_it_before_it_begins(tmp_path: Path) -> None:
    made = Workers(tmp_path, 2, "--capabilities", str(tmp_path / "none.yaml"))
    with pytest.raises(NotStarted, match="ended with status 2"):
        made.start()
    assert made.text.count("\n") == 1 and "none.yaml" in made.text


def test_they_are_replaced_one_after_the_other(tmp_path: Path, transport: str) -> None:
    with running(tmp_path, 2, "--transport", transport, "--drain-delay-seconds", "0.3") as made:
        before = made.pids()
        streams = [begun(address) for address in made.addresses]
        made.signal(signal.SIGUSR2)
        assert eventually(lambda: health.check(made.addresses[0], 5) != "SERVING")
        assert made.pids() == before, "a stream may finish"
        assert health.check(made.addresses[1], 5) == "SERVING", "the second goes when the first is back"
        assert whole(streams[0])
        assert eventually(lambda: health.check(made.addresses[1], 5) != "SERVING")
        assert health.check(made.addresses[0], 5) == "SERVING"
        assert whole(streams[1])
        assert eventually(lambda: made.text.endswith(" all workers are replaced\n"), 30), made.text
        assert made.others(before)
        assert all(whole(begun(address)) for address in made.addresses)
        assert "WARNING" not in made.text


def test_what_cannot_be_read_replaces_none(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("models: {}\n")
    with running(tmp_path, 2, "--capabilities", str(file)) as made:
        before = made.pids()
        file.write_text("models: [\n")
        made.signal(signal.SIGUSR2)
        assert eventually(lambda: "not reloaded: " in made.text), made.text
        assert made.pids() == before
        file.write_text("models: {}\n")
        made.signal(signal.SIGUSR2)
        assert eventually(lambda: made.text.endswith(" all workers are replaced\n"), 30), made.text
        assert made.others(before)


def test_a_drain_wins_over_a_replacement(tmp_path: Path) -> None:
    with running(tmp_path, 2, "--drain-seconds", "20") as made:
        stream = begun(made.addresses[0])
        made.signal(signal.SIGUSR2)
        assert eventually(lambda: "replacing" in made.text)
        made.signal(signal.SIGTERM)
        assert eventually(lambda: len(made.pids()) == 1)
        assert whole(stream)
        assert eventually(lambda: not made.alive()) and made.stop() == 0


def test_a_replacement_stops_at_one_that_does_not_serve(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def rolled() -> None:
        settings = dataclasses.replace(Settings(), workers=2)
        supervisor = workers.Supervisor(settings, lambda: settings)
        asked = []

        async def refuse(worker: Worker, wanted: Settings) -> bool:
            asked.append(worker.number)
            return False

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Worker, "replace", refuse)
            await supervisor._roll(settings)
        assert asked == [0]

    asyncio.run(rolled())
    assert caplog.messages[-1] == "stopped replacing them: worker 0 does not serve"


# ---- reloads, by SIGHUP


def settings_of(made: Workers) -> dict[str, Any]:
    """What each worker has: all the same."""
    with urllib.request.urlopen(f"http://{made.admin}/config", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)["settings"]
    return found


def test_a_reload_drops_no_stream_and_no_process(tmp_path: Path, transport: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("max_request_bytes: 1MiB\nrecords_batch: 5\n")
    flags = ("--config", str(file), "--records-batch", "7", "--admin", "127.0.0.1:0", "--transport", transport)
    with running(tmp_path, 2, *flags) as made:
        before, streams = made.pids(), [begun(address) for address in made.addresses]
        records = tmp_path / "records"
        file.write_text(f"max_request_bytes: 2MiB\nrecords: {records}\nworkers: 3\nmax_side_calls: 9\n")
        made.signal(signal.SIGHUP)
        assert eventually(lambda: made.text.endswith(" reloaded\n"), 10), made.text
        found = settings_of(made)
        assert (found["max_request_bytes"], found["records"]) == (2 * MIB, str(records))
        assert (found["records_batch"], found["max_side_calls"]) == (7, 512), (
            "a flag wins; what needs new processes waits"
        )
        assert "changed, and of effect from SIGUSR2 or the next start: --max-side-calls" in made.text
        assert "--workers" not in made.text, "a flag wins"
        assert records.exists()
        for wrong, why in (
            ("max_request_bytes: plenty\n", f"{file}: max_request_bytes: 'plenty' is not a size"),
            ("max_reqest_bytes: 1MiB\n", f"{file}: 'max_reqest_bytes' is no setting; did you mean max_request_bytes?"),
            ("capabilities: /none.yaml\n", "/none.yaml: No such file"),
            (f"records: {tmp_path}\n", f"Is a directory: '{tmp_path}'"),
            ("records_http: https://x/\nrecords_http_auth: secret\n", "--records-http-auth: refer to the secret by"),
        ):  # fmt: skip
            file.write_text(wrong)
            seen = len(made.text)
            made.signal(signal.SIGHUP)
            assert eventually(lambda seen=seen: made.text[seen:].endswith("\n"), 10)  # type: ignore[misc]
            assert " not reloaded: " in made.text[seen:] and why in made.text[seen:], made.text[seen:]
            assert settings_of(made) == found
        assert made.pids() == before
        assert all(map(whole, streams))
        # One that is started later has what the others were reloaded with; one that is started for another, all of it.
        file.write_text("max_request_bytes: 2MiB\nmax_side_calls: 9\n")
        os.kill(before[0], signal.SIGKILL)
        assert eventually(lambda: " serves on " in made.text, 10)
        assert settings_of(made) == found and all(whole(begun(address)) for address in made.addresses)
        made.signal(signal.SIGUSR2)
        assert eventually(lambda: made.text.endswith(" all workers are replaced\n"), 15), made.text
        found = settings_of(made)
        assert (found["max_side_calls"], found["records"], found["workers"]) == (9, "", 2)
        assert made.others(before)


def test_what_one_refuses_all_let_go_of_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = dataclasses.replace(Settings(), workers=3, listen="127.0.0.1:7")
    supervisor = workers.Supervisor(old, lambda: dataclasses.replace(old, records="/x", listen="127.0.0.1:8"))
    asked: list[tuple[str, str]] = []

    async def reload(self: WorkerProcess, settings: Settings) -> str:
        asked.append((settings.listen.rpartition(":")[2], settings.records))
        return "no room" if asked[-1] == ("8", "/x") else ""

    monkeypatch.setattr(WorkerProcess, "reload", reload)
    asyncio.run(supervisor._do())
    assert asked == [("7", "/x"), ("8", "/x"), ("7", ""), ("8", "")]
    assert caplog.messages == [
        "changed, and of effect from SIGUSR2 or the next start: --listen",
        "not reloaded: no room",
    ]


def test_one_that_starts_during_a_reload_is_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Slow(Pretended):
        go_on: asyncio.Event

        async def run(self, serving: Callable[[], None]) -> int:
            self.listening = ["127.0.0.1:7"]
            await self.go_on.wait()
            serving()
            await asyncio.sleep(0.01)
            return 0

        async def reload(self, settings: Settings) -> str:
            told.append(settings.records)
            return ""

    async def late() -> None:
        Slow.go_on = asyncio.Event()
        worker = Worker(0, Settings(), lambda ended: None)
        keeping = asyncio.create_task(worker.keep())
        await asyncio.sleep(0)
        worker._settings = dataclasses.replace(Settings(), records="/x")
        Slow.go_on.set()
        worker.end()
        await keeping

    monkeypatch.setattr(workers, "WorkerProcess", Slow)
    asyncio.run(late())
    assert told == ["/x"]


# ---- what operators see


def ask(made: Workers, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{made.admin}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def counted(made: Workers, name: str) -> float:
    lines = [line for line in ask(made, "/metrics")[1].splitlines() if re.match(rf"{name}[ {{]", line)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_one_admin_port_shows_the_sum_and_the_sum_never_falls(tmp_path: Path, transport: str) -> None:
    with running(tmp_path, 2, "--admin", "127.0.0.1:0", "--transport", transport) as made:
        streams = [begun(address) for address in made.addresses for _ in range(3)]
        assert counted(made, "extproc_open_streams") == 6
        assert all(map(whole, streams))
        assert eventually(lambda: counted(made, "extproc_exchanges_total") == 6)
        assert counted(made, "extproc_open_streams") == 0
        before = made.pids()
        os.kill(before[0], signal.SIGKILL)
        assert eventually(lambda: " serves on " in made.text, 10)
        assert counted(made, "extproc_exchanges_total") == 6
        assert all(whole(begun(address)) for address in made.addresses)
        # What they counted since someone asked last is told at their end.
        made.signal(signal.SIGUSR2)
        assert eventually(lambda: made.text.endswith(" all workers are replaced\n"), 30)
        assert made.others(before)
        assert counted(made, "extproc_exchanges_total") == 8


def test_one_that_hangs_does_not_hold_up_the_page(tmp_path: Path) -> None:
    with running(tmp_path, 2, "--admin", "127.0.0.1:0") as made:
        assert all(whole(begun(address)) for address in made.addresses)
        assert eventually(lambda: counted(made, "extproc_exchanges_total") == 2)
        hung = made.pids()[0]
        os.kill(hung, signal.SIGSTOP)
        try:
            assert counted(made, "extproc_exchanges_total") == 2
        finally:
            os.kill(hung, signal.SIGCONT)


def test_health_is_that_of_any_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ("--admin", "127.0.0.1:0", "--drain-delay-seconds", "20")
    with running(tmp_path, 2, *flags) as made:
        monkeypatch.setenv("EXTPROC_LISTEN", made.listen)
        monkeypatch.setenv("EXTPROC_WORKERS", "2")
        assert ask(made, "/readyz") == (200, "ok\n") and main(["health"]) == 0
        first = made.pids()[0]
        os.kill(first, signal.SIGTERM)
        assert eventually(lambda: main(["health", *made.addresses]) == 1)
        assert main(["health"]) == 0
        assert ask(made, "/readyz") == (200, "ok\n") == ask(made, "/healthz")
        made.signal(signal.SIGTERM)
        assert eventually(lambda: ask(made, "/readyz") == (503, "draining\n"))
        assert ask(made, "/healthz") == (200, "draining\n")
        assert eventually(lambda: main(["health"]) == 1)
        made.signal(signal.SIGTERM)
        assert eventually(lambda: not made.alive())


def test_without_any_worker_it_is_not_well() -> None:
    supervisor = workers.Supervisor(dataclasses.replace(Settings(), workers=2), Settings)
    assert supervisor.unwell() == "no worker serves"


def test_what_workers_show_is_laid_together(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = workers.Supervisor(dataclasses.replace(Settings(), workers=3), Settings)
    shown: Iterator[dict[str, Any]] = iter([
        {"exchanges": [{"ended_at": 3.0}, {"ended_at": 5.0}], "open": [{"path": "/a"}],
         "open_count": 1, "cursor": "1:2:3"},
        {},
        {"exchanges": [{"ended_at": 4.0}], "left_out": 7, "cursor": "2:0:0"},
        {"routes": [{"route": 1}, {"route": 2}]}, {"routes": [{"route": 2}, {"route": 3}]}, {},
    ])  # fmt: skip

    async def show(self: WorkerProcess, what: str) -> dict[str, Any]:
        assert what in ('exchanges {"since":1.5,"cursor":"1:1:1","bodies":false}', "config")
        return next(shown)

    monkeypatch.setattr(WorkerProcess, "show", show)
    told = json.loads(asyncio.run(supervisor.exchanges(Look(1.5, "1:1:1", False))))
    assert [each["ended_at"] for each in told["exchanges"]] == [3.0, 4.0, 5.0]
    assert told["open"] == [{"path": "/a"}]
    assert (told["open_count"], told["left_out"], told["cursor"]) == (1, 7, "1:2:3,2:0:0")
    config = json.loads(asyncio.run(supervisor.config()))
    assert config["routes"] == [{"route": 1}, {"route": 2}, {"route": 3}] and config["settings"]["workers"] == 3


def test_a_worker_that_does_not_run_shows_nothing() -> None:
    assert asyncio.run(WorkerProcess(Settings()).show("config")) == {}
