"""Where records go: by settings, from a process that serves, and from several."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec
import pytest

from extproc.server.records import sinks_of
from extproc.settings import Settings
from extproc.telemetry.outcome import Began, Ending, Outcome

from ..support.upstream import eventually
from .test_serve import sidecar

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


def test_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        sinks_of(Settings(records=str(tmp_path / "none" / "log")))


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_does_not_end_it(tmp_path: Path, number: signal.Signals) -> None:
    with sidecar("--records", str(tmp_path / "records")) as (child, _):
        os.kill(child.pid, number)
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(10) == 0
