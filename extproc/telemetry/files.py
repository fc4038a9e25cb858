"""Lines to a file or to standard output, by several processes at once.

A file is opened to append, and whole lines go in one write. It is rotated when it is full, by one process for all; the
others see that it has moved and open the new one, as they do when somebody else has moved it (logrotate).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat

STDOUT = "stdout"
_NEWLINE = 10
WAIT_SECONDS = 5.0
"""How long standard output may not take anything."""
MODE = 0o640


class Lines:
    """Those of one file, or of standard output where *path* says ``stdout``. Not for several threads.

    *most*: bytes at which it is rotated, to ``path.1`` and on to ``path.<kept>``. Opening and ``write`` raise OSError;
    ``written`` says how many lines the last call of ``write`` has put there.
    """

    def __init__(self, path: str, most: int, kept: int) -> None:
        self._path = path
        self._most = most
        self._kept = kept
        self.written = 0
        self._torn = False
        """The last write stopped amid a line: what follows begins on one of its own."""
        self._fd = os.dup(1) if path == STDOUT else self._open()

    def write(self, lines: bytes) -> None:
        """Append *lines*, each with its end. Where it raises, a piece of a line is taken back, or, where that cannot
        be, ended by the next call."""
        self.written = 0
        if self._path == STDOUT:
            self._locked(lines)
            return
        if self._moved():
            self.reopen()
        self._all(lines)
        if os.fstat(self._fd).st_size >= self._most:
            self._rotate()

    def reopen(self) -> None:
        """Close the file and open what stands at its path now."""
        if self._path != STDOUT:
            old, self._fd = self._fd, self._open()
            os.close(old)

    def close(self) -> None:
        os.close(self._fd)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)

    def _all(self, lines: bytes) -> None:
        ending = self._torn
        data = memoryview(b"\n" + lines if ending else lines)
        done = 0
        try:
            while done < len(data):
                done += self._some(data[done:])
                self._torn = data[done - 1] != _NEWLINE if done else ending
        finally:
            put = bytes(data[:done])
            self.written = max(0, put.count(b"\n") - ending)
            if self._torn and done:
                self._torn = not self._taken_back(done - put.rfind(b"\n") - 1)

    def _taken_back(self, size: int) -> bool:
        """Whether the *size* bytes that we wrote last are gone again: those of a line that found no room as a whole.
        With them the next line of another process would be none."""
        try:
            end = os.lseek(self._fd, 0, os.SEEK_CUR)
            if self._path == STDOUT or os.fstat(self._fd).st_size != end:
                return False
            os.ftruncate(self._fd, end - size)
        except OSError:
            return False
        return True

    def _some(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            _, ready, _ = select.select([], [self._fd], [], WAIT_SECONDS)
            if not ready:
                raise OSError(errno.EAGAIN, "standard output takes nothing") from None
            return 0

    def _locked(self, lines: bytes) -> None:
        # What is longer than a pipe takes at once would be mixed with other processes' lines.
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                fcntl.lockf(self._fd, fcntl.LOCK_EX)
                stack.callback(fcntl.lockf, self._fd, fcntl.LOCK_UN)
            self._all(lines)

    def _moved(self) -> bool:
        """Whether another file, or none, stands at the path."""
        ours = os.fstat(self._fd)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        return (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino)

    def _rotate(self) -> None:
        """Move the file out of the way, unless another process has done it."""
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            return
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            if not self._moved():
                for number in range(self._kept - 1, 0, -1):
                    with contextlib.suppress(FileNotFoundError):
                        os.replace(f"{self._path}.{number}", f"{self._path}.{number + 1}")
                os.replace(self._path, f"{self._path}.1")
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self.reopen()
