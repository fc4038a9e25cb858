"""What the commands share: the user's mistakes, files, tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

AddArguments = Callable[[argparse.ArgumentParser], None]


class UsageError(Exception):
    """The user's mistake; the message says what to do next."""


@dataclass(frozen=True)
class Command:
    """One command. *arguments* adds its flags to a parser and sets ``run``, which takes the parsed arguments and
    returns the exit status."""

    name: str
    help: str
    """A line in the list of commands."""
    arguments: AddArguments
    examples: Sequence[str] = ()
    """Lines to paste."""
    statuses: Sequence[str] = ("0 done", "2 wrong usage or configuration")
    """What its exit status says."""


def opened(file: str | None) -> AbstractContextManager[BinaryIO]:
    """*file*, or standard input for ``None`` and ``-``. Raises UsageError."""
    if file is None or file == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


T = TypeVar("T")


def counted(found: Iterable[T], what: str) -> Iterator[T]:
    """*found*, while a terminal on standard error is told how many there are so far."""
    shown = sys.stderr.isatty()
    for number, each in enumerate(found, 1):
        if shown:
            print(f"\r{number} {what} ...", end="", file=sys.stderr, flush=True)
        yield each
    if shown:
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)


def plain(text: str, kept: str = "\t") -> str:
    """*text* of somebody else's, such that it cannot write to the terminal what is no text. Of what does not print,
    only what is *kept* stays."""
    return "".join([sign if sign.isprintable() or sign in kept else "?" for sign in text])


LINES = "\t\n"
"""What stays of a text of several lines."""


def table(rows: list[list[str]]) -> str:
    """*rows* as lines with aligned columns, as ``plain`` has them."""
    rows = [list(map(plain, row)) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)
