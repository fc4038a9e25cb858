"""The command line in this process: what it writes, and its exit status."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest

from extproc.cli import main


class Ran:
    """What a command did."""

    def __init__(self, status: int, out: bytes, err: str) -> None:
        self.status, self.out, self.err = status, out, err


Run = Callable[..., Ran]


def runner(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs a command: its arguments, and what it reads as ``stdin``."""

    def ran(*argv: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            status = main(list(argv))
        except SystemExit as left:
            status = int(left.code or 0)
        out, err = capfdbinary.readouterr()
        return Ran(status, out, err.decode())

    return ran
