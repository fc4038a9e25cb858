"""``extproc serve`` as a process; what it serves is tested in tests/server."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import Run


def process(*argv: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-m", "extproc", *argv], stdin=pipe, stdout=pipe, stderr=pipe)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--drain-seconds", "soon"], "--drain-seconds: 'soon' is not a number of seconds such as 30 or 0.5"),
        (["--listen", "nowhere"], "--listen: 'nowhere' is neither host:port nor unix:/path"),
        (["--capabilities", "/nope.yaml"], "/nope.yaml: No such file or directory"),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(run: Run, argv: list[str], message: str) -> None:
    done = run("serve", *argv)
    assert (done.status, done.err) == (2, f"extproc: {message}\n")


def test_what_holds_is_printed_and_nothing_is_served(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("drain_seconds: 5\n")
    monkeypatch.setenv("EXTPROC_LISTEN", "127.0.0.1:7")
    done = run("serve", "--config", str(file), "--workers", "2", "--print-config")
    assert done.status == 0
    assert {f"drain_seconds: 5  # {file}", "listen: 127.0.0.1:7  # EXTPROC_LISTEN"} <= set(
        done.out.decode().splitlines()
    )
    file.write_text("drain_second: 5\n")
    done = run("serve", "--config", str(file), "--print-config")
    assert (done.status, done.err) == (
        2, f"extproc: {file}: 'drain_second' is no setting; did you mean drain_seconds?\n"
    )  # fmt: skip


def test_a_taken_address_is_one_line_and_status_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with process("serve", "--listen", address) as child:
            _, err = child.communicate(timeout=20)
    assert child.returncode == 2
    said = err.decode().splitlines()[-1]
    assert said.startswith(f"extproc: cannot listen on {address}") and said.endswith("--listen takes another")
    assert b"Traceback" not in err


def test_serve_listens_and_ends_on_sigterm() -> None:
    with process("serve", "--listen", "127.0.0.1:0") as child:
        assert child.stderr
        line = child.stderr.readline()
        assert line.startswith(b"extproc listens on 127.0.0.1:"), line
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
