"""Lines to a file that several processes share, that is rotated, that somebody moves, whose disk is full."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from extproc.telemetry.files import STDOUT, Lines


def test_appends_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old\n")
    lines = Lines(str(path), 1000, 2)
    lines.write(b"a\nb\n")
    lines.write(b"c\n")
    lines.close()
    assert path.read_text() == "old\na\nb\nc\n"
    assert path.stat().st_mode & 0o007 == 0 or path.stat().st_mode & 0o777 == 0o644, "what is made is not for all"


def test_a_new_file_is_not_for_everybody(tmp_path: Path) -> None:
    Lines(str(tmp_path / "log"), 1000, 2).close()
    assert (tmp_path / "log").stat().st_mode & 0o027 == 0 or os.umask(os.umask(0)) != 0o022


def test_is_rotated_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = Lines(str(path), 10, 2)
    for n in range(5):
        lines.write(f"line {n} ...\n".encode())
    assert path.read_text() == ""
    assert (tmp_path / "log.1").read_text() == "line 4 ...\n"
    assert (tmp_path / "log.2").read_text() == "line 3 ...\n"
    assert not (tmp_path / "log.3").exists()


def test_follows_one_who_moves_or_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = Lines(str(path), 1000, 2)
    lines.write(b"a\n")
    path.rename(tmp_path / "moved")
    lines.write(b"b\n")
    path.unlink()
    lines.write(b"c\n")
    lines.reopen()
    lines.write(b"d\n")
    assert (tmp_path / "moved").read_text() == "a\n" and path.read_text() == "c\nd\n"


def test_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        Lines(str(tmp_path / "none" / "log"), 1000, 2)


def _write(path: str, who: int) -> None:
    lines = Lines(path, 4_000, 50)
    for n in range(100):
        lines.write(f"{who} {n} {'x' * 200}\n".encode() * 2)


def test_processes_do_not_mix_their_lines_and_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "log"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(str(path), who)) for who in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    found = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert sorted(found) == sorted(f"{who} {n} {'x' * 200}" for who in range(3) for n in range(100) for _ in range(2))


def test_a_full_disk_raises_and_is_survived() -> None:
    lines = Lines("/dev/full", 10, 2)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            lines.write(b"a\n")
    lines.close()


FULL_AMID = """
import resource, signal, sys
sys.path[:0] = [{root!r}]
from extproc.telemetry.files import Lines
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
lines = Lines({path!r}, 1000000, 2)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))
try:
    lines.write(b"first\\nsecond\\n")
except OSError as error:
    print("lost", error.errno, lines.written)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
lines.write(b"third\\n")
"""


def test_what_was_cut_amid_a_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    script = FULL_AMID.format(root=os.getcwd(), path=str(path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("lost ") and done.stdout.endswith(" 1\n")
    assert path.read_text() == "first\nthird\n"
    assert resource.getrlimit(resource.RLIMIT_FSIZE) and signal.SIGXFSZ, "the limit was that process's own"


@pytest.mark.parametrize("again", [0, 1, 2])
def test_what_cannot_be_taken_back_is_ended_before_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: int
) -> None:
    """However often nothing could be written in between."""
    path = tmp_path / "log"
    lines = Lines(str(path), 1_000_000, 2)
    room = [8, *[0] * again]

    def some(self: Lines, data: memoryview) -> int:
        if not room:
            return os.write(self._fd, data)
        if not room[0]:
            room.pop(0)
            raise OSError("full")
        put = os.write(self._fd, data[: room[0]])
        room[0] -= put
        return put

    monkeypatch.setattr(Lines, "_some", some)
    # Somebody else has written since.
    monkeypatch.setattr(os, "ftruncate", lambda fd, size: (_ for _ in ()).throw(OSError("no")))
    for text in (b"first\nsecond\n", *[b"lost\n"] * again):
        with pytest.raises(OSError, match="full"):
            lines.write(text)
    assert lines.written == (0 if again else 1)
    lines.write(b"third\nfourth\n")
    assert lines.written == 2
    assert path.read_text() == "first\nse\nthird\nfourth\n"


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    lines = Lines(STDOUT, 1, 1)
    lines.write(b"a\n")
    lines.reopen()
    lines.write(b"b\n")
    lines.close()
    assert capfd.readouterr().out == "a\nb\n"


MANY = """
import sys
sys.path[:0] = [{root!r}]
from extproc.telemetry.files import Lines
lines = Lines("stdout", 1, 1)
for n in range(30):
    lines.write(sys.argv[1].encode() * 9000 + b"\\n")
"""


def test_lines_longer_than_a_pipe_takes_stay_whole() -> None:
    script = MANY.format(root=os.getcwd())
    read, write = os.pipe()
    writers = [subprocess.Popen([sys.executable, "-c", script, word], stdout=write) for word in ("a", "b", "c")]
    os.close(write)
    with os.fdopen(read) as pipe:
        found = pipe.read().splitlines()
    assert all(writer.wait() == 0 for writer in writers)
    assert sorted(set(found)) == [word * 9000 for word in "abc"] and len(found) == 90


def test_a_standard_output_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.telemetry.files.WAIT_SECONDS", 0.01)
    read, write = os.pipe()
    os.set_blocking(write, False)
    lines = Lines(STDOUT, 1, 1)
    os.dup2(write, lines._fd)
    with pytest.raises(OSError, match="takes nothing"):
        for _ in range(100):
            lines.write(b"x" * 9000 + b"\n")
    for fd in (read, write):
        os.close(fd)
